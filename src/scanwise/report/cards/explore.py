"""What the page needs to answer sliders, clicks and comparisons under the front, every word of it written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from scanwise.report import formats
from scanwise.report.cards.proposal import rungs_of
from scanwise.report.inputs import Inputs, assessment, auc_of, versus

_JUDGED = {
    "reference": "today's protocol",
    "inferior": "worse than today by more than the margin",
    "undecided": "not shown to keep today's diagnosis",
    "non-inferior": "non-inferior to today's protocol",
    "better": "better than today's protocol",
}


def explore(inputs: Inputs) -> dict[str, Any]:
    """Return sliders, protocols and the rule as plain data.

    Returns
    -------
    data : ``sliders``: one per priced axis on which the judged protocols differ, with its stops; ``points``: the judged
        protocols, cheapest first, each with its costs and its card (`facts`: for every entry of ``labels`` a place in
        ``words``); ``rule``: what the page applies to any position of the sliders, None where the recommendation does
        not hold it (then only the ladder is known, see `applicable`).
    """
    limits = {axis: formats.finite(limit) for axis, limit in _asked(inputs).items()}
    candidates = sorted(inputs.candidates, key=lambda c: (inputs.cost_of(c, inputs.primary) or 0.0, c["key"]))
    rule = applicable(inputs, [candidate["key"] for candidate in candidates])
    sliders = [slider for axis in inputs.axes if (slider := _slider(inputs, axis, limits.get(axis), rule is not None))]
    moved = {slider["axis"] for slider in sliders}
    parts = {candidate["key"]: inputs.parts(candidate) for candidate in candidates}
    acquired = {name for part in parts.values() for name in part}
    names = [name for name in inputs.titles if name in acquired]
    points = [_point(inputs, candidate, parts[candidate["key"]], names) for candidate in candidates]
    words = {word: place for place, word in enumerate(dict.fromkeys(w for point in points for w in point["facts"]))}
    for point in points:
        point["facts"] = [words[word] for word in point["facts"]]
    return {
        "axes": list(inputs.axes),
        "primary": inputs.primary,
        "reference": inputs.reference["key"],
        "proposal": inputs.chosen["key"] if inputs.chosen else None,
        "vetoed": inputs.vetoed,
        "headline": str(inputs.decision.get("headline") or ""),
        "nothing": "nothing that was judged fits.",
        "unknown": "what the rule picks within these limits is not in this file; ask the recommend stage: "
        "scanwise stage=recommend from_run=FOLDER",
        "vetoed_words": "A guard forbids this change: keep today's protocol.",
        "ladder": rungs_of(inputs),
        "rule": rule,
        "sliders": sliders,
        "limits": {axis: limit for axis, limit in limits.items() if limit is not None and axis not in moved},
        "labels": [*(inputs.titles[name] for name in names), *_labels(inputs)],
        "n_parts": len(names),
        "auc": len(names) + len(inputs.axes),
        "judged": {inputs.verdict(c): _JUDGED.get(inputs.verdict(c), inputs.verdict(c)) for c in candidates},
        "words": list(words),
        "points": points,
    }


def applicable(inputs: Inputs, keys: Sequence[str]) -> dict[str, Any] | None:
    """Return the grounds of the rule in whole numbers that survive rounding; None where they are not there.

    ``{in_sequence, protocols}``; protocols are in the order of `keys`, each ``[place by price, place by AUC, row,
    non-inferior, confirmed, alike]``, see `scanwise.recommend.grounds`; those of the same AUC share a place.
    """
    given = inputs.data.get("choice")
    if not isinstance(given, Mapping) or set(given.get("keys") or ()) != set(keys):
        return None
    confirmed = given["confirmed"]
    levels = {value: place for place, value in enumerate(sorted(set(given["auc"]), reverse=True))}
    rows = {key: row for row, key in enumerate(given["keys"])}
    protocols = [
        [
            given["dearness"][row],
            levels[given["auc"][row]],
            row,
            int(given["non_inferior"][row]),
            int(bool(confirmed and confirmed[row])),
            given["alike"][row],
        ]
        for row in (rows[key] for key in keys)
    ]
    return {"in_sequence": confirmed is not None, "protocols": protocols}


def _asked(inputs: Inputs) -> dict[str, Any]:
    limits = (inputs.data.get("budget") or {}).get("limits") or {}
    return {axis: limits[axis] for axis in inputs.axes if axis in limits}


def _slider(inputs: Inputs, axis: str, asked: float | None, free: bool) -> dict[str, Any] | None:
    """Return the stops of one axis, or None where there is nothing to choose."""
    stops = {inputs.cost_of(candidate, axis) for candidate in inputs.candidates} - {None}
    if axis == inputs.primary:
        stops |= {formats.finite(rung["limit"]) for rung in inputs.data.get("ladder") or ()} - {None}
    elif asked is not None and not free:  # the ladder holds within this limit, so it can only be lowered
        stops = {stop for stop in stops if stop is not None and stop <= asked}
    if len(stops) < 2:
        return None
    values = sorted({float(stop) for stop in stops if stop is not None} | ({asked} if asked is not None else set()))
    return {
        "axis": axis,
        "label": "Budget" if axis == "money" else formats.AXIS_SHORT.get(axis, axis),
        "stops": values,
        "texts": [inputs.price(value, axis) for value in values],
        "of": {"contrast_ml": " of contrast"}.get(axis, ""),
        "start": values.index(asked) if asked is not None else len(values) - 1,
    }


def _labels(inputs: Inputs) -> list[str]:
    specificity = (inputs.data.get("rule") or {}).get("specificity")
    return [
        *(formats.AXIS_TITLES.get(axis, axis) for axis in inputs.axes),
        f"AUC ({inputs.level})",
        "Against today",
        f"Sensitivity at {formats.percent(specificity)} specificity",
        "Verdict",
    ]


def _point(
    inputs: Inputs, candidate: Mapping[str, Any], parts: Mapping[str, str], names: Sequence[str]
) -> dict[str, Any]:
    today = candidate["key"] == inputs.reference["key"]
    verdict = inputs.verdict(candidate)
    sensitivity = assessment(candidate).get("sensitivity") or {}
    facts = [
        *(_without_title(parts[name], inputs.titles[name]) if name in parts else "not done" for name in names),
        *(inputs.price(inputs.cost_of(candidate, axis), axis) for axis in inputs.axes),
        formats.with_limits(auc_of(candidate)),
        formats.MISSING if today else formats.with_limits(versus(candidate).get("difference"), formats.signed),
        formats.with_limits(sensitivity.get("value")),
        formats.cell(verdict, "verdict"),
    ]
    return {
        "key": candidate["key"],
        "label": str(candidate["reading"]),
        "cost": [inputs.cost_of(candidate, axis) for axis in inputs.axes],
        "alike": bool(candidate.get("indistinguishable_from_recommended")),
        "verdict": verdict,
        "facts": facts,
    }


def _without_title(part: str, title: str) -> str:
    rest = part.removeprefix(title).strip(" ,")
    if rest.startswith("(") and rest.endswith(")"):
        rest = rest[1:-1]
    return "done" if part == title else rest or part
