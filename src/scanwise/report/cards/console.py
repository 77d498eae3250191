"""What to enter at the console: the settings and shots of every test, today and in the proposal."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from scanwise.design import Protocol
from scanwise.report import formats
from scanwise.report.card import Card, Column, Row, Table
from scanwise.report.inputs import Inputs

ACQUIRED = "acquired"
"""The setting that every test has."""
_FEW = 6
"""Shots up to which each is named with its own count."""
_UNITS = {
    "_mmol_per_kg": "mmol/kg",
    "_mm2_per_s": "mm\u00b2/s",
    "_s_per_mm2": "s/mm\u00b2",
    "_per_cm": "1/cm",
    "_deg": "degrees",
    "_rad": "rad",
    "_min": "min",
    "_msv": "mSv",
    "_mas": "mAs",
    "_kv": "kV",
    "_hz": "Hz",
    "_ml": "mL",
    "_mm": "mm",
    "_s": "s",
    "_t": "T",
}
"""Unit by the end of a setting's name, the longest first."""
_EXTENTS = ("matrix", "field_of_view", "voxel")
"""Settings that are one number per axis of the image."""
_DIGITS = 4


def console(inputs: Inputs) -> Card:
    """Return which shots are acquired how often, and the settings of the scanner where the run knows them."""
    how = (
        "Every setting of every test that is acquired today or in the proposal; shots are numbered in the order of the "
        "shot table where they have no name. In the bad case your scanner cannot be set to what stands here."
    )
    rows: list[Row] = []
    changed: list[str] = []
    left: list[str] = []
    for name, title in inputs.titles.items():
        taken = {role: _counts(candidate, name) for role, _, candidate in inputs.pair}
        if not any(any(counts) for counts in taken.values()):
            continue
        names = _names(inputs, name, max(len(counts) for counts in taken.values()))
        entries = [(ACQUIRED, {role: shots(counts, names) for role, counts in taken.items()})]
        told = {role: _settings(candidate, name) for role, _, candidate in inputs.pair}
        settings = dict.fromkeys(itertools.chain.from_iterable(told.values()))
        entries += [(key, {role: told[role].get(key, "") for role in told}) for key in settings]
        done = {role for role, counts in taken.items() if any(counts)}
        for setting, values in entries:
            today = values["reference"]
            proposed = values.get("proposal", today)
            role = "same" if today == proposed else "new" if "reference" not in done else "changed"
            role = "out" if "proposal" in values and "proposal" not in done else role
            rows.append(Row({"modality": title, "setting": setting, "today": today, "proposed": proposed}, role))
        if "proposal" in taken and taken["proposal"] != taken["reference"]:
            (changed if any(taken["proposal"]) else left).append(title)
    columns: tuple[Column, ...] = (
        Column("modality", "Test"),
        Column("setting", "Setting"),
        Column("today", "Today"),
        Column("proposed", "Proposed"),
    )
    if not inputs.changes:
        columns = columns[:-1]
    parts = [
        f"To set anew: {', '.join(changed)}" if changed else "",
        f"{'to' if changed else 'To'} leave out: {', '.join(left)}" if left else "",
    ]
    title = "; ".join(part for part in parts if part)
    if not title:
        title = "Nothing to set anew at the console" if inputs.chosen else "Today's settings; nothing is proposed"
    return Card("console", title, how, table=Table("What to enter at the console", columns, tuple(rows)))


def shots(counts: Sequence[int], names: Sequence[str] | None = None) -> str:
    """Return in words which shots are taken how often: ``"16 of 64: k-20, k-18, k-10 to k-1"``."""
    taken = [index for index, count in enumerate(counts) if count]
    if not taken:
        return "not acquired"
    often = sorted({counts[index] for index in taken})
    n = len(counts)
    if len(taken) == n and len(often) == 1 and (n == 1 or n > _FEW):
        return _times(often[0]) if n == 1 else f"all {n}, {_times(often[0])}"
    label = [str(index + 1) for index in range(n)] if names is None else [str(name) for name in names]
    lead = ("" if len(taken) == n else f"{len(taken)} of {n}: ") + ("shots " if names is None else "")
    if len(taken) <= _FEW:
        words = [label[at] if counts[at] == 1 else f"{label[at]} \u00d7{counts[at]}" for at in taken]
        return lead + ", ".join(words)
    groups = []
    for count in often:
        mine = _runs([index for index in taken if counts[index] == count])
        words = [label[first] if first == last else f"{label[first]} to {label[last]}" for first, last in mine]
        groups.append(", ".join(words) + (f" ({_times(count)} each)" if often != [1] else ""))
    return lead + "; ".join(groups)


def _runs(indices: Sequence[int]) -> list[tuple[int, int]]:
    """Return runs of consecutive indices as ``(first, last)``."""
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _counts(candidate: Mapping[str, Any], name: str) -> tuple[int, ...]:
    return tuple(int(count) for count in Protocol.from_key(candidate["key"]).counts(name))


def _names(inputs: Inputs, name: str, n: int) -> list[str] | None:
    """Return the names of the shots of a test, where the recommendation holds all of them."""
    layout = inputs.data.get("layout")
    found = (layout.get(name) or {}).get("shots") if isinstance(layout, Mapping) else None
    if not found:
        entries = [entry for entry in inputs.study.get("missing") or () if entry.get("modality") == name]
        found = [shot.get("shot") for entry in entries for shot in entry.get("shots") or ()]
    return [str(shot) for shot in found] if len(found) == n else None


def _settings(candidate: Mapping[str, Any], name: str) -> dict[str, str]:
    """Return what the modality says of its settings, in words with units."""
    found = candidate.get("console")
    settings = found.get(name) if isinstance(found, Mapping) else None
    if not isinstance(settings, Mapping) or not any(_counts(candidate, name)):
        return {}
    words = {}
    for key, value in settings.items():
        unit = next((end for end in _UNITS if str(key).endswith(end)), "")
        label = str(key).removesuffix(unit).replace("_", " ")
        text = _value(value, between=" \u00d7 " if str(key).startswith(_EXTENTS) else ", ")
        words[label] = f"{text} {_UNITS[unit]}" if unit and text else text
    return words


def _value(value: Any, between: str = ", ") -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        number = formats.finite(value)
        if number is None:
            return ""
        return f"{number:.0f}" if math.isclose(number, round(number)) else f"{number:.{_DIGITS}g}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return between.join(_value(item) for item in value)
    return str(value)
