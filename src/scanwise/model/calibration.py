"""Temperature and shift per protocol, fitted on patients that the network left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit

_PRIOR_PATIENTS = 2.0
"""What the prior of the calibration is worth."""


def fit_calibration(
    logits: NDArray[np.float64], label: NDArray[np.int64], about: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return log temperature and shift that minimise cross-entropy, shape ``(2, features)``.

    Both are linear in what is known of a protocol: a network may be too sure with one set of tests and not sure enough
    with another (Guo et al. 2017, section 4, per protocol). A weak Gaussian prior, worth two patients, keeps them at 0
    where the patients say nothing.

    Parameters
    ----------
    logits : shape ``(protocols, patients)``.
    label : diagnosis, 0 or 1, shape ``(patients,)``.
    about : what is known of each protocol, shape ``(protocols, features)``.
    """
    prior = _PRIOR_PATIENTS / (2.0 * len(label))

    def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_temperature, shift = flat.reshape(2, -1) @ about.T
        scaled = logits * np.exp(-log_temperature)[:, None]
        calibrated = scaled + shift[:, None]
        error = expit(calibrated) - label
        value = np.mean(np.logaddexp(0.0, calibrated) - label * calibrated) + prior * np.sum(flat**2)
        slope = np.stack([-(error * scaled).mean(1), error.mean(1)]) @ about / len(about)
        return float(value), slope.reshape(-1) + 2.0 * prior * flat

    found = minimize(loss, np.zeros(2 * about.shape[1]), jac=True, method="L-BFGS-B")
    fitted: NDArray[np.float64] = found.x.reshape(2, -1)
    return fitted
