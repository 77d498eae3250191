"""What is not physical is refused, and the message names the value."""

from __future__ import annotations

import re

import pytest
import torch

from scanwise.errors import ScanwiseError
from scanwise.physics import (
    CartesianEncoding,
    EchoTrain,
    EchoTrainBlur,
    Motion,
    MovingEncoding,
    NoiseReference,
    ParkerAif,
    PartialVolume,
    add_noise,
    as_counts,
    coil_maps,
    diffusion_kurtosis,
    diffusion_weighting,
    extended_tofts,
    inversion_recovery,
    partial_fourier_counts,
    rotate,
    signal_equation,
)

TIMING = {"repetition_time_s": 2.0, "echo_time_s": 0.08}


def row(*values):
    return torch.tensor(values)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("spin_echo", {"t2_s": row(1.9, 0.1)}, "T2 must not be above T1, but got T2 = 1.9 s with T1 = 1.6 s"),
        ("spin_echo", {"t1_s": row(1.6, 0.0)}, "T1 must be in (0, 30] s, but got 0 s"),
        ("spin_echo", {"t1_s": row(1.6, 1597.0)}, "T1 must be in (0, 30] s, but got 1597 s"),
        ("spin_echo", {"proton_density": row(1.0, -0.1)}, "proton density must be finite and >= 0, but got -0.1"),
        ("spin_echo", {"echo_time_s": 2.5}, "TE must not be above TR, but got TE = 2.5 s with TR = 2.4 s"),
        ("spin_echo", {"repetition_time_s": 0.0}, "TR must be finite and > 0 s, but got 0 s"),
        ("spin_echo", {"echo_time_s": -0.1}, "TE must be finite and >= 0 s, but got -0.1 s"),
        ("turbo_spin_echo", {"t2_s": row(0.1, -0.1)}, "T2 must be finite and > 0 s, but got -0.1 s"),
        ("echo_train_modulation", {"t2_s": row(0.1, 0.0)}, "T2 must be finite and > 0 s, but got 0 s"),
        ("spoiled_gradient_echo", {"flip_angle_rad": 15.0}, "flip angle must be in (0, 3.14159] rad, but got 15 rad"),
        ("spoiled_gradient_echo", {"t2star_s": row(1.7, 0.1)}, "T2* must not be above T1"),
        ("balanced_ssfp", {"flip_angle_rad": 0.0}, "flip angle must be in (0, 3.14159] rad, but got 0 rad"),
        ("balanced_ssfp", {"echo_time_s": 0.005}, "TE must not be above TR, but got TE = 0.005 s with TR = 0.004 s"),
        ("inversion_recovery", {"inversion_time_s": 8.95}, "TI + TE must not be above TR, but got TI + TE = 9.07 s"),
        ("inversion_recovery", {"inversion_time_s": 0.0}, "TI must be finite and > 0 s, but got 0 s"),
        ("diffusion_weighting", {"adc_mm2_per_s": row(0.001, -0.0002)}, "[0, 0.05] mm^2/s, but got -0.0002"),
        ("diffusion_weighting", {"adc_mm2_per_s": row(0.001, 1.6)}, "ADC must be in [0, 0.05] mm^2/s, but got 1.6"),
        ("diffusion_weighting", {"b_s_per_mm2": -50.0}, "b-value must be finite and >= 0 s/mm^2, but got -50 s/mm^2"),
        ("diffusion_kurtosis", {"kurtosis": row(-0.1, 0.5)}, "kurtosis must be finite and >= 0, but got -0.1"),
        ("diffusion_kurtosis", {"b_s_per_mm2": 4000.0}, "b D K must not be above 3, but got b D K = "),
        ("extended_tofts", {"ktrans_per_s": row(-0.001, 0.1)}, "Ktrans must be finite and >= 0 1/s, but got -0.001"),
        ("extended_tofts", {"ve": row(0.2, 0.0)}, "ve must be in (0, 1], but got 0"),
        ("extended_tofts", {"vp": row(0.05, 0.9)}, "ve + vp must not be above 1, but got ve + vp = 1.1"),
        ("extended_tofts", {"time_s": row(0.0, 5.0, 5.0)}, "frame times must ascend, but got [0.0, 5.0, 5.0]"),
        ("extended_tofts", {"time_s": torch.zeros(2, 3)}, "frame times must be one ascending row"),
        ("extended_tofts", {"time_s": row(-1.0, 5.0)}, "frame time must be finite and >= 0 s, but got -1 s"),
        ("extended_tofts", {"step_s": 0.0}, "step must be finite and > 0 s, but got 0 s"),
        ("relaxation_with_contrast_s", {"relaxivity_per_millimolar_s": -4.5}, "relaxivity must be finite and >= 0"),
        ("contrast_enhanced_signal", {"concentration_millimolar": row(-0.1, 0.0)}, "concentration must be"),
        ("contrast_enhanced_signal", {"t2star_s": row(1.7, 0.1)}, "T2* must not be above T1"),
    ],
)
def test_equations(name, change, message):
    equation = signal_equation(name)
    tissue = {
        "proton_density": row(1.0, 0.9),
        "t1_s": row(1.6, 1.8),
        "t2_s": row(0.1, 0.08),
        "t2star_s": row(0.03, 0.02),
    }
    tissue |= {
        "unweighted": row(1.0, 0.5),
        "adc_mm2_per_s": row(0.001, 0.002),
        "diffusivity_mm2_per_s": row(0.001, 0.0015),
    }
    tissue |= {"kurtosis": row(0.5, 0.9), "ktrans_per_s": row(0.002, 0.003), "ve": row(0.2, 0.2), "vp": row(0.05, 0.02)}
    tissue |= {"native_s": row(1.6, 1.8), "concentration_millimolar": row(0.0, 1.0)}
    good = {key: tissue[key] for key in equation.ranges} | dict(equation.settings)
    assert bool(equation.function(**good).isfinite().all())

    with pytest.raises(ScanwiseError, match=re.escape(message)):
        equation.function(**good | change)


