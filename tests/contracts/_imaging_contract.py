"""What every imaging modality must do besides: plain functions that take an instance and raise `AssertionError`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from _contracts import complete_data, everything, measure

from scanwise.design import TISSUE_MAPS, ImagingModality, Measurement, Scene
from scanwise.errors import ScanwiseError

BRIGHT = 1000.0
"""Signal far above the noise, where magnitudes have the noise of the real part."""
TISSUE = {
    "proton_density": (0.7, 1.0),
    "t1_s": (0.9, 2.2),
    "t2_s": (0.04, 0.3),
    "adc_mm2_per_s": (0.0005, 0.002),
    "kurtosis": (0.0, 0.9),
    "ktrans_per_s": (0.0, 0.006),
    "ve": (0.15, 0.5),
    "vp": (0.0, 0.05),
    "attenuation_per_cm": (0.15, 0.25),
    "iodine_mg_per_ml": (0.0, 4.0),
}
assert set(TISSUE) == set(TISSUE_MAPS)


def scene_of(patients: int, rendered: tuple[int, int], seed: int = 0, **changes) -> Scene:
    """Return patients with random tissue in blocks of three by three voxels."""
    rng = np.random.default_rng(seed)
    blocks = tuple(-(-side // 3) for side in rendered)
    maps = {}
    for name, (low, high) in TISSUE.items():
        coarse = rng.uniform(low, high, (patients, *blocks))
        fine = coarse.repeat(3, axis=1).repeat(3, axis=2)[:, : rendered[0], : rendered[1]]
        maps[name] = fine.astype(np.float32)
    ones = np.ones(patients, dtype=np.float32)
    settings = {
        "maps": maps,
        "fov_mm": (96.0, 80.0),
        "field_t": 3 * ones,
        "noise": ones,
        "gain": np.ones((patients, *rendered), dtype=np.float32),
        "arterial_scale": ones,
    }
    return Scene(**{**settings, **changes})


def rendered_for(modality: ImagingModality) -> tuple[int, int]:
    """Return a grid twice as fine as the matrix along y, and somewhat finer along x."""
    return 2 * modality.matrix[0], 2 * modality.matrix[1] + 3


def some_counts(modality: ImagingModality) -> list[np.ndarray]:
    """Return each shot alone, nothing, everything once, and a random choice with averages."""
    n = len(modality.shots)
    rng = np.random.default_rng(3)
    return [
        *np.eye(n, dtype=np.int64),
        0 * everything(modality),
        everything(modality),
        rng.integers(0, modality.shots.max_count + 1),
    ]


def bright(modality: ImagingModality, patients: int) -> np.ndarray:
    """Return uniform images far above the noise."""
    return np.full(complete_data(modality, 1).shape, BRIGHT, dtype=np.float32).repeat(patients, axis=0)


def check_channels(modality: ImagingModality) -> None:
    """The matrix has two sides, channels are named in words, and standard sampling is told as ones."""
    assert len(modality.matrix) == 2
    assert len(set(modality.channels)) == len(modality.channels) >= 1
    np.testing.assert_array_equal(modality.sampling(modality.standard), 1)
    assert modality.sampling(np.tile(modality.standard, (3, 1))).shape == (3, len(modality.shots))


def check_random_state(modality: ImagingModality) -> None:
    """Noise follows from the state of the generator, and moves it on."""
    data = complete_data(modality, 3)
    rng, again = np.random.default_rng(5), np.random.default_rng(5)
    first, second = (modality.measure(data, everything(modality), rng).data for _ in range(2))
    np.testing.assert_array_equal(modality.measure(data, everything(modality), again).data, first)
    assert not np.array_equal(first, second)


def check_streams_per_patient(modality: ImagingModality) -> None:
    """With a stream for each, the noise of a patient depends on no other patient, nor on what else is taken."""
    data = complete_data(modality, 4)
    counts = everything(modality)
    together = modality.measure(data, counts, [np.random.default_rng([7, row]) for row in range(4)]).data
    alone = modality.measure(data[2:3], counts, [np.random.default_rng([7, 2])]).data[0]
    np.testing.assert_allclose(together[2], alone, rtol=1e-4, atol=1e-4)
    counts[0] = 0
    fewer = modality.measure(data, counts, [np.random.default_rng([7, row]) for row in range(4)]).data
    there = ~np.isnan(fewer)
    np.testing.assert_allclose(fewer[there], together[there], rtol=1e-4, atol=1e-4)


def check_thermal_noise(modality: ImagingModality) -> None:
    """A shot taken c times has noise of variance 1 / c in its real part and, if complex, in its imaginary part."""
    data = bright(modality, 200)
    for count in (1, 2, 5):
        counts = count * everything(modality)
        difference = measure(modality, data, counts, seed=1).data - measure(modality, data, counts, seed=2).data
        parts = (difference.real, difference.imag) if np.iscomplexobj(difference) else (difference,)
        for part in parts:
            assert part.size > 10_000
            np.testing.assert_allclose(part.var(), 2 / count, rtol=0.05)


def check_absent_shots_say_nothing(modality: ImagingModality) -> None:
    """What stands where nothing was taken has no influence on any image."""
    data = complete_data(modality, 4)
    for counts in some_counts(modality):
        measured = measure(modality, data, counts)
        other = np.where(np.isnan(measured.data), 777.0, measured.data).astype(measured.data.dtype)
        changed = Measurement(other, measured.counts, measured.geometry)
        np.testing.assert_array_equal(modality.reconstruct(changed), modality.reconstruct(measured))
        np.testing.assert_array_equal(modality.adjoint(changed), modality.adjoint(measured))


def check_images(modality: ImagingModality) -> None:
    """Any sampling gives finite images of the right shape and type; none at all, or no data, gives zeros."""
    for patients in (1, 4):
        data = complete_data(modality, patients)
        data[-1] = np.nan
        for counts in some_counts(modality):
            measured = measure(modality, data, counts)
            before = measured.data.copy(), measured.counts.copy()
            adjoint, images = modality.adjoint(measured), modality.reconstruct(measured)
            assert adjoint.shape == (patients, data.shape[1], *modality.matrix)
            assert adjoint.dtype == np.complex64
            assert images.shape == (patients, len(modality.channels), *modality.matrix)
            assert images.dtype == np.float32
            assert np.isfinite(adjoint).all()
            assert np.isfinite(images).all()
            assert (images[-1] == 0).all()
            assert (adjoint[-1] == 0).all()
            assert not counts.any() or patients == 1 or np.any(images[0] != 0)
            np.testing.assert_array_equal(measured.data, before[0])
            np.testing.assert_array_equal(measured.counts, before[1])


def relaxed(modality: ImagingModality, data: np.ndarray, counts: torch.Tensor, seed: int = 0) -> torch.Tensor:
    """Return images with gradients in the counts, the noise of each patient from a stream of its own."""
    return modality.relaxed(data, counts, [np.random.default_rng([seed, row]) for row in range(len(data))])


def check_relaxed_is_the_same(modality: ImagingModality) -> None:
    """Where counts are whole, images that have gradients are those that are reconstructed from a measurement."""
    data = complete_data(modality, 3)
    for counts in some_counts(modality):
        streams = [np.random.default_rng([0, row]) for row in range(3)]
        exact = modality.reconstruct(modality.measure(data, counts, streams))
        if counts.any():
            images = relaxed(modality, data, torch.tensor(counts, dtype=torch.float32))
            np.testing.assert_allclose(images.numpy(), exact, rtol=2e-3, atol=2e-3 * np.abs(exact).max())


def check_relaxed_slope(modality: ImagingModality) -> None:
    """Between whole counts the gradient is the slope; at zero it is finite and tells what a shot would add."""
    data = complete_data(modality, 2)
    weights = torch.tensor(np.random.default_rng(1).normal(size=(2, len(modality.channels), *modality.matrix)))

    def value(counts: torch.Tensor) -> torch.Tensor:
        return (relaxed(modality, data, counts) * weights).sum()

    counts = torch.full((len(modality.shots),), 0.6, dtype=torch.float32, requires_grad=True)
    (slope,) = torch.autograd.grad(value(counts), counts)
    step = 0.05 * torch.tensor(np.random.default_rng(2).normal(size=len(counts)), dtype=torch.float32)
    rise = float(value(counts.detach() + step) - value(counts.detach() - step)) / 2
    assert rise == pytest.approx(float(slope @ step), rel=0.1, abs=1e-4)
    some = torch.tensor(np.arange(len(counts)) % 2 == 0, dtype=torch.float32).requires_grad_()
    (slope,) = torch.autograd.grad(value(some), some)
    assert torch.isfinite(slope).all()
    assert (slope[1::2] != 0).all()


def check_relaxed_needs_data(modality: ImagingModality) -> None:
    """Patients who lack the scan have no gradient: they are refused by number."""
    data = complete_data(modality, 3)
    data[1] = np.nan
    with pytest.raises(ScanwiseError, match="but 1 lack some"):
        relaxed(modality, data, torch.ones(len(modality.shots)))


def check_read_only(modality: ImagingModality) -> None:
    """Memory maps that cannot be written are measured and reconstructed all the same."""
    data = complete_data(modality, 3)
    data.setflags(write=False)
    measured = measure(modality, data, everything(modality))
    measured.data.setflags(write=False)
    measured.counts.setflags(write=False)
    assert np.isfinite(modality.reconstruct(measured)).all()
    assert np.isfinite(modality.adjoint(measured)).all()


def check_any_scale(modality: ImagingModality) -> None:
    """Far above the noise, images do not depend on the order of the patients, nor on the scale of the scanner."""
    data = complete_data(modality, 4).astype(np.float32) * 1e4
    counts = np.tile(everything(modality), (4, 1))
    counts[0, 0] = 0
    counts[2] = modality.shots.max_count
    images = modality.reconstruct(measure(modality, data, counts))
    order = [2, 0, 3, 1]
    turned = modality.reconstruct(measure(modality, data[order], counts[order], seed=8))
    brighter = modality.reconstruct(measure(modality, 3 * data, counts, seed=9))
    np.testing.assert_allclose(turned, images[order], atol=0.01)
    np.testing.assert_allclose(brighter, images, atol=0.01)


def check_averaging(modality: ImagingModality) -> None:
    """Averaging brings the adjoint nearer to the noise-free one."""
    data = bright(modality, 20)
    exact = modality.adjoint(measure(modality, 1e3 * data, everything(modality))) / 1e3
    errors = [
        np.abs(modality.adjoint(measure(modality, data, count * everything(modality))) - exact).mean()
        for count in (1, 4, 16)
    ]
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]


def check_bad_measurements(modality: ImagingModality) -> None:
    """Images of another matrix, and counts that do not fit the shot table, are refused."""
    data = complete_data(modality, 2)
    rng = np.random.default_rng(0)
    with pytest.raises(
        ScanwiseError, match=r"must have shape \(patients, (?s:.*)all patients of a cohort need one matrix"
    ):
        modality.measure(data[:, :, :-1], everything(modality), rng)
    with pytest.raises(ScanwiseError, match=f"has {len(modality.shots)} shots (?s:.*) but the counts"):
        modality.measure(data, np.append(everything(modality), 1), rng)
    with pytest.raises(ScanwiseError, match="whole numbers >= 0"):
        modality.measure(data, -everything(modality), rng)
    with pytest.raises(ScanwiseError, match="whole numbers >= 0"):
        modality.measure(data, 0.5 * everything(modality), rng)


def check_synthesis(modality: ImagingModality) -> None:
    """Virtual patients become finite images, each by itself."""
    rendered = rendered_for(modality)
    scene = scene_of(5, rendered)
    data = modality.synthesise(scene)
    assert data.shape == (5, complete_data(modality, 1).shape[1], *modality.matrix)
    assert data.dtype == np.float16
    assert np.isfinite(data).all()
    assert (np.abs(data.astype(np.float32)).max(axis=(1, 2, 3)) > 1).all()
    np.testing.assert_array_equal(modality.synthesise(scene), data)
    alone = {name: values[2:3] for name, values in scene.maps.items()}
    np.testing.assert_allclose(modality.synthesise(scene_of(1, rendered, maps=alone))[0], data[2], rtol=5e-3, atol=5e-3)
    assert modality.measure(data, everything(modality), np.random.default_rng(0)).counts.all()


def check_images_over_the_noise(modality: ImagingModality) -> None:
    """Complete data are images over the noise; noise, gain and field act as they should."""
    rendered = rendered_for(modality)
    scene = scene_of(5, rendered)
    data = modality.synthesise(scene)
    noisy = modality.synthesise(scene_of(5, rendered, noise=2 * scene.noise))
    np.testing.assert_allclose(noisy, data / 2, rtol=5e-3, atol=5e-3)
    dim = modality.synthesise(scene_of(5, rendered, gain=scene.gain / 2))
    np.testing.assert_allclose(dim, data / 2, rtol=5e-3, atol=5e-3)
    low_field = modality.synthesise(scene_of(5, rendered, field_t=scene.field_t / 2))
    assert np.abs(low_field).mean() < 0.8 * np.abs(data).mean()


def check_same_resolution(modality: ImagingModality) -> None:
    """Tissue may be rendered at the resolution of the scan, but no more coarsely."""
    assert np.isfinite(modality.synthesise(scene_of(2, modality.matrix))).all()
    coarse = (modality.matrix[0] - 1, 2 * modality.matrix[1])
    with pytest.raises(ScanwiseError, match=rf"must be in \[1, {coarse[0]}\], the size of the rendered matrix"):
        modality.synthesise(scene_of(2, coarse))


def check_lacking_map(modality: ImagingModality) -> None:
    """An organ without a map that is needed is refused by the name of the map; one needs density at least."""
    needed = "attenuation_per_cm" if modality.counts_photons else "proton_density"
    maps = dict(scene_of(2, rendered_for(modality)).maps)
    del maps[needed]
    with pytest.raises(ScanwiseError, match=f"renders no '{needed}'"):
        modality.synthesise(scene_of(2, rendered_for(modality), maps=maps))


# ---- where photons are counted


def noise_of(modality: ImagingModality, data: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the standard deviation of each measured value over the same patient measured many times."""
    again = data[:1].repeat(400, axis=0)
    return measure(modality, again, counts, seed=11).data.astype(np.float64).std(axis=0)


