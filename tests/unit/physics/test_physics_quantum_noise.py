"""Noise in the logarithm against counts that are drawn."""

from __future__ import annotations

import math

import pytest
import torch

from scanwise.errors import ScanwiseError
from scanwise.physics import add_quantum_noise, counted_projections, projection_sd, transmitted_photons


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_photons_fall_exponentially_and_one_is_recorded_at_least():
    line = torch.tensor([0.0, 1.0, math.log(1000), 50.0], dtype=torch.float64)

    behind = transmitted_photons(line, photons=1000.0)

    torch.testing.assert_close(behind, torch.tensor([1000, 1000 / math.e, 1, 1], dtype=torch.float64))


def test_the_standard_deviation_is_that_of_poisson_and_electronics():
    line = torch.tensor([0.0, 2.0], dtype=torch.float64)

    sd = projection_sd(line, photons=1e4, electronic_photons=20.0)

    n = 1e4 * torch.exp(-line)
    torch.testing.assert_close(sd, (1 / n + 400 / n**2).sqrt())


@pytest.mark.parametrize(("behind", "electronic"), [(1e4, 0.0), (1e4, 50.0), (200.0, 10.0), (50.0, 5.0)])
def test_drawn_counts_scatter_as_much(behind, electronic):
    """The first order holds to a few per cent where photons are many and above the electronics."""
    line = torch.full((200_000,), 3.0, dtype=torch.float64)
    photons = behind * math.exp(3.0)

    drawn = counted_projections(line, photons=photons, electronic_photons=electronic, generator=stream())

    expected = projection_sd(line[:1], photons=photons, electronic_photons=electronic).item()
    assert drawn.std().item() == pytest.approx(expected, rel=0.06)
    assert drawn.mean().item() == pytest.approx(3.0, abs=0.6 * expected**2 + 0.01)


def test_gaussian_noise_has_the_same_mean_and_spread():
    line = torch.full((100_000,), 2.0, dtype=torch.float64)
    noise = torch.randn(100_000, dtype=torch.float64, generator=stream(1))

    measured = add_quantum_noise(line, photons=2e3, electronic_photons=5.0, noise=noise)

    assert measured.mean().item() == pytest.approx(2.0, abs=1e-3)
    sd = projection_sd(line[:1], photons=2e3, electronic_photons=5.0).item()
    assert measured.std().item() == pytest.approx(sd, rel=0.01)


def test_four_times_the_photons_halve_the_noise():
    line, noise = torch.tensor([1.5]), torch.ones(1)

    once, four = (add_quantum_noise(line, photons=n, noise=noise) - line for n in (1e3, 4e3))

    assert (once / four).item() == pytest.approx(2, rel=1e-5)


def test_the_floor_takes_over_where_few_photons_come():
    line = torch.tensor([8.0], dtype=torch.float64)

    ratio = projection_sd(line, photons=1e4, electronic_photons=30.0) / projection_sd(
        line, photons=2e4, electronic_photons=30.0
    )

    assert ratio.item() == pytest.approx(2, rel=0.01), "with the number of photons, not with its root"


def test_a_starved_ray_is_finite_and_saturates():
    line = torch.tensor([200.0])

    assert add_quantum_noise(line, photons=1e4, noise=torch.zeros(1)).item() == pytest.approx(math.log(1e4), rel=1e-6)
    assert counted_projections(line, photons=1e4, generator=stream()).item() == pytest.approx(math.log(1e4), rel=1e-6)
    assert torch.isfinite(projection_sd(line, photons=1e4, electronic_photons=10.0)).all()


def test_gradients_in_the_line_integral_and_the_photons():
    line = torch.tensor([1.0, 3.0], dtype=torch.float64, requires_grad=True)
    photons = torch.tensor([2e3, 5e3], dtype=torch.float64, requires_grad=True)
    noise = torch.tensor([0.7, -1.1], dtype=torch.float64)

    assert torch.autograd.gradcheck(
        lambda p, n: add_quantum_noise(p, photons=n, electronic_photons=4.0, noise=noise), (line, photons)
    )


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: transmitted_photons(torch.zeros(1), photons=0.0), "photons per ray must be finite and > 0"),
        (
            lambda: projection_sd(torch.zeros(1), photons=1.0, electronic_photons=-1.0),
            "electronic noise must be finite and >= 0 photons, but got -1",
        ),
        (
            lambda: counted_projections(torch.zeros(1), photons=-5.0, generator=stream()),
            "photons per ray must be finite and > 0, but got -5",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ScanwiseError, match=message):
        call()
