from __future__ import annotations

import numpy as np
import pytest

from scanwise.design import Protocol
from scanwise.errors import ScanwiseError
from scanwise.evidence import auc, net_benefit
from scanwise.pipeline import run_identity
from scanwise.tuning import MEASURES, Measure, objective_of

RNG = np.random.default_rng(0)
LABEL = RNG.integers(0, 2, 300)
STRATUM = RNG.integers(0, 3, 300)
PROBABILITY = np.clip(0.5 + 0.2 * (2 * LABEL - 1) + RNG.normal(0, [[0.1], [0.3], [0.6]], (3, 300)), 0.01, 0.99)
PROTOCOLS = [Protocol({"scan": [count]}) for count in (3, 2, 1)]


class Scorer:
    """Gives back fixed probabilities; the more shots, the better."""

    def score(self, protocols, patients):
        return np.stack([PROBABILITY[3 - one.counts("scan")[0]][patients] for one in protocols])


@pytest.mark.parametrize("name", MEASURES)
def test_more_is_better_whatever_the_measure(name):
    found = objective_of(Scorer(), np.arange(300), LABEL, measure=Measure(name, 0.3))(PROTOCOLS)
    assert found.shape == (3,)
    assert (np.diff(found) < 0).all()


def test_values_are_those_of_the_evidence():
    def value(measure: Measure | None) -> np.ndarray:
        return objective_of(Scorer(), np.arange(300), LABEL, STRATUM, measure)(PROTOCOLS)

    assert value(None) == pytest.approx([auc(LABEL, row, STRATUM) for row in PROBABILITY])
    own = np.where(LABEL == 1, PROBABILITY, 1 - PROBABILITY)
    assert value(Measure("log_loss")) == pytest.approx(np.log(own).mean(1))
    wanted = [net_benefit(LABEL, row, [0.3])[0].model for row in PROBABILITY]
    assert value(Measure("net_benefit", 0.3)) == pytest.approx(wanted)


@pytest.mark.parametrize("name", MEASURES)
def test_noise_is_the_scatter_over_patients(name):
    """Against 2,000 resampled patients."""
    measure, everyone = Measure(name, 0.3), np.zeros(300, dtype=np.int64)
    rng = np.random.default_rng(1)
    drawn = []
    for _ in range(2000):
        rows = rng.integers(0, 300, 300)
        drawn.append(np.diff(measure.of_rows(LABEL[rows], PROBABILITY[:, rows], everyone)))

    assert measure.noise(LABEL, PROBABILITY, everyone) == pytest.approx(np.std(drawn, axis=0), rel=0.1)


def test_one_patient_cannot_decide():
    certain = np.array([[0.0, 1.0]])
    found = Measure("log_loss").of_rows(np.array([1, 0]), certain, np.zeros(2, dtype=np.int64))
    assert np.isfinite(found).all()


@pytest.mark.parametrize(
    ("settings", "words"), [({"name": "aucc"}, "did you mean 'auc'"), ({"threshold": 1.0}, "between 0 and 1")]
)
def test_bad_objectives_are_refused(settings, words):
    with pytest.raises(ScanwiseError, match=words):
        Measure(**settings)


def test_runs_from_before_there_was_a_choice_stay_what_they_are():
    before = run_identity({"seed": 0})
    assert run_identity({"seed": 0, "objective": {"name": "auc", "threshold": 0.2}}) == before
    by_loss = run_identity({"seed": 0, "objective": {"name": "log_loss", "threshold": 0.2}})
    assert by_loss == run_identity({"seed": 0, "objective": {"name": "log_loss", "threshold": 0.3}}) != before
    benefit = run_identity({"seed": 0, "objective": {"name": "net_benefit", "threshold": 0.2}})
    assert benefit != run_identity({"seed": 0, "objective": {"name": "net_benefit", "threshold": 0.3}})
