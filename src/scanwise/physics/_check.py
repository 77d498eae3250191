"""Physical limits, checked where values enter an equation; private to this package."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from scanwise.errors import ScanwiseError

Value = float | Tensor
"""A setting of the scanner: one number, or a tensor that broadcasts against the tissue maps."""

LONGEST_T1_S = 30.0
"""No tissue or fluid has a longer T1 [s]; a larger number was given in milliseconds."""
LARGEST_ADC_MM2_PER_S = 0.05
"""Far above free water at body temperature (0.003 mm^2/s); a larger number was given in 10^-3 mm^2/s."""

_ROUNDING = 1e-6
"""Share by which single precision may put a value above one that it equals."""


def _extremes(value: Value) -> tuple[float, ...]:
    """Return the smallest and the largest value, NaN for both where there is any; nothing where there is no value."""
    if not isinstance(value, Tensor):
        return (float(value),)
    if value.numel() == 0:
        return ()
    low, high = torch.aminmax(value.detach())
    return float(low), float(high)


def check_range(
    name: str,
    value: Value,
    *,
    low: float = 0.0,
    high: float = math.inf,
    above: bool = False,
    unit: str = "",
    hint: str = "",
) -> None:
    """Raise a `ScanwiseError` naming the worst value outside ``[low, high]``, or ``(low, high]`` where `above`."""
    for worst in _extremes(value):
        if math.isfinite(worst) and (worst > low if above else worst >= low) and worst <= high:
            continue
        space = f" {unit}" if unit else ""
        if math.isfinite(high):
            rule = f"in {'(' if above else '['}{low:g}, {high:g}]{space}"
        else:
            rule = f"finite and {'>' if above else '>='} {low:g}{space}"
        raise ScanwiseError(f"{name} must be {rule}, but got {worst:g}{space}", hint)


def check_not_above(name: str, value: Value, limit_name: str, limit: Value, *, unit: str = "", hint: str = "") -> None:
    """Raise a `ScanwiseError` naming the first pair in which `value` is above `limit`."""
    space = f" {unit}" if unit else ""
    device = value.device if isinstance(value, Tensor) else limit.device if isinstance(limit, Tensor) else None
    left, right = torch.broadcast_tensors(
        torch.as_tensor(value, device=device).detach(), torch.as_tensor(limit, device=device).detach()
    )
    over = left > right * (1 + _ROUNDING)
    if bool(over.any()):
        raise ScanwiseError(
            f"{name} must not be above {limit_name}, but got {name} = {float(left[over][0]):g}{space} with "
            f"{limit_name} = {float(right[over][0]):g}{space}",
            hint,
        )


def check_tissue(*, proton_density: Tensor, t1_s: Tensor, t2_s: Tensor, t2_name: str = "T2") -> None:
    """Raise a `ScanwiseError` for a negative proton density, a T1 or T2 that is not above zero, or T2 > T1."""
    check_range("proton density", proton_density)
    check_range(
        "T1", t1_s, high=LONGEST_T1_S, above=True, unit="s", hint="T1 is in seconds; give empty voxels any T1 and PD 0"
    )
    check_range(
        t2_name, t2_s, above=True, unit="s", hint=f"{t2_name} is in seconds; give empty voxels any {t2_name} and PD 0"
    )
    check_not_above(t2_name, t2_s, "T1", t1_s, unit="s", hint="no tissue loses phase more slowly than it recovers")


def check_timing(*, repetition_time_s: Value, echo_time_s: Value) -> None:
    """Raise a `ScanwiseError` unless ``0 <= TE <= TR`` and ``TR > 0``."""
    check_range("TR", repetition_time_s, above=True, unit="s")
    check_range("TE", echo_time_s, unit="s")
    check_not_above("TE", echo_time_s, "TR", repetition_time_s, unit="s", hint="shorten the echo time or lengthen TR")


def check_flip_angle(flip_angle_rad: Value) -> None:
    """Raise a `ScanwiseError` unless the flip angle is in (0, pi]."""
    check_range(
        "flip angle", flip_angle_rad, high=math.pi, above=True, unit="rad", hint="flip angles are in radians here"
    )


def like(value: Value, tensor: Tensor) -> Tensor:
    """Return a setting as a tensor of the real type and on the device of another."""
    return torch.as_tensor(value, dtype=tensor.dtype, device=tensor.device)
