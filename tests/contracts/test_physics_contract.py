"""What every operator and every signal equation of `physics` promises; a new one is tested by being registered."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
import torch

from scanwise.errors import ScanwiseError
from scanwise.physics import (
    Chain,
    Fourier,
    Operator,
    PartialVolume,
    operators,
    register_operator,
    register_signal_equation,
    signal_equation,
    signal_equations,
    spin_echo,
)

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
TOLERANCE = {torch.complex64: 2e-5, torch.complex128: 1e-12}
PATIENTS = 2

MISSING = {name: cls.extra for name, cls in operators().items() if cls.extra and find_spec(cls.extra) is None}
"""Operators that are not tested here, because what they need is not installed."""
INSTANCES = {
    f"{name}-{i}": operator
    for name, cls in operators().items()
    if name not in MISSING
    for i, operator in enumerate(cls.examples())
}
INSTANCES["chain"] = INSTANCES["cartesian_encoding-0"] @ PartialVolume((48, 74), (24, 37))
EQUATIONS = signal_equations()

SHARED = {name: operator for name, operator in INSTANCES.items() if operator.patients == 1}
OWN = {name: operator for name, operator in INSTANCES.items() if operator.patients != 1}

every_operator = pytest.mark.parametrize("operator", INSTANCES.values(), ids=INSTANCES.keys())
every_equation = pytest.mark.parametrize("equation", EQUATIONS.values(), ids=EQUATIONS.keys())
on_every_device = pytest.mark.parametrize("device", DEVICES)


def draw(shape, seed, dtype=torch.complex128, device="cpu"):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed)).to(device)


def tissue_of(equation, shape, seed, dtype=torch.float64, device="cpu"):
    stream = torch.Generator().manual_seed(seed)
    return {
        name: (low + (high - low) * torch.rand(shape, dtype=torch.float64, generator=stream)).to(device, dtype)
        for name, (low, high) in equation.ranges.items()
    }


def adjoint_mismatch(operator, dtype=torch.complex128, device="cpu"):
    """Largest |<Ax, y> - <x, A*y>| over the patients, relative to |Ax| |y|."""
    x = draw((PATIENTS, *operator.domain_shape), 1, dtype, device)
    y = draw((PATIENTS, *operator.range_shape), 2, dtype, device)
    forward, adjoint = operator.forward(x), operator.adjoint(y)
    assert forward.shape == y.shape
    assert adjoint.shape == x.shape  # flattening below would hide a wrong shape
    left = (forward.conj() * y).flatten(1).sum(1)
    right = (x.conj() * adjoint).flatten(1).sum(1)
    scale = forward.flatten(1).norm(dim=1) * y.flatten(1).norm(dim=1)
    return float(((left - right).abs() / scale).max())


def test_there_is_something_to_test():
    assert {"fourier", "partial_volume", "echo_train_blur", "cartesian_encoding", "moving_encoding"} <= set(operators())
    assert len(EQUATIONS) >= 11
    assert all(cls.examples() for cls in operators().values())
    assert len(OWN) >= 3


def test_operators_of_extras_are_tested_too():
    if MISSING:
        pytest.skip(f"not tested here, not installed: {MISSING}")
    assert {"radial_encoding-0", "radial_encoding-1"} <= set(INSTANCES)


def test_examples_have_odd_and_even_and_unequal_sides():
    for name, cls in operators().items():
        sizes = [operator.domain_shape[-2:] for operator in cls.examples()]

        assert all(y != x for y, x in sizes), name
        assert {side % 2 for size in sizes for side in size} == {0, 1}, name


class TestOperators:
    @every_operator
    @on_every_device
    @pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
    def test_adjoint(self, operator, dtype, device):
        assert adjoint_mismatch(operator.to(device), dtype, device) < TOLERANCE[dtype]

    @every_operator
    def test_linear(self, operator):
        x, y = (draw((PATIENTS, *operator.domain_shape), seed) for seed in (3, 4))

        together = operator.forward((2 - 1j) * x + 0.5j * y)

        torch.testing.assert_close(together, (2 - 1j) * operator.forward(x) + 0.5j * operator.forward(y))

    @every_operator
    def test_gradient_is_the_adjoint(self, operator):
        x = draw((PATIENTS, *operator.domain_shape), 5).requires_grad_()
        y = draw((PATIENTS, *operator.range_shape), 6)

        (gradient,) = torch.autograd.grad(operator.forward(x), x, grad_outputs=y)

        torch.testing.assert_close(gradient, operator.adjoint(y))

    @every_operator
    def test_gradients_are_those_of_finite_differences(self, operator):
        x = draw((PATIENTS, *operator.domain_shape), 7).requires_grad_()
        y = draw((PATIENTS, *operator.range_shape), 8).requires_grad_()

        assert torch.autograd.gradcheck(operator.forward, x, fast_mode=True)
        assert torch.autograd.gradcheck(operator.adjoint, y, fast_mode=True)

    @every_operator
    @on_every_device
    @pytest.mark.parametrize(
        ("given", "result"),
        [
            (torch.float32, torch.complex64),
            (torch.complex64, torch.complex64),
            (torch.float64, torch.complex128),
            (torch.complex128, torch.complex128),
        ],
    )
    def test_precision_and_device_stay(self, operator, given, result, device):
        operator = operator.to(device)

        forward = operator.forward(draw((PATIENTS, *operator.domain_shape), 9, given, device))
        adjoint = operator.adjoint(draw((PATIENTS, *operator.range_shape), 9, given, device))

        assert (forward.dtype, adjoint.dtype) == (result, result)
        assert (forward.device.type, adjoint.device.type) == (device, device)

    @every_operator
    def test_a_patient_does_not_depend_on_the_others(self, operator):
        x = draw((PATIENTS, *operator.domain_shape), 10)
        other = torch.cat([x[:1], draw((PATIENTS - 1, *operator.domain_shape), 11)])

        torch.testing.assert_close(operator.forward(other)[:1], operator.forward(x)[:1], rtol=0, atol=0)

    @pytest.mark.parametrize("operator", SHARED.values(), ids=SHARED.keys())
    def test_batch_of_one(self, operator):
        x = draw((PATIENTS, *operator.domain_shape), 12)
        y = draw((PATIENTS, *operator.range_shape), 13)

        torch.testing.assert_close(operator.forward(x[1:]), operator.forward(x)[1:])
        torch.testing.assert_close(operator.adjoint(y[1:]), operator.adjoint(y)[1:])

    @every_operator
    def test_wrong_shapes_are_refused_with_both_shapes(self, operator):
        shape = (PATIENTS, *operator.domain_shape[:-1], operator.domain_shape[-1] + 1)
        with pytest.raises(ScanwiseError, match=rf"`forward`.*{operator.domain_shape[-1]}\).*{shape[-1]}\)"):
            operator.forward(torch.zeros(shape))
        shape = (PATIENTS, *operator.range_shape[:-1], operator.range_shape[-1] + 1)
        with pytest.raises(ScanwiseError, match=rf"`adjoint`.*{operator.range_shape[-1]}\).*{shape[-1]}\)"):
            operator.adjoint(torch.zeros(shape))

    @pytest.mark.parametrize("operator", OWN.values(), ids=OWN.keys())
    def test_wrong_number_of_patients_is_refused(self, operator):
        with pytest.raises(ScanwiseError, match=rf"must have shape \({operator.patients}, "):
            operator.forward(torch.zeros(operator.patients + 1, *operator.domain_shape))

    @pytest.mark.parametrize("operator", Fourier.examples(), ids=repr)
    def test_the_fourier_transform_is_unitary(self, operator):
        x = draw((PATIENTS, *operator.domain_shape), 14)

        torch.testing.assert_close(operator.adjoint(operator.forward(x)), x)
        torch.testing.assert_close(operator.forward(operator.adjoint(x)), x)
        torch.testing.assert_close(operator.forward(x).norm(), x.norm())


class _WrongSign(Fourier):
    """Its adjoint conjugates: nearly right."""

    def _adjoint(self, kspace):
        return super()._adjoint(kspace.conj())


def test_the_adjoint_test_sees_a_wrong_adjoint():
    assert adjoint_mismatch(_WrongSign((24, 37))) > 1e-3


def test_a_chain_that_does_not_fit_is_refused():
    with pytest.raises(ScanwiseError, match=r"takes \(37, 24\) and gets \(24, 37\)"):
        Chain(Fourier((37, 24)), Fourier((24, 37)))


def test_names_are_unique():
    with pytest.raises(ScanwiseError, match="already an operator called 'fourier'"):
        register_operator(_WrongSign)
    with pytest.raises(ScanwiseError, match="already a signal equation called 'spin_echo'"):
        register_signal_equation(ranges={}, settings={})(spin_echo)


def test_an_unknown_equation_is_refused_with_a_suggestion():
    with pytest.raises(ScanwiseError, match="did you mean 'spin_echo'"):
        signal_equation("spinecho")


def test_operators_and_equations_say_what_they_are():
    assert isinstance(INSTANCES["chain"], Operator)
    assert repr(INSTANCES["cartesian_encoding-0"]) == "CartesianEncoding((24, 37) -> (4, 24, 37))"
    assert repr(EQUATIONS["diffusion_weighting"]) == "SignalEquation('diffusion_weighting': unweighted, adc_mm2_per_s)"


class TestSignalEquations:
    @every_equation
    def test_shape_of_the_maps_and_of_what_is_appended(self, equation):
        signal = equation(**tissue_of(equation, (2, 3, 5), 1))

        n = {"": (), "lines": (26,), "frames": (7,)}[equation.appends]
        assert signal.shape == (2, 3, 5, *n)
        assert bool(signal.isfinite().all())

    @every_equation
    def test_gradients_are_those_of_finite_differences(self, equation):
        tissue = tissue_of(equation, (3,), 2)
        leaves = tuple(value.requires_grad_() for value in tissue.values())

        def signal(*values):
            return equation(**dict(zip(tissue, values, strict=True)))

        assert torch.autograd.gradcheck(signal, leaves, eps=1e-7, atol=1e-6, rtol=1e-4)

    @every_equation
    @on_every_device
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
    def test_precision_and_device_stay(self, equation, dtype, device):
        signal = equation(**tissue_of(equation, (2, 3), 3, dtype, device))

        assert (signal.dtype, signal.device.type) == (dtype, device)
        exact = equation(**tissue_of(equation, (2, 3), 3))
        torch.testing.assert_close(signal.cpu().double(), exact, rtol=2e-5, atol=1e-6)

    @every_equation
    def test_batch_of_one_and_a_single_voxel(self, equation):
        tissue = tissue_of(equation, (2, 3), 4)
        whole = equation(**tissue)

        torch.testing.assert_close(equation(**{name: value[1:] for name, value in tissue.items()}), whole[1:])
        torch.testing.assert_close(equation(**{name: value[1, 2] for name, value in tissue.items()}), whole[1, 2])

    @every_equation
    def test_maps_broadcast(self, equation):
        tissue = tissue_of(equation, (2, 3), 5)
        first, *rest = tissue
        shared = {first: tissue[first], **{name: tissue[name][0, 0] for name in rest}}
        spread = {first: tissue[first], **{name: tissue[name][:1, :1].expand(2, 3) for name in rest}}

        torch.testing.assert_close(equation(**shared), equation(**spread))

    @every_equation
    @pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
    def test_a_value_that_is_not_physical_is_named(self, equation, bad):
        for name in equation.ranges:
            tissue = tissue_of(equation, (2, 3), 6)
            tissue[name][1, 2] = bad
            with pytest.raises(ScanwiseError, match=rf"must (be|not).*{bad:g}"):
                equation(**tissue)

    @every_equation
    def test_no_patients_at_all(self, equation):
        assert equation(**tissue_of(equation, (0, 3), 7)).shape[:2] == (0, 3)
