"""How numbers are written, once for page, Markdown and methods text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

MINUS = "\u2212"
MISSING = "\u2013"
"""What stands where a number could not be computed."""

AXIS_TITLES = {
    "minutes": "Time on the table",
    "money": "Price per patient",
    "msv": "Radiation dose",
    "contrast_ml": "Contrast agent",
    "visits": "Visits",
}
AXIS_SHORT = {"minutes": "Time", "money": "Price", "msv": "Dose", "contrast_ml": "Contrast", "visits": "Visits"}
_AXIS_UNITS = {"minutes": "min", "msv": "mSv", "contrast_ml": "mL"}
VERDICTS = {
    "better": ("▲", "better than today"),
    "non-inferior": ("✓", "non-inferior"),
    "inferior": ("✕", "inferior"),
    "undecided": ("?", "undecided"),
    "reference": ("■", "today's protocol"),
}
"""Symbol and words of every verdict; colour alone never carries it."""


def finite(value: Any) -> float | None:
    """Return a finite float, or None for everything that is not a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def auc(value: Any, digits: int = 3) -> str:
    """Write a share without its leading zero: ``.908``."""
    number = finite(value)
    if number is None:
        return MISSING
    text = f"{abs(number):.{digits}f}"
    text = text[1:] if text.startswith("0.") else text
    return (MINUS if number < 0 and float(f"{number:.{digits}f}") != 0 else "") + text


def margin(value: Any) -> str:
    """Write a margin with as many digits as it needs, at least two: ``.03``, ``.025``."""
    text = auc(value)
    return text[:-1] if text.endswith("0") else text


def signed(value: Any, digits: int = 3) -> str:
    """Write a difference with its sign: ``+.005``."""
    number = finite(value)
    if number is None:
        return MISSING
    return ("+" if float(f"{number:.{digits}f}") > 0 else "") + auc(number, digits)


def number(value: Any) -> str:
    """Write a plain number with two digits behind the point."""
    value = finite(value)
    return MISSING if value is None else f"{value:.2f}".replace("-", MINUS)


def percent(value: Any) -> str:
    """Write a share as a percentage: ``46 %``."""
    value = finite(value)
    return MISSING if value is None else f"{100 * value:.0f} %".replace("-", MINUS)


def p_value(value: Any) -> str:
    """Write a p value; below .001 only that."""
    value = finite(value)
    if value is None:
        return MISSING
    return "< .001" if value < 0.001 else auc(value)


def limits(interval: Mapping[str, Any] | None, write: Any = auc) -> str:
    """Write the limits of an interval: ``.874 to .935``, or that there is none."""
    interval = interval or {}
    if finite(interval.get("low")) is None or finite(interval.get("high")) is None:
        return "no interval"
    return f"{write(interval['low'])} to {write(interval['high'])}"


def with_limits(interval: Mapping[str, Any] | None, write: Any = auc) -> str:
    """Write an estimate and its limits: ``.908 (.874 to .935)``."""
    if finite((interval or {}).get("value")) is None:
        return MISSING
    return f"{write((interval or {})['value'])} ({limits(interval, write)})"


def prefix(axis: str, currency: str) -> str:
    """Return what stands before an amount: a lone sign touches it (``$222.00``), a word does not (``CA$ 194.20``)."""
    if axis != "money" or not currency:
        return ""
    return currency if len(currency) == 1 else f"{currency} "


def cost(axis: str, value: Any, currency: str = "") -> str:
    """Write a cost with its unit: ``CA$ 194.20``, ``13 min``, ``2 visits``."""
    amount = finite(value)
    if amount is None:
        return MISSING
    sign = MINUS if amount < 0 else ""
    amount = abs(amount)
    if axis == "money":
        return f"{sign}{prefix(axis, currency)}{amount:,.2f}"
    text = sign + (f"{amount:,.1f}".removesuffix(".0"))
    if axis == "visits":
        return f"{text} visit" if amount == 1 else f"{text} visits"
    return f"{text} {_AXIS_UNITS.get(axis, axis)}"


def count(value: Any) -> str:
    """Write a whole number with thin groups: ``3 000``."""
    value = finite(value)
    return MISSING if value is None else f"{value:,.0f}".replace(",", "\u202f")


def cell(value: Any, form: str, currency: str = "") -> str:
    """Write one table cell; `form` is the format of its column. Never raises: unknown things are written as text."""
    if value is None or value == "":
        return MISSING if form != "text" else ""
    if form.startswith("axis:"):
        return cost(form.removeprefix("axis:"), value, currency)
    writers = {"auc": auc, "signed": signed, "number": number, "percent": percent, "p": p_value, "count": count}
    if form in writers:
        return writers[form](value) if finite(value) is not None else MISSING
    if form.endswith("_interval"):
        return with_limits(value, writers[form.removesuffix("_interval")]) if isinstance(value, Mapping) else MISSING
    if form == "verdict":
        symbol, words = VERDICTS.get(str(value), ("", str(value)))
        return f"{symbol} {words}".strip()
    if form == "flag":
        return "yes" if value else "no"
    return str(value)


def plural(n: int, one: str, many: str = "") -> str:
    """Write a count with its noun: ``1 patient``, ``303 patients``."""
    return f"{count(n)} {one if n == 1 else many or one + 's'}"