def check_photon_noise(modality: ImagingModality) -> None:
    """More photons, less noise: with the root of the count, and of what comes through; a scanner may be noisier."""
    rendered = rendered_for(modality)
    scene = scene_of(1, rendered)
    data, usual = modality.synthesise(scene), modality.standard
    sd = noise_of(modality, data, usual)
    assert np.isfinite(sd).all()
    np.testing.assert_allclose((noise_of(modality, data, 4 * usual) / sd).mean(), 1 / 2, rtol=0.1)
    dense = {**scene.maps, "attenuation_per_cm": 1.5 * scene.maps["attenuation_per_cm"]}
    denser = noise_of(modality, modality.synthesise(scene_of(1, rendered, maps=dense)), usual)
    assert (denser / sd).mean() > 1.1
    twice = noise_of(modality, modality.synthesise(scene_of(1, rendered, noise=2 * scene.noise)), usual)
    np.testing.assert_allclose((twice / sd).mean(), 2, rtol=0.1)


def check_no_magnet(modality: ImagingModality) -> None:
    """The main field and the receive gain mean nothing."""
    scene = scene_of(3, rendered_for(modality))
    other = scene_of(3, rendered_for(modality), field_t=scene.field_t / 2, gain=scene.gain / 2)
    np.testing.assert_array_equal(modality.synthesise(other), modality.synthesise(scene))


