"""Diagnosis against price: every judged protocol, its interval, the budget sliders and what a click shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.cards.explore import explore
from scanwise.report.inputs import Inputs, auc_of, versus

TRACES = ("above", "within", "alike", "reference", "proposal")
"""Roles of protocols, drawn in this order; the page gives a protocol other roles by its key, never by its position."""


class Point(NamedTuple):
    """One judged protocol in the figure."""

    key: str
    x: float
    auc: float
    low: float
    high: float
    feasible: bool
    alike: bool
    hover: str


def compute(inputs: Inputs) -> Card:
    """Return the front card."""
    axis = inputs.primary
    unit = formats.AXIS_TITLES.get(axis, axis)
    how = (
        f"Each point is a protocol judged on unseen patients, with its {inputs.level} interval; up and left is better, "
        "those on the pale band cannot be told apart from the proposal. "
        "In the bad case the proposal lies clearly below the square, which is today."
    )
    points = _info(inputs)
    if not points:
        return not_applicable("front", f"AUC against {unit.lower()}", how, "no protocol has both a price and an AUC")
    keys = {"reference": inputs.reference["key"], "proposal": inputs.chosen["key"] if inputs.chosen else None}
    rows = []
    for candidate in sorted(inputs.candidates, key=lambda c: (inputs.cost_of(c, axis) or 0.0, c["key"])):
        cells = {
            "reading": candidate["reading"],
            **{name: inputs.cost_of(candidate, name) for name in inputs.axes},
            "auc": auc_of(candidate) or None,
            "difference": versus(candidate).get("difference"),
            "verdict": inputs.verdict(candidate),
            "feasible": bool(candidate.get("feasible", True)),
            "alike": bool(candidate.get("indistinguishable_from_recommended")),
        }
        rows.append(Row(cells, inputs.role(candidate["key"])))
    columns = (
        Column("reading", "Protocol"),
        *(Column(name, formats.AXIS_TITLES.get(name, name), f"axis:{name}") for name in inputs.axes),
        Column("auc", f"AUC ({inputs.level})", "auc_interval"),
        Column("difference", "Against today", "signed_interval"),
        Column("verdict", "Verdict", "verdict"),
        Column("feasible", "Within the budget", "flag"),
        Column("alike", "Cannot be told apart from the proposal", "flag"),
    )
    return Card(
        "front",
        _title(inputs, points),
        how,
        table=Table("Judged protocols, cheapest first", columns, tuple(rows)),
        figure=_figure(inputs, points, keys),
        alt=_alt(inputs, points),
        data=explore(inputs),
    )


def arrange(points: Sequence[Point], *, proposal: str | None, reference: str) -> dict[str, list[str]]:
    """Return the protocol keys of every role; the page does the same for every position of the sliders."""
    roles: dict[str, list[str]] = {role: [] for role in TRACES}
    for point in points:
        if point.key == reference:
            roles["reference"].append(point.key)
        if point.key == proposal and point.key != reference:
            roles["proposal"].append(point.key)
        if point.key not in (reference, proposal):
            roles["within" if point.feasible else "above"].append(point.key)
        if point.alike and point.feasible:
            roles["alike"].append(point.key)
    return roles


def _info(inputs: Inputs) -> list[Point]:
    points = []
    for candidate in inputs.candidates:
        x, found = inputs.cost_of(candidate, inputs.primary), auc_of(candidate)
        value = formats.finite(found.get("value"))
        if x is None or value is None:
            continue
        low, high = formats.finite(found.get("low")), formats.finite(found.get("high"))
        verdict = " ".join(formats.VERDICTS.get(inputs.verdict(candidate), ("", "")))
        lines = (
            figures.plot_text(candidate["reading"], 60),
            figures.plot_text(inputs.price(x)),
            f"AUC {formats.with_limits(found)}",
            verdict,
        )
        points.append(
            Point(
                key=candidate["key"],
                x=x,
                auc=value,
                low=value if low is None else low,
                high=value if high is None else high,
                feasible=bool(candidate.get("feasible", True)),
                alike=bool(candidate.get("indistinguishable_from_recommended")),
                hover="<br>".join(lines),
            )
        )
    return sorted(points, key=lambda point: (point.x, point.key))


def _figure(inputs: Inputs, points: Sequence[Point], keys: dict[str, Any]) -> dict[str, Any]:
    roles = arrange(points, proposal=keys["proposal"], reference=keys["reference"])
    by_key = {point.key: point for point in points}
    style: dict[str, dict[str, Any]] = {
        "above": {
            "name": "above budget",
            "symbol": "x-thin",
            "colour": "faint",
            "size": 7,
            "line": "faint",
            "bars": "faint",
        },
        "within": {"name": "judged", "symbol": "circle", "colour": "blue", "size": 8, "line": "card", "bars": "sky"},
        "alike": {
            "name": "cannot be told apart",
            "symbol": "circle-open",
            "colour": "sky",
            "size": 15,
            "line": "sky",
        },
        "reference": {
            "name": "today",
            "symbol": "square-open",
            "colour": "ink",
            "size": 14,
            "line": "ink",
            "bars": "ink",
        },
        "proposal": {
            "name": "proposal",
            "symbol": "diamond",
            "colour": "green",
            "size": 15,
            "line": "card",
            "bars": "green",
        },
    }
    traces = []
    for role in TRACES:
        look, mine = style[role], [by_key[key] for key in roles[role]]
        bars = "bars" in look
        colours = {"marker__color": look["colour"], "marker__line__color": look["line"]}
        traces.append(
            go.Scatter(
                x=[point.x for point in mine],
                y=[point.auc for point in mine],
                customdata=[[point.key, point.hover] for point in mine],
                hovertemplate="%{customdata[1]}<extra></extra>",
                hoverinfo="skip" if role == "alike" else None,
                mode="markers",
                name=look["name"],
                marker={
                    "symbol": look["symbol"],
                    "size": look["size"],
                    "color": figures.COLOURS[look["colour"]],
                    "line": {
                        "width": 2 if role not in ("within", "proposal") else 1,
                        "color": figures.COLOURS[look["line"]],
                    },
                },
                error_y=figures.error_bars(
                    [point.auc for point in mine],
                    [point.low for point in mine],
                    [point.high for point in mine],
                    look["bars"],
                    thickness=1.5 if role in ("reference", "proposal") else 1,
                )
                if bars
                else None,
                opacity=0.55 if role == "above" else 1.0,
                meta={
                    "role": role,
                    **figures.coloured(**colours, **({"error_y__color": look["bars"]} if bars else {})),
                },
            )
        )
    band = [by_key[key] for key in (*roles["alike"], *roles["proposal"])] if roles["alike"] else []
    band.sort(key=lambda point: (point.x, point.key))
    traces.insert(
        0,
        go.Scatter(
            x=[point.x for point in band],
            y=[point.auc for point in band],
            mode="lines",
            hoverinfo="skip",
            showlegend=False,
            opacity=0.3,
            line={"color": figures.COLOURS["sky"], "width": 14, "shape": "linear"},
            meta={"role": "band", **figures.coloured(line__color="sky")},
        ),
    )
    stairs = [points[0]]
    for point in points:
        if point.auc > stairs[-1].auc:
            stairs.append(point)
    traces.insert(
        0,
        go.Scatter(
            x=[point.x for point in stairs] + [points[-1].x],
            y=[point.auc for point in stairs] + [stairs[-1].auc],
            mode="lines",
            name="best up to here",
            hoverinfo="skip",
            line={"color": figures.COLOURS["blue"], "width": 1.5, "shape": "hv"},
            meta={"role": "stairs", **figures.coloured(line__color="blue")},
        ),
    )
    unit = formats.AXIS_TITLES.get(inputs.primary, inputs.primary)
    top = max(point.x for point in points)
    low, high = min(point.low for point in points), max(point.high for point in points)
    pad = 0.04 * max(high - low, 0.05)
    return figures.spec(
        traces,
        height=420,
        xaxis={
            "title": {"text": unit},
            "range": [-0.04 * (top or 1.0), 1.05 * (top or 1.0)],
            **figures.tick_units(inputs.primary, inputs.currency),
            "nticks": 6,
        },
        yaxis={"title": {"text": "AUC"}, "range": [low - pad, high + pad], "tickformat": ".2f"},
        margin={"t": 24},
    )


def _title(inputs: Inputs, points: Sequence[Point]) -> str:
    shown = next((point for point in points if point.key == inputs.shown["key"]), None)
    if shown is None:
        return f"{formats.plural(len(points), 'protocol')} judged"
    dearer = [point.auc for point in points if point.x > shown.x]
    cheaper = [point for point in points if point.x < shown.x]
    price = inputs.price(shown.x)
    if dearer:
        gain = max(dearer) - shown.auc
        if gain < 0.0005:
            return f"Beyond {price} no judged protocol has a higher AUC"
        return f"Beyond {price}, paying more buys at most {formats.auc(gain)} AUC"
    if cheaper:
        best = max(cheaper, key=lambda point: point.auc)
        if best.auc - shown.auc > -0.0005:
            return f"A judged protocol at {inputs.price(best.x)} has the same AUC or a higher one"
        return f"Below {price} the best judged protocol loses {formats.auc(shown.auc - best.auc)} AUC"
    return f"One price, {price}: {formats.plural(len(points), 'protocol')} judged"


def _alt(inputs: Inputs, points: Sequence[Point]) -> str:
    unit = formats.AXIS_TITLES.get(inputs.primary, inputs.primary).lower()
    prices, values = [point.x for point in points], [point.auc for point in points]
    feasible = sum(point.feasible for point in points)
    shown = {
        role: f"{inputs.price(inputs.cost_of(c, inputs.primary))}, AUC {formats.auc(auc_of(c).get('value'))}"
        for role, _, c in inputs.pair
    }
    proposal = f"; proposal {shown['proposal']}" if "proposal" in shown else ""
    return (
        f"Scatter of AUC ({formats.auc(min(values))} to {formats.auc(max(values))}) against {unit} "
        f"({inputs.price(min(prices))} to {inputs.price(max(prices))}); {feasible} of "
        f"{formats.plural(len(points), 'protocol')} within the budget{proposal}; today {shown['reference']}."
    )
