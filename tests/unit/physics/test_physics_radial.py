"""Spokes against the Fourier sum written down, and what happens without the extra."""

from __future__ import annotations

import math
import sys
import warnings

import numpy as np
import pytest
import torch

from scanwise.errors import ScanwiseError
from scanwise.physics import RadialEncoding, coil_maps, nufft_library

needs_nufft = pytest.mark.usefixtures("_library")


@pytest.fixture
def _library():
    pytest.importorskip("torchkbnufft", reason="needs pip install scanwise[nufft]", exc_type=ImportError)


def encoding(matrix=(12, 17), spokes=9, samples=26, **changes) -> RadialEncoding:
    settings = {
        "maps": coil_maps(matrix, n_coils=3, seed=2),
        "counts": torch.ones(spokes, dtype=torch.int64),
        "angle_rad": torch.linspace(0, 3, spokes, dtype=torch.float64),
        "n_samples": samples,
    }
    return RadialEncoding.build(**{**settings, **changes})


@needs_nufft
def test_samples_are_fourier_sums():
    radial = encoding()
    rng = np.random.default_rng(0)
    image = rng.normal(size=(12, 17)) + 1j * rng.normal(size=(12, 17))
    kspace = radial.forward(torch.from_numpy(image)[None])[0].numpy()
    maps = radial.maps[0].numpy().astype(np.complex128)
    y, x = np.mgrid[-6:6, -8:9]
    exact = np.empty_like(kspace)
    for spoke, angle in enumerate(np.linspace(0, 3, 9)):
        for sample in range(26):
            r = 2 * math.pi * (sample - 13) / 26
            wave = np.exp(-1j * r * (math.sin(angle) * y + math.cos(angle) * x))
            exact[:, spoke, sample] = (maps * image * wave).sum(axis=(1, 2)) / math.sqrt(9 * 26)

    assert np.linalg.norm(kspace - exact) / np.linalg.norm(exact) < 1e-3
    centre = (maps * image).sum(axis=(1, 2)) / math.sqrt(9 * 26)
    np.testing.assert_allclose(kspace[:, :, 13], np.tile(centre[:, None], 9), rtol=5e-3)


@needs_nufft
def test_the_first_spoke_is_the_transform_of_the_projection():
    """At angle 0 and as many samples as columns: the centred Fourier transform of the sums over y."""
    radial = encoding((10, 16), 1, 16, maps=torch.ones(1, 10, 16, dtype=torch.complex64))
    image = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 10, 16)))
    projected = np.fft.fftshift(np.fft.fft(np.fft.ifftshift(image[0].numpy().sum(axis=0)))) / math.sqrt(16)

    np.testing.assert_allclose(radial.forward(image)[0, 0, 0].numpy(), projected, atol=3e-3 * np.abs(projected).max())


@needs_nufft
def test_all_spokes_together_have_a_mean_gain_of_one():
    kernel = encoding(maps=torch.ones(1, 12, 17, dtype=torch.complex64)).gram_kernel()

    assert kernel.shape == (1, 24, 34)
    assert kernel.mean().real.item() == pytest.approx(1, rel=1e-3), "what a voxel keeps of itself"


@needs_nufft
def test_the_kernel_filters_as_forward_and_adjoint_do():
    counts = torch.stack([torch.arange(9) % 3, torch.full((9,), 2)])
    radial = encoding(counts=counts)
    image = torch.randn(2, 12, 17, dtype=torch.complex128, generator=torch.Generator().manual_seed(3))
    kernel = radial.gram_kernel()
    padded = torch.fft.fft2(radial.maps * image[:, None], s=(24, 34))
    seen = torch.fft.ifft2(padded * kernel[:, None])[..., :12, :17]
    expected = radial.adjoint(radial.forward(image) * counts[:, None, :, None])

    torch.testing.assert_close((seen * radial.maps.conj()).sum(1), expected, rtol=1e-4, atol=1e-4)


@needs_nufft
def test_spokes_that_are_not_taken_are_zero():
    kspace = encoding(counts=torch.arange(9) % 2).forward(torch.ones(1, 12, 17))

    assert (kspace[:, :, ::2] == 0).all()
    assert (kspace[:, :, 1::2].abs().amax(dim=-1) > 0).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"angle_rad": torch.tensor([0.0, 1.0])}, r"counts need one value for each of the 2 lines"),
        ({"angle_rad": torch.full((9,), torch.nan)}, "angles must be finite, one for each of the 9 spokes"),
        ({"n_samples": 0}, "at least one sample, but self.n_samples=0"),
        ({"counts": -torch.ones(9, dtype=torch.int64)}, "every count must be"),
        ({"maps": torch.ones(3, 12, 17)}, "coil maps must be complex"),
    ],
)
def test_what_cannot_be_is_refused(changes, message):
    with pytest.raises(ScanwiseError, match=message):
        encoding(**changes)


def test_counts_without_patients_are_for_build():
    with pytest.raises(ScanwiseError, match=r"RadialEncoding.build takes counts of shape \(spokes,\)"):
        RadialEncoding(coil_maps((12, 17), n_coils=3, seed=2)[None], torch.ones(9, dtype=torch.int64), torch.ones(9), 4)


def test_without_the_extra_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchkbnufft", None)
    with pytest.raises(ScanwiseError, match=r"not installed\n  -> pip install scanwise\[nufft\]"):
        nufft_library()


@needs_nufft
def test_the_library_warns_of_nothing_that_is_not_known():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        nufft_library()

    assert [str(warning.message) for warning in caught] == []