def check_many_photons(modality: ImagingModality) -> None:
    """With many photons, images do not depend on the order of the patients nor on the noise."""
    data = complete_data(modality, 4)
    counts = np.tile(10**8 * everything(modality), (4, 1))
    counts[0, 0] = 0
    images = modality.reconstruct(measure(modality, data, counts))
    order = [2, 0, 3, 1]
    turned = modality.reconstruct(measure(modality, data[order], counts[order], seed=8))
    np.testing.assert_allclose(turned, images[order], atol=0.01)


IMAGING_CONTRACT: tuple[Callable[[ImagingModality], None], ...] = (
    check_channels,
    check_random_state,
    check_streams_per_patient,
    check_absent_shots_say_nothing,
    check_images,
    check_read_only,
    check_bad_measurements,
    check_synthesis,
    check_same_resolution,
    check_lacking_map,
)
"""What holds for every imaging modality."""
THERMAL_CONTRACT: tuple[Callable[[ImagingModality], None], ...] = (
    check_thermal_noise,
    check_any_scale,
    check_averaging,
    check_images_over_the_noise,
)
"""What holds besides where noise is that of a receiver, the same whatever the object."""
PHOTON_CONTRACT: tuple[Callable[[ImagingModality], None], ...] = (
    check_photon_noise,
    check_no_magnet,
    check_many_photons,
)
"""What holds instead where photons are counted (`ImagingModality.counts_photons`)."""


def contract_of(modality: ImagingModality) -> tuple[Callable[[ImagingModality], None], ...]:
    """Return the checks of a modality, by the kind of its noise."""
    return (*IMAGING_CONTRACT, *(PHOTON_CONTRACT if modality.counts_photons else THERMAL_CONTRACT))


RELAXED_CONTRACT: tuple[Callable[[ImagingModality], None], ...] = (
    check_relaxed_is_the_same,
    check_relaxed_slope,
    check_relaxed_needs_data,
)
"""For modalities that can be learned by gradient."""
