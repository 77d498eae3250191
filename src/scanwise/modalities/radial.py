"""Radial T1-weighted imaging: shots are spokes of a spoiled gradient echo, in golden-angle order (extra ``nufft``)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Self, Unpack

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from scanwise.design import SPOKES, Measurement, register_modality
from scanwise.errors import ScanwiseError
from scanwise.modalities._contrast import t2star_s
from scanwise.modalities._imaging import SOFT_TISSUE, partial_volume, tensor
from scanwise.modalities._kspace import KspaceScan, KspaceSettings, coils, patterns
from scanwise.physics import RadialEncoding, fft2c, ifft2c, nufft_library, spoiled_gradient_echo

Filters = tuple[Tensor, Tensor, Tensor]

_READOUT_OVERSAMPLING = 2
"""Samples of a spoke over the longer side of the matrix."""
_PATTERNS_KEPT = 64
"""How many sampling patterns keep their filter; one of 64 x 64 takes 0.1 MiB."""
_ITERATIONS = 32
"""Steps of conjugate gradients: fixed, so that a patient does not depend on those beside him."""
_RINGS = 16
"""Rings of k-space, from its centre to its edge, over which the preconditioner averages."""
_LOWEST_DENSITY = 0.2
"""Of the mean density: what the preconditioner takes to be sampled at least, in corners beyond the ends of spokes."""
_PRIOR_CYCLES = 1.0
"""Spatial frequency beyond which the expected power falls, [cycles per field of view]."""


@register_modality("radial_t1w")
class RadialT1Weighted(KspaceScan):
    """T1-weighted spoiled gradient echo read out radially; one shot is one spoke through the centre of k-space.

    Spokes follow each other by the golden angle, so any number of first ones covers k-space nearly evenly. In place of
    ghosts, undersampling gives streaks and noise, and every spoke sees the centre.

    Parameters
    ----------
    name, settings : see `KspaceScan` and `SimulatedScan`; `snr` is that of all spokes taken once, `prior_snr` that of
        soft tissue where left out.
    spokes : number of spokes; pi / 2 times the longer side of the matrix where left out, which samples all of it.
    repetition_time_s, echo_time_s : TR and TE [s].
    flip_angle_deg : excitation [degrees].
    r2_prime_per_s : what field inhomogeneity adds to 1 / T2 [1/s].

    Raises
    ------
    ScanwiseError
        If torchkbnufft is not installed, there is no spoke, or TE > TR.

    References
    ----------
    Winkelmann S, Schaeffter T, Koehler T et al. An optimal radial profile order based on the golden ratio for
    time-resolved MRI. IEEE Trans Med Imaging 2007;26:68-76.
    """

    maps: Sequence[str] = ("proton_density", "t1_s", "t2_s")
    shot_name = "spokes"

    def __init__(
        self,
        name: str,
        *,
        spokes: int | None = None,
        repetition_time_s: float = 0.005,
        echo_time_s: float = 0.002,
        flip_angle_deg: float = 12.0,
        r2_prime_per_s: float = 15.0,
        **settings: Unpack[KspaceSettings],
    ) -> None:
        nufft_library()
        self.repetition_time_s = float(repetition_time_s)
        self.echo_time_s = float(echo_time_s)
        self.flip_angle_rad = math.radians(flip_angle_deg)
        self.r2_prime_per_s = float(r2_prime_per_s)
        if settings.get("prior_snr") is None:
            typical = self._steady_state({name: torch.tensor([SOFT_TISSUE[name]]) for name in self.maps}).item()
            settings["prior_snr"] = settings["snr"] * typical
        super().__init__(name, **settings)
        number = math.ceil(math.pi / 2 * max(self.matrix)) if spokes is None else spokes
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ScanwiseError(f"the spokes of {name!r} must be a whole number >= 1, but are {spokes!r}")
        self._samples = _READOUT_OVERSAMPLING * max(self.matrix)
        angle = SPOKES.plain_table([number]).what["angle_rad"]
        self._angle_rad = torch.from_numpy(angle.astype(np.float64))
        self.shots = self._shot_table([f"spoke{index}" for index in range(number)], {"angle_rad": angle})
        self._refuse_bad_settings()

    def signal(self, tissue: Mapping[str, Tensor], arterial_scale: Tensor) -> Tensor:
        """Return the image, ``(patients, 1, y, x)``."""
        return partial_volume(self._steady_state(tissue), self.matrix)[:, None]

    def _steady_state(self, tissue: Mapping[str, Tensor]) -> Tensor:
        return spoiled_gradient_echo(
            proton_density=tissue["proton_density"],
            t1_s=tissue["t1_s"],
            t2star_s=t2star_s(tissue["t2_s"], self.r2_prime_per_s),
            flip_angle_rad=self.flip_angle_rad,
            repetition_time_s=self.repetition_time_s,
            echo_time_s=self.echo_time_s,
        )

    def solve(self, measurement: Measurement) -> Tensor:
        """Return the most probable real image, in units of the noise of one acquisition, ``(patients, y, x)``.

        Minimises ``sum_samples W |k - E x|^2 + x^T P x`` over real x, W the counts: iterative SENSE for any trajectory
        (Pruessmann 2001), the maximum a posteriori where the image is normal around zero with the covariance
        ``P^-1 = F^H diag(power) F``, ``power ~ (1 + k^2)^(-3/2)`` over the spatial frequency k (what edges have), and a
        voxel has the standard deviation `prior_snr`. Conjugate gradients, preconditioned by the mean density of the
        samples at a distance from the centre, with ``E^H W E`` of each coil as a filter. The steps are few enough that
        what the data say least about is not quite there yet, which is a regularisation as well.

        References
        ----------
        Pruessmann KP, Weiger M, Börnert P, Boesiger P. Advances in sensitivity encoding with arbitrary k-space
        trajectories. Magn Reson Med 2001;46:638-651.
        """
        encoding = self._encoding(measurement.counts)
        kspace = self._measured(measurement, encoding.range_shape).mul_(encoding.counts[:, None, :, None])
        right = encoding.adjoint(kspace).real
        image = torch.empty_like(right)
        for pattern, rows in patterns(measurement.counts).items():
            filters = _filters_of(pattern, self._angle_rad_key, self._samples, self._prior_snr, self._array)
            image[rows] = self._iterate(filters, right[rows])
        return image

    def _solve_weighted(self, weighted: Tensor, counts: Tensor) -> Tensor:
        encoding = self._encoding(self._every_shot())
        filters = _filters(encoding, counts.detach(), self._prior_snr)
        with torch.no_grad():
            image = self._iterate(filters, encoding.adjoint(weighted).real)
        # of A x = b is dx = A^-1 (db - dA x): what is left of the equations is zero but for its slope
        again = counts[:, None] * encoding.forward(image)
        change = encoding.adjoint(weighted - again).real
        change = change - change.detach()
        if change.requires_grad:
            change.register_hook(lambda slope: self._iterate(filters, slope))
        return image + change

    def _iterate(self, filters: Filters, right: Tensor) -> Tensor:
        """Solve the normal equations for patients who share a pattern, ``(patients, y, x)`` to ``(patients, y, x)``."""
        kernel, precision, density = filters
        maps = coils(*self._array)
        n_y, n_x = self.matrix

        def normal(image: Tensor) -> Tensor:
            seen = torch.fft.fft2(maps * image[:, None], s=kernel.shape)
            seen = torch.fft.ifft2(seen * kernel)[..., :n_y, :n_x]
            return (seen * maps.conj()).sum(1).real + _filtered(image, precision)

        image = torch.zeros_like(right)
        rest = right.clone()
        step = better = _filtered(rest, 1 / (density + precision))
        power = _inner(rest, better)
        for _ in range(_ITERATIONS):
            ahead = normal(step)
            share = power / _inner(step, ahead).clamp(min=torch.finfo(power.dtype).tiny)
            image = image + share * step
            rest = rest - share * ahead
            better = _filtered(rest, 1 / (density + precision))
            power, before = _inner(rest, better), power
            step = better + power / before.clamp(min=torch.finfo(power.dtype).tiny) * step
        return image

    @property
    def _angle_rad_key(self) -> tuple[float, ...]:
        return tuple(self._angle_rad.tolist())

    def _encoding(self, counts: NDArray[np.int64]) -> RadialEncoding:
        return RadialEncoding.build(
            maps=coils(*self._array),
            counts=tensor(counts.astype(np.int64)),
            angle_rad=self._angle_rad,
            n_samples=self._samples,
        )

    def console(self, counts: Sequence[int]) -> dict[str, Any]:
        """Return TR, TE and the flip angle; see `KspaceScan`."""
        return {
            "sequence": "radial spoiled gradient echo",
            **super().console(counts),
            "repetition_time_s": self.repetition_time_s,
            "echo_time_s": self.echo_time_s,
            "flip_angle_deg": round(math.degrees(self.flip_angle_rad), 9),
        }

    @classmethod
    def example(cls) -> Self:
        """Return a small scan with an odd and an even side."""
        return cls(
            "example_radial",
            matrix=(12, 15),
            spokes=21,
            snr=800.0,
            reference_voxel_mm3=150.0,
            seconds=30.0,
            money_per_minute=6.5,
            setups=["scanner"],
            schemes=["golden_angle"],
        )


@lru_cache(maxsize=_PATTERNS_KEPT)
def _filters_of(
    pattern: bytes, angle_rad: tuple[float, ...], samples: int, prior_snr: float, array: tuple[int, int, int, int]
) -> Filters:
    encoding = RadialEncoding.build(
        maps=coils(*array),
        counts=torch.from_numpy(np.frombuffer(pattern, dtype=np.int64).copy()),
        angle_rad=torch.tensor(angle_rad, dtype=torch.float64),
        n_samples=samples,
    )
    return _filters(encoding, encoding.counts[0], prior_snr)


def _filters(encoding: RadialEncoding, counts: Tensor, prior_snr: float) -> Filters:
    """Return the filter of the normal equations, and over k-space the precision of the prior and the sampling density.

    Shapes ``(2 y, 2 x)`` complex64, ``(y, x)`` and ``(y, x)`` float32; the centre of the latter two is at ``n // 2``.
    """
    n_y, n_x = encoding.domain_shape
    kernel = encoding.gram_kernel(counts[None])[0]
    k_y, k_x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in (n_y, n_x))
    power = (1 + (k_y[:, None].square() + k_x.square()) / _PRIOR_CYCLES**2) ** -1.5
    precision = power.mean() / (power * prior_snr**2)
    # the mean over rings about the centre: coils fill the gaps between spokes, which a preconditioner must not see
    ring = torch.hypot(k_y[:, None] / n_y, k_x / n_x).mul(2 * _RINGS).long()
    total = torch.zeros(int(ring.max()) + 1, dtype=torch.float64)
    sampled = torch.fft.fftshift(kernel.real[::2, ::2]).contiguous()
    mean = total.index_add(0, ring.flatten(), sampled.flatten()) / torch.bincount(ring.flatten())
    density = mean.clamp(min=_LOWEST_DENSITY * sampled.mean().item())[ring]
    return kernel.to(torch.complex64), precision.float(), density.float()


def _filtered(image: Tensor, spectrum: Tensor) -> Tensor:
    """Return real images times a spectrum in k-space."""
    return ifft2c(fft2c(image) * spectrum).real


def _inner(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each patient's images, shape ``(patients, 1, 1)``."""
    return (a * b).sum(dim=(-2, -1), keepdim=True)
