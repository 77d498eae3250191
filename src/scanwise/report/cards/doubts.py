"""Whether the advice would be another one if a number that made-up patients rest on were another one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from scanwise.design import capitalised
from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs, auc_of, versus

_DRAWN = 12
"""Numbers in the figure, those shown to move most; the table has all."""
_SIDES = ("down", "up")
_NAME = "If a number of the virtual patients is otherwise"
_PROPERTIES: Mapping[str, tuple[str, str, float]] = {
    "proton_density": ("proton density", "", 1.0),
    "t1_s": ("T1", "ms", 1e3),
    "t2_s": ("T2", "ms", 1e3),
    "adc_mm2_per_s": ("ADC", "10\u207b\u00b3 mm\u00b2/s", 1e3),
    "kurtosis": ("kurtosis", "", 1.0),
    "ktrans_per_s": ("K-trans", "per min", 60.0),
    "ve": ("Ve", "", 1.0),
    "vp": ("Vp", "", 1.0),
    "attenuation_per_cm": ("attenuation", "per cm", 1.0),
    "iodine_mg_per_ml": ("iodine", "mg/ml", 1.0),
    "per_patient": ("number", "per patient", 1.0),
}
"""What numbers there are: ``{name: (title, unit, factor)}``."""


def doubts(inputs: Inputs) -> Card:
    """Return how the difference to today changes where one number is moved within what the literature leaves open."""
    what = "difference in AUC to today" if inputs.changes else "AUC of today's protocol"
    how = (
        f"The same patients made again with one number a standard deviation of its doubt lower (open) or higher "
        f"(filled); how far the {what} moves, with its {inputs.level} interval. In the bad case one number alone "
        "takes it below the margin."
    )
    found = inputs.data.get("doubts") or {}
    if not found.get("applicable"):
        reason = str(found.get("reason") or "this run was made before reports showed it; run stage=explain again")
        return not_applicable("doubts", _NAME, how, reason)
    moved = sorted(found["moved"], key=lambda one: (-_order(one)[0], -_order(one)[1], str(one["where"])))
    now = versus(inputs.shown).get("difference") if inputs.changes else auc_of(inputs.shown)
    base = formats.finite((now or {}).get("value")) or 0.0
    rows = []
    for one in moved:
        words = _words(one)
        rows.append(Row({"number": str(words), "range": words.numbers, "down": one["down"], "up": one["up"]}))
    columns = (
        Column("number", "What"),
        Column("range", "Lower, as published, higher"),
        Column("down", f"Lower ({inputs.level})", "signed_interval"),
        Column("up", f"Higher ({inputs.level})", "signed_interval"),
    )
    title, turns = _finding(inputs, moved, base)
    return Card(
        "doubts",
        title,
        how,
        "attention" if turns else "ok",
        Table("Every number that was moved, the one that matters most first", columns, tuple(rows)),
        _figure(inputs, moved[:_DRAWN], base, what),
        f"How far {formats.plural(len(moved), 'number')} of the virtual patients move the {what}. {title}.",
        paragraphs=(
            f"Read by the trained networks in {formats.plural(found['n'], 'patient')}, "
            f"{formats.count(found['n_positive'])} positive, made again; nothing was learned anew. "
            "Another number of findings also moves where findings lie, by chance: its interval is wide.",
        ),
    )


class _Words(NamedTuple):
    """A number in words: what it is of what, and its range with its unit."""

    what: str
    of: str
    numbers: str

    def __str__(self) -> str:
        return f"{self.what} of {self.of}"


def _words(one: Mapping[str, Any]) -> _Words:
    name, *rest = str(one["where"]).split(".")[1:]
    of, last = name.replace("_", " "), rest[-1] if rest else ""
    what, unit, factor = _PROPERTIES.get(last, (last.replace("_", " ") or "mean", "", 1.0))
    numbers = ", ".join(f"{factor * float(one[side]):.3g}" for side in ("low", "value", "high"))
    return _Words(what, of, f"{numbers} {unit}".strip())


def _finding(inputs: Inputs, moved: Sequence[Mapping[str, Any]], base: float) -> tuple[str, bool]:
    """Return what was found, and whether a number alone would turn the advice."""
    side = max(_SIDES, key=lambda side: _shown(moved[0], side))
    what = "it" if inputs.changes else "the AUC of today's protocol"
    most = f"none of {formats.plural(len(moved), 'number')} is shown to move {what}"
    if _shown(moved[0], side) > 0:
        most = (
            f"{_words(moved[0])} moves {what} most, by {formats.signed(_value(moved[0], side))} where it is "
            f"{'lower' if side == 'down' else 'higher'}"
        )
    if not inputs.changes or inputs.margin is None:
        return capitalised(most), False
    below = -inputs.margin - base
    turns = sum(any(_shown(one, side) > 0 and _value(one, side) < below for side in _SIDES) for one in moved)
    head = f"No number alone is shown to take the proposal below the margin, of {len(moved)} that were moved"
    if turns:
        head = f"{formats.plural(turns, 'number')} alone would take the proposal below the margin"
    return f"{head}; {most}", turns > 0


def _value(one: Mapping[str, Any], side: str) -> float:
    return formats.finite(one[side]["value"]) or 0.0


def _shown(one: Mapping[str, Any], side: str) -> float:
    """Return how far a number is shown to move it: the end of the interval nearer to 0, negative where 0 is inside."""
    low, high = (formats.finite(one[side][end]) for end in ("low", "high"))
    return -1.0 if low is None or high is None else max(low, -high)


def _order(one: Mapping[str, Any]) -> tuple[float, float]:
    """Return how far a number is shown to move it, and how far it moved it; chance included."""
    return max(0.0, *(_shown(one, side) for side in _SIDES)), max(abs(_value(one, side)) for side in _SIDES)


def _figure(inputs: Inputs, moved: Sequence[Mapping[str, Any]], base: float, what: str) -> dict[str, Any]:
    places = list(range(len(moved)))[::-1]
    write = formats.signed if inputs.changes else formats.auc
    traces = []
    for side, name, symbol, shift in (("down", "lower", "circle-open", 0.16), ("up", "higher", "circle", -0.16)):
        values = [base + _value(one, side) for one in moved]
        low, high = (
            [None if formats.finite(one[side][end]) is None else base + one[side][end] for one in moved]
            for end in ("low", "high")
        )
        traces.append(
            go.Scatter(
                x=values,
                y=[place + shift for place in places],
                mode="markers",
                name=name,
                marker={"color": figures.COLOURS["blue"], "symbol": symbol, "size": 10, "line": {"width": 2}},
                error_x=figures.error_bars(values, low, high, "blue", thickness=2),
                customdata=[
                    f"{figures.plot_text(_words(one), 60)}, {name}<br>{write(value)}; moved by "
                    f"{formats.with_limits(one[side], formats.signed)}"
                    for one, value in zip(moved, values, strict=True)
                ],
                hovertemplate="%{customdata}<extra></extra>",
                meta=figures.coloured(marker__color="blue", error_x__color="blue"),
            )
        )
    shapes = [figures.vertical(base, "green", dash="solid", width=1.5)]
    notes = [figures.note("as published", "green", x=base, y=1.0, yref="paper", yanchor="bottom", xanchor="left")]
    if inputs.changes and inputs.margin is not None:
        line, words = figures.margin_line(inputs.margin)
        shapes, notes = [*shapes, line], [*notes, words]
    return figures.spec(
        traces,
        height=130 + 50 * len(moved),
        shapes=shapes,
        annotations=notes,
        xaxis={
            "title": {"text": capitalised(what)},
            "showgrid": True,
            "nticks": 5,
            "tickangle": 0,
            "tickformat": "+.3f" if inputs.changes else ".3f",
        },
        yaxis={
            "tickvals": places,
            "ticktext": [
                f"<b>{figures.plot_text(words.what, 20)}</b><br>{figures.plot_text(words.of, 20)}"
                for words in map(_words, moved)
            ],
            "range": [-0.6, len(moved) - 0.4],
            "showgrid": False,
        },
        margin={"t": 56},
    )
