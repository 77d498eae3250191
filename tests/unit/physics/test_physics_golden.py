"""Every signal equation against its formula, written out again in plain `math`, one voxel at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad

from scanwise.errors import ScanwiseError
from scanwise.physics import (
    ParkerAif,
    ToftsTable,
    blood_residue,
    ernst_angle_rad,
    extended_tofts,
    inversion_recovery,
    null_inversion_time_s,
    signal_equation,
    signal_equations,
    spoiled_gradient_echo,
)

exp, sin, cos, pi = math.exp, math.sin, math.cos, math.pi


def parker_plasma(seconds, *, arrival=0.0):
    """Parker 2006, eq. 1 and table 1, over 1 - 0.42; seconds in, mM out."""
    t = (seconds - arrival) / 60
    if t < 0:
        return 0.0
    first = 0.809 / (0.0563 * math.sqrt(2 * pi)) * exp(-((t - 0.17046) ** 2) / (2 * 0.0563**2))
    second = 0.330 / (0.132 * math.sqrt(2 * pi)) * exp(-((t - 0.365) ** 2) / (2 * 0.132**2))
    tail = 1.050 * exp(-0.1685 * t) / (1 + exp(-38.078 * (t - 0.483)))
    return (first + second + tail) / 0.58


def tofts(seconds, ktrans, ve, vp, *, arrival=0.0):
    """Extended Tofts by adaptive quadrature."""
    if seconds <= arrival:
        return vp * parker_plasma(seconds, arrival=arrival)
    kep = ktrans / ve
    marks = [m for m in (arrival + 5, arrival + 10, arrival + 15, arrival + 22, arrival + 29) if m < seconds]
    edges = [arrival, *marks, seconds]
    total = sum(
        quad(
            lambda u: parker_plasma(u, arrival=arrival) * exp(-kep * (seconds - u)),
            a,
            b,
            epsabs=1e-12,
            epsrel=1e-11,
            limit=200,
        )[0]
        for a, b in itertools.pairwise(edges)
    )
    return vp * parker_plasma(seconds, arrival=arrival) + ktrans * total


def _spgr(pd, t1, t2star):
    e1 = exp(-0.005 / t1)
    return pd * sin(0.2) * (1 - e1) / (1 - cos(0.2) * e1) * exp(-0.002 / t2star)


def _bssfp(pd, t1, t2):
    e1, e2 = exp(-0.004 / t1), exp(-0.004 / t2)
    return pd * sin(0.9) * (1 - e1) / (1 - (e1 - e2) * cos(0.9) - e1 * e2) * exp(-0.002 / t2)


def _modulation(t2):
    # 26 lines, 8 echoes, so 4 trains; bands of 4 lines 0..6, line 13 is in band 3, which comes at echo 5 (60 ms)
    echo = {0: 2, 1: 3, 2: 4, 3: 5, 4: 6, 5: 7, 6: 8}
    return [exp(-(echo[line // 4] * 0.012 - 0.060) / t2) for line in range(26)]


GOLDEN = {
    "spin_echo": lambda pd, t1, t2: pd * (1 - exp(-2.4 / t1)) * exp(-0.08 / t2),
    "turbo_spin_echo": lambda pd, t1, t2: pd * (1 - exp(-(3.2 - 8 * 0.012) / t1)) * exp(-0.060 / t2),
    "echo_train_modulation": _modulation,
    "spoiled_gradient_echo": _spgr,
    "inversion_recovery": lambda pd, t1, t2: pd * abs(1 - 2 * exp(-2.2 / t1) + exp(-9.0 / t1)) * exp(-0.12 / t2),
    "balanced_ssfp": _bssfp,
    "diffusion_weighting": lambda s0, adc: s0 * exp(-800 * adc),
    "diffusion_kurtosis": lambda s0, d, k: s0 * exp(-1400 * d + 1400**2 * d**2 * k / 6),
    "extended_tofts": lambda ktrans, ve, vp: [
        tofts(t, ktrans, ve, vp, arrival=5.0) for t in (0.0, 7.0, 14.5, 22.0, 40.0, 75.0, 150.0)
    ],
    "relaxation_with_contrast_s": lambda native, c: 1 / (1 / native + 4.5 * c),
    "contrast_enhanced_signal": lambda pd, t1, t2star, c: _spgr(pd, 1 / (1 / t1 + 4.5 * c), 1 / (1 / t2star + 5.5 * c)),
}


def test_every_equation_has_a_golden_value():
    assert set(GOLDEN) == set(signal_equations())


@pytest.mark.parametrize("name", GOLDEN)
def test_golden(name):
    equation = signal_equation(name)
    rng = np.random.default_rng(7)
    voxels = np.array([[rng.uniform(low, high) for low, high in equation.ranges.values()] for _ in range(5)])
    tissue = {key: torch.from_numpy(voxels[:, i].copy()) for i, key in enumerate(equation.ranges)}

    signal = equation(**tissue)

    expected = torch.tensor([GOLDEN[name](*voxel) for voxel in voxels.tolist()], dtype=torch.float64)
    tolerance = 1e-5 if name == "extended_tofts" else 1e-11
    torch.testing.assert_close(signal, expected, rtol=tolerance, atol=tolerance * float(expected.abs().max()))


def test_numbers_worked_out_by_hand():
    one = torch.ones((), dtype=torch.float64)
    echo = signal_equation("spin_echo").function
    assert echo(
        proton_density=one,
        t1_s=one * 2.4 / math.log(2),
        t2_s=one * 0.08 / math.log(4),
        repetition_time_s=2.4,
        echo_time_s=0.08,
    ).item() == pytest.approx(0.125)  # half recovered, a quarter left
    decay = signal_equation("diffusion_weighting").function
    assert decay(unweighted=one, adc_mm2_per_s=one * math.log(2) / 1000, b_s_per_mm2=2000.0).item() == pytest.approx(
        0.25
    )


def test_parker_aif_against_the_paper():
    seconds = np.array([0.0, 4.0, 10.2276, 21.9, 29.0, 60.0, 300.0])

    plasma = ParkerAif(arrival_s=3.0).plasma_millimolar(torch.from_numpy(seconds + 3.0))
    blood = ParkerAif(haematocrit=0.0, dose_mmol_per_kg=0.2).blood_millimolar(torch.from_numpy(seconds))

    expected = np.array([parker_plasma(t) for t in seconds])
    np.testing.assert_allclose(plasma.numpy(), expected, rtol=1e-12)
    np.testing.assert_allclose(blood.numpy(), expected * 0.58 * 2, rtol=1e-12)
    assert 5.5 < blood[2] / 2 < 6.5  # first-pass peak of about 6 mM in figure 2 of the paper
    assert ParkerAif(arrival_s=3.0).plasma_millimolar(torch.tensor([2.999])).item() == 0


@pytest.mark.parametrize("arrival", [0.0, 11.3])
@pytest.mark.parametrize(
    ("ktrans_per_min", "ve", "vp"), [(0.05, 0.4, 0.0), (0.25, 0.2, 0.05), (2.5, 0.15, 0.3), (0.0, 0.3, 0.1)]
)
def test_tofts_against_quadrature(arrival, ktrans_per_min, ve, vp):
    seconds = np.array([0.0, 3.0, 11.3, 18.0, 26.0, 60.0, 61.0, 300.0])
    kinetics = [torch.tensor(value, dtype=torch.float64) for value in (ktrans_per_min / 60, ve, vp)]

    concentration = extended_tofts(
        ktrans_per_s=kinetics[0], ve=kinetics[1], vp=kinetics[2], time_s=torch.from_numpy(seconds),
        aif=ParkerAif(arrival_s=arrival),
    )  # fmt: skip

    expected = np.array([tofts(t, ktrans_per_min / 60, ve, vp, arrival=arrival) for t in seconds])
    np.testing.assert_allclose(concentration.numpy(), expected, rtol=1e-5, atol=1e-5 * expected.max())


def test_a_finer_step_changes_nothing_and_a_coarse_one_does():
    kep = torch.tensor([0.002, 0.02, 0.2], dtype=torch.float64)
    time_s = torch.tensor([9.0, 20.0, 90.0], dtype=torch.float64)

    default, fine, coarse = (
        blood_residue(kep_per_s=kep, time_s=time_s, aif=ParkerAif(), step_s=step) for step in (0.5, 0.05, 10.0)
    )

    torch.testing.assert_close(default, fine, rtol=1e-4, atol=1e-5 * float(fine.max()))
    assert (coarse - fine).abs().max() > 100 * (default - fine).abs().max()


def test_table_is_the_convolution():
    stream = torch.Generator().manual_seed(0)
    shape = (3, 5, 7)
    ktrans, ve, vp = (
        low + (high - low) * torch.rand(shape, generator=stream, dtype=torch.float64)
        for low, high in ((0.0005, 0.03), (0.1, 0.6), (0.0, 0.1))
    )
    ktrans[0, 0, 0] = 0
    time_s = torch.arange(0, 200, 8.0, dtype=torch.float64)
    aif = ParkerAif(arrival_s=16.0)
    table = ToftsTable.build(time_s=time_s, aif=aif, dtype=torch.float64)

    looked_up = table.concentration_millimolar(ktrans_per_s=ktrans, ve=ve, vp=vp)

    exact = extended_tofts(ktrans_per_s=ktrans, ve=ve, vp=vp, time_s=time_s, aif=aif)
    assert looked_up.shape == (3, 5, 7, 25)
    assert (looked_up - exact).abs().max() < 1e-4 * exact.max()
    single = ToftsTable.build(time_s=time_s, aif=aif).concentration_millimolar(
        ktrans_per_s=ktrans.float(), ve=ve.float(), vp=vp.float()
    )
    assert single.dtype == torch.float32
    assert (single - exact).abs().max() < 2e-4 * exact.max()


def test_table_has_gradients():
    table = ToftsTable.build(time_s=torch.tensor([0.0, 20.0, 80.0]), aif=ParkerAif(), dtype=torch.float64, rows=64)
    ktrans, ve, vp = (
        torch.tensor(values, dtype=torch.float64, requires_grad=True)
        for values in ([0.002, 0.0071], [0.31, 0.22], [0.02, 0.05])
    )

    assert torch.autograd.gradcheck(
        lambda k, e, p: table.concentration_millimolar(ktrans_per_s=k, ve=e, vp=p), (ktrans, ve, vp)
    )


def test_table_refuses_what_it_does_not_cover():
    table = ToftsTable.build(time_s=torch.tensor([0.0, 20.0]), aif=ParkerAif(), low_per_s=0.001, high_per_s=0.01)
    with pytest.raises(ScanwiseError, match=r"kep = Ktrans / ve must be in \[.*0\.05 1/s"):
        table.concentration_millimolar(
            ktrans_per_s=torch.tensor([0.01]), ve=torch.tensor([0.2]), vp=torch.tensor([0.0])
        )
    with pytest.raises(ScanwiseError, match="low < high"):
        ToftsTable.build(time_s=torch.tensor([0.0]), aif=ParkerAif(), low_per_s=0.2, high_per_s=0.1)


def test_ernst_angle_is_the_best():
    t1 = torch.tensor([0.4, 1.5], dtype=torch.float64)
    best = ernst_angle_rad(t1_s=t1, repetition_time_s=0.006)

    def signal(angle):
        return spoiled_gradient_echo(
            proton_density=torch.ones(2, dtype=torch.float64), t1_s=t1, t2star_s=t1 / 20, flip_angle_rad=angle,
            repetition_time_s=0.006, echo_time_s=0.002,
        )  # fmt: skip

    assert best.tolist() == pytest.approx([math.acos(exp(-0.006 / 0.4)), math.acos(exp(-0.006 / 1.5))])
    assert bool((signal(best) > signal(best * 1.02)).all() and (signal(best) > signal(best * 0.98)).all())


def test_fluid_is_nulled_and_has_a_sign():
    fluid = {"proton_density": torch.ones(1), "t1_s": torch.tensor([4.2]), "t2_s": torch.tensor([2.0])}
    time = null_inversion_time_s(t1_s=4.2, repetition_time_s=9.0)
    flair = {"repetition_time_s": 9.0, "echo_time_s": 0.12}

    assert float(time) == pytest.approx(4.2 * (math.log(2) - math.log(1 + exp(-9.0 / 4.2))))
    assert inversion_recovery(**fluid, **flair, inversion_time_s=time).item() == pytest.approx(0, abs=1e-6)
    early = inversion_recovery(**fluid, **flair, inversion_time_s=1.0, signed=True).item()
    assert early < 0
    assert inversion_recovery(**fluid, **flair, inversion_time_s=1.0).item() == pytest.approx(-early)


def test_settings_may_be_tensors():
    b = torch.tensor([0.0, 50.0, 800.0], dtype=torch.float64)[:, None]
    adc = torch.tensor([0.0008, 0.0017], dtype=torch.float64)

    signal = signal_equation("diffusion_weighting").function(
        unweighted=torch.ones(2, dtype=torch.float64), adc_mm2_per_s=adc, b_s_per_mm2=b
    )

    assert signal.shape == (3, 2)
    assert signal[2].tolist() == pytest.approx([exp(-0.64), exp(-1.36)])