TRAIN = {"n_lines": 24, "length": 8, "spacing_s": 0.01, "effective_echo_time_s": 0.05, "repetition_time_s": 3.0}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"length": 25}, "between 1 and 24 echoes, one line each, but got self.length=25"),
        ({"length": 0}, "between 1 and 24 echoes"),
        ({"spacing_s": -0.01}, "echo spacing must be finite and > 0 s, but got -0.01 s"),
        ({"effective_echo_time_s": 0.0}, "TE must be finite and > 0 s, but got 0 s"),
        ({"effective_echo_time_s": 0.09}, "the 8 echoes every 0.01 s, but got 0.09 s\n  -> the nearest is 0.08 s"),
        ({"effective_echo_time_s": 0.052}, "but got 0.052 s\n  -> the nearest is 0.05 s"),
        ({"repetition_time_s": 0.08}, "8 echoes of 0.01 s do not fit in TR = 0.08 s"),
    ],
)
def test_echo_trains(change, message):
    with pytest.raises(ScanwiseError, match=re.escape(message)):
        EchoTrain(**TRAIN | change)


MAPS = coil_maps((24, 37), n_coils=3, seed=0)
ONCE = torch.ones(24, dtype=torch.int64)
STREAM = torch.Generator()


def encode(maps=MAPS, counts=ONCE, matrix=(24, 37)):
    return CartesianEncoding.build(maps=maps, counts=counts, matrix=matrix)


def encode_moving(counts, matrix=(24, 37)):
    return MovingEncoding.build(maps=MAPS, shot_counts=counts, matrix=matrix, motion=Motion.still(1, 2))


def move(**change):
    still = dict.fromkeys(("shift_y_px", "shift_x_px", "rotation_rad", "phase_rad"), torch.zeros(1, 2))
    return Motion(**still | change)


def reference(**change):
    return NoiseReference(**{"snr": 20.0, "voxel_volume_mm3": 1.0, "sampling_s": 1.0} | change)


def noisy(**change):
    settings = {"kspace": torch.zeros(2, 3, 24, 37) + 0j, "counts": ONCE, "sd": 0.1, "generator": STREAM} | change
    return add_noise(settings.pop("kspace"), **settings)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: as_counts(ONCE, 25), "each of the 25 lines of the matrix, but have shape (24,)"),
        (lambda: as_counts(-ONCE, 24), "every count must be finite and >= 0, but got -1"),
        (lambda: as_counts(ONCE.float(), 24), "counts must be integers, but are torch.float32"),
        (lambda: as_counts(ONCE.bool(), 24), "counts must be integers, but are torch.bool"),
        (lambda: partial_fourier_counts(24, 0.4), "partial Fourier fraction must be in [0.5, 1], but got 0.4"),
        (lambda: partial_fourier_counts(24, 1.1), "partial Fourier fraction must be in [0.5, 1], but got 1.1"),
        (lambda: coil_maps((24, 37), n_coils=0, seed=0), "n_coils >= 1"),
        (lambda: PartialVolume((24, 37), (25, 37)), "number of lines must be in [1, 24]"),
        (lambda: encode(matrix=(26, 37)), "each of the 26 lines of the matrix, but have shape (24,)"),
        (lambda: encode(matrix=(24, 38)), "number of columns must be in [1, 37]"),
        (lambda: encode(counts=ONCE.repeat(2), matrix=(48, 37)), "size of the rendered matrix, but got 48"),
        (lambda: encode(maps=MAPS.abs()), "coil maps must be complex"),
        (lambda: encode(maps=MAPS[0]), "coil maps must be complex with shape (patients or 1, coils, y, x)"),
        (lambda: CartesianEncoding(MAPS[None], ONCE, 37), "must have shape (patients or 1, lines), but have (24,)"),
        (lambda: encode(MAPS.repeat(2, 1, 1, 1), ONCE.repeat(3, 1)), "the same patients, but they have [2, 3]"),
        (lambda: EchoTrainBlur(torch.ones(1, 2, 25), (24, 37)), "with at most 24 lines, but has (1, 2, 25)"),
        (lambda: encode_moving(ONCE.repeat(3, 1)), "(patients or 1, 2 shots, lines), but have (1, 3, 24)"),
        (lambda: encode_moving(ONCE.repeat(2, 1), (23, 37)), "each of the 23 lines"),
        (lambda: encode_moving(-ONCE.repeat(2, 1)), "every count must be finite and >= 0, but got -1"),
        (lambda: encode_moving(ONCE.float().repeat(2, 1)), "must be torch.int64, but are torch.float32"),
        (lambda: move(shift_x_px=torch.zeros(1, 3)), "but got [(1, 2), (1, 3)]"),
        (lambda: move(rotation_rad=torch.ones(1, 2)), "rotation must be in [0, 0.785398] rad, but got 1 rad"),
        (
            lambda: move(shift_y_px=torch.full((1, 2), torch.nan)),
            "size of shift_y_px must be finite and >= 0, but got nan",
        ),
        (lambda: Motion.random(1, 2, shift_sd_px=-1.0, generator=STREAM), "deviation of the shift must be finite"),
        (lambda: rotate(torch.zeros(1, 24, 37), row(-0.8)), "rotation must be in [0, 0.785398] rad, but got 0.8 rad"),
        (lambda: reference(snr=0.0), "SNR must be finite and > 0, but got 0"),
        (lambda: reference(field_exponent=3.0), "field exponent must be in [0, 2], but got 3"),
        (lambda: reference().sd(voxel_volume_mm3=-1.0, sampling_s=1.0), "> 0 mm^3, but got -1 mm^3"),
        (lambda: ParkerAif(haematocrit=1.2), "haematocrit must be in [0, 0.95], but got 1.2"),
        (lambda: ParkerAif(dose_mmol_per_kg=-0.1), "contrast dose must be finite and >= 0 mmol/kg, but got -0.1"),
        (lambda: ParkerAif(first_width_min=0.0), "first_width_min must be finite and > 0, but got 0"),
        (lambda: noisy(kspace=torch.zeros(2, 3, 24, 37)), "k-space must be complex"),
        (lambda: noisy(sd=-0.1), "noise sd must be finite and >= 0, but got -0.1"),
        (lambda: noisy(counts=ONCE[:23]), "each of the 24 lines of the matrix, but have shape (23,)"),
        (lambda: noisy(counts=ONCE.repeat(3, 1)), "counts are for 3 patients, but there are 2"),
        (lambda: noisy(sd=torch.ones(3)), "noise sd are for 3 patients, but there are 2"),
        (lambda: noisy(generator=[STREAM]), "one generator per patient, but got 1 for 2 patients"),
    ],
)
def test_encoding_motion_and_noise(call, message):
    with pytest.raises(ScanwiseError, match=re.escape(message)):
        call()


def test_what_is_at_the_limit_is_allowed():
    water = {"proton_density": row(1.0), "t1_s": row(3.0), "t2_s": row(3.0)}
    assert inversion_recovery(**water, inversion_time_s=1.92, **TIMING).isfinite().all()
    assert diffusion_weighting(unweighted=row(1.0), adc_mm2_per_s=row(0.0), b_s_per_mm2=0.0).item() == 1
    assert diffusion_kurtosis(
        unweighted=row(1.0), diffusivity_mm2_per_s=row(0.001), kurtosis=row(1.0), b_s_per_mm2=3000.0
    ).item() == pytest.approx(0.22313)  # exp(-1.5): the lowest point
    assert extended_tofts(
        ktrans_per_s=row(0.0), ve=row(1.0), vp=row(0.0), time_s=row(0.0, 60.0), aif=ParkerAif()
    ).tolist() == [[0.0, 0.0]]
