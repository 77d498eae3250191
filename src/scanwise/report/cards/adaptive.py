"""Patient by patient: what deciding step by step saves, who stops where, and whose diagnosis changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs

_STEPS = 5
"""Steps that are drawn on their own; patients who take more are drawn together."""
_WAYS = 8
_RARE = 0.03
"""Ways of stopping that fewer patients take, and those beyond the first few, are drawn together."""
_PAD = 14
"""Room between two ways of stopping [px]."""
_STEPS_WIDTH = 0.62
"""Share of the width that steps take; the words of what was had stand beside it."""
_TINY = 1e-3
_WORST = 5
"""Sites that are listed."""
_SLOPES = (0.9, 1.1)
"""Calibration slopes that are taken as right."""


def walked(inputs: Inputs) -> Card:
    """Return diagnosis against mean price, decided step by step and fixed for everybody."""
    how = (
        "Each diamond is one price weight: the dearer a unit of price, the earlier patients stop; circles are the same "
        "for everybody. In the bad case diamonds lie below the circles at the same price."
    )
    found = _found(inputs)
    if found is None:
        return _none(inputs, "walked", "Decided step by step", how)
    axis = str(found["axis"])
    weights, fixed = found["weights"], found["fixed"]
    chosen = weights[found["chosen"]]
    target = next((row for row in fixed if row["key"] == found["target"]), None)
    usual = inputs.cost_of(inputs.shown, axis) if target is None else target["cost"][axis]
    mean = chosen["cost"][axis]["mean"]
    title = (
        f"Decided step by step, the diagnosis costs {inputs.price(mean, axis)} on average, AUC "
        f"{formats.with_limits(chosen['auc'])}; fixed for everybody it costs {inputs.price(usual, axis)}"
    )
    behind = chosen["difference"] is not None and (formats.finite(chosen["difference"]["high"]) or 0.0) < 0
    columns = (
        Column("mean", f"Mean {formats.AXIS_TITLES.get(axis, axis).lower()}", f"axis:{axis}"),
        Column("median", "median", f"axis:{axis}"),
        Column("p95", "95 of 100 below", f"axis:{axis}"),
        Column("auc", f"AUC ({inputs.level})", "auc_interval"),
        Column("correct", "Right diagnoses", "percent"),
        Column("ahead", "Against the fixed protocol of that price", "signed_interval"),
        Column("difference", "Against the proposal", "signed_interval"),
    )
    rows = [
        Row(
            {
                **chosen_cost(row, axis),
                "auc": row["auc"],
                "correct": row["correct"],
                "ahead": row["ahead_of_fixed"],
                "difference": row["difference"],
            },
            "proposal" if index == found["chosen"] else "",
        )
        for index, row in enumerate(weights)
    ]
    return Card(
        "walked",
        title,
        how,
        "attention" if behind else "ok",
        Table("Every price weight, patients stop ever earlier", columns, tuple(rows)),
        _figure(inputs, found),
        f"AUC against mean price of {formats.plural(len(weights), 'price weight')} and "
        f"{formats.plural(len(fixed), 'fixed protocol')}. {title}.",
    )


def stops(inputs: Inputs) -> Card:
    """Return where patients stop."""
    how = (
        "What was acquired in the end, most frequent first, with the probabilities that 8 of 10 of these patients then "
        "have. In the bad case many stop at a probability that decides nothing."
    )
    found = _found(inputs)
    if found is None:
        return _none(inputs, "stops", "Who stops where", how)
    axis = str(found["axis"])
    rows = [
        Row(
            {
                "reading": row["reading"],
                "share": row["share"],
                "price": (row.get("cost") or {}).get(axis),
                "positive": row.get("positive"),
                "range": f"{formats.percent(row['low'])} to {formats.percent(row['high'])}" if "low" in row else "",
            }
        )
        for row in found["stops"]
    ]
    given = {name: share for name, share in found["given"]["modalities"].items() if name in inputs.titles}
    columns = (
        Column("reading", "Acquired"),
        Column("share", "Patients", "percent"),
        Column("price", formats.AXIS_TITLES.get(axis, axis), f"axis:{axis}"),
        Column("positive", "With the disease", "percent"),
        Column("range", "Probability then"),
    )
    items = tuple(f"{inputs.titles[name]}: {formats.percent(share)} of patients" for name, share in given.items())
    contrast = found["given"]["contrast"]
    first = found["stops"][0]
    title = f"{formats.percent(first['share'])} of patients stop after {first['reading']}"
    if contrast > 0:
        title += f"; {formats.percent(contrast)} get a contrast agent"
    return Card(
        "stops",
        title,
        how,
        table=Table("Where patients stop", columns, tuple(rows)),
        figure=_flow(found["flow"]) if found.get("flow") else None,
        alt=f"Flow of patients through the steps of the examination. {title}.",
        lists=(("Who gets what", items),),
    )


def changed(inputs: Inputs) -> Card:
    """Return whose diagnosis changes against today's protocol, and whether probabilities hold at every depth."""
    how = (
        "Diagnoses that change against today's protocol, at each probability from which one would act. In the bad case "
        "more patients with the disease are missed than found, or slopes are far from 1."
    )
    found = _found(inputs)
    if found is None:
        return _none(inputs, "changed", "Whose diagnosis changes", how)
    flips, depth = found["flips"], found["calibration"]
    columns = (
        Column("what", ""),
        Column("found", "Positive, now found", "count"),
        Column("missed", "Positive, now missed", "count"),
        Column("alarmed", "Negative, now alarmed", "count"),
        Column("spared", "Negative, now spared", "count"),
    )
    rows = [Row({"what": f"acting from {formats.percent(row['threshold'])}", **row}) for row in flips]
    slopes = tuple(
        f"after {formats.plural(int(row['steps']), 'step')}: {formats.plural(round(row['n']), 'patient')}, "
        "calibration slope "
        f"{formats.with_limits(row['slope'], formats.number) if _is_judged(row) else 'not judged, too few patients'}"
        for row in depth
    )
    sites = tuple(
        f"{row['site']}: {formats.with_limits(row['difference'], formats.signed)} against the proposal"
        for row in found["sites"][:_WORST]
    )
    off = [
        row
        for row in depth
        if _is_judged(row) and (row["slope"]["low"] > _SLOPES[1] or row["slope"]["high"] < _SLOPES[0])
    ]
    lost = sum(row["missed"] - row["found"] for row in flips) / max(len(flips), 1)
    title = (
        f"{lost:.0f} more positive patients are missed than found"
        if lost >= 0.5
        else "No more positive patients are missed than found"
    )
    if off:
        title += f"; probabilities do not hold after {formats.plural(int(off[0]['steps']), 'step')}"
    return Card(
        "changed",
        title,
        how,
        "attention" if off else "ok",
        Table("Diagnoses that change, mean over rounds of judging", columns, tuple(rows)),
        lists=(("Do probabilities hold at every depth?", slopes), ("Worst site first", sites)),
    )


def _is_judged(row: Mapping[str, Any]) -> bool:
    """Whether a calibration slope has limits: few patients whom a probability separates have none."""
    slope = row.get("slope") or {}
    return all(formats.finite(slope.get(end)) is not None for end in ("low", "high"))


def chosen_cost(row: Mapping[str, Any], axis: str) -> dict[str, Any]:
    """Return mean, median and 95th percentile of what patients cost."""
    return {name: row["cost"][axis][name] for name in ("mean", "median", "p95")}


def _found(inputs: Inputs) -> Mapping[str, Any] | None:
    found = inputs.data.get("adaptive")
    return found if isinstance(found, Mapping) and found.get("applicable") else None


def _none(inputs: Inputs, card: str, title: str, how: str) -> Card:
    told = inputs.data.get("adaptive") or {}
    return not_applicable(card, title, how, str(told.get("reason") or "this run was made before there were policies"))


def _figure(inputs: Inputs, found: Mapping[str, Any]) -> dict[str, Any]:
    axis, chosen = str(found["axis"]), found["chosen"]

    def trace(name: str, rows: list[tuple[float, Mapping[str, Any], str]], token: str, **style: Any) -> go.Scatter:
        values = [row["value"] for _, row, _ in rows]
        lows, highs = ([row.get(side) for _, row, _ in rows] for side in ("low", "high"))
        return go.Scatter(
            x=[price for price, _, _ in rows],
            y=values,
            name=name,
            customdata=[text for _, _, text in rows],
            hovertemplate="%{customdata}<extra></extra>",
            error_y=figures.error_bars(values, lows, highs, token, thickness=1),
            line={"color": figures.COLOURS[token], "width": 1.5, "dash": style.get("dash", "solid")},
            marker={
                "color": figures.COLOURS[token],
                "symbol": style["symbol"],
                "size": style["size"],
            },
            mode=style.get("mode", "lines+markers"),
            meta=figures.coloured(marker__color=token, line__color=token, error_y__color=token),
        )

    walks = [
        (
            row["cost"][axis]["mean"],
            row["auc"],
            f"step by step, {inputs.price(row['cost'][axis]['mean'], axis)} on average<br>"
            f"AUC {formats.with_limits(row['auc'])}",
        )
        for row in found["weights"]
    ]
    fixed = [
        (
            row["cost"][axis],
            row["auc"],
            f"{figures.plot_text(row['reading'], 60)}<br>{inputs.price(row['cost'][axis], axis)}, AUC "
            f"{formats.with_limits(row['auc'])}",
        )
        for row in found["fixed"]
    ]
    traces = [
        trace("fixed for everybody", fixed, "blue", symbol="circle", size=8, dash="dot"),
        trace("step by step", walks, "green", symbol="diamond", size=8),
        trace("chosen on searching patients", [walks[chosen]], "green", symbol="diamond", size=15, mode="markers"),
    ]
    words = formats.AXIS_TITLES.get(axis, axis)
    return figures.spec(
        traces,
        height=420,
        xaxis={
            "title": {"text": f"{words.removesuffix(' per patient')} per patient, mean"},
            "rangemode": "tozero",
            **figures.tick_units(axis, inputs.currency),
        },
        yaxis={"title": {"text": "AUC"}, "tickformat": ".2f"},
        legend={"orientation": "h", "y": 1.12, "x": 0},
        margin={"t": 48},
    )


def _flow(steps: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Return who goes on and who stops after every step, as a flow; shares of all patients."""
    steps = _merged(steps)
    names = [f"{row['steps']}{' and more' if at == _STEPS else ''}" for at, row in enumerate(steps)]
    total: dict[str, float] = {}
    for row in steps:
        for had, share in row["stop"].items():
            total[had] = total.get(had, 0.0) + share
    often = sorted((had for had in total if total[had] >= _RARE), key=lambda had: (-total[had], had))[:_WAYS]
    rest = len(total) - len(often)
    other = f"{rest} other ways"
    total[other] = sum(share for had, share in total.items() if had not in often)
    depth = {
        had: sum(row["stop"].get(had, 0.0) * at for at, row in enumerate(steps)) / max(total[had], _TINY)
        for had in often
    }
    ways = sorted(often, key=lambda had: (-depth[had], had))  # who stops late is drawn above who stops early
    ways += [other] if rest else []
    labels = [*names, *(f"{figures.plot_text(way, 60)}, {formats.percent(total[way])}" for way in ways)]
    links = []
    for at, row in enumerate(steps):
        if row["go_on"] > 0 and at + 1 < len(steps):
            links.append((at, at + 1, row["go_on"]))
        ends: dict[str, float] = {}
        for had, share in row["stop"].items():
            had = had if had in often else other
            ends[had] = ends.get(had, 0.0) + share
        links += [(at, len(names) + ways.index(had), share) for had, share in ends.items()]
    top, bottom = 32, 12
    height = 140 + 34 * len(ways)
    inner = height - top - bottom
    scale = 1.0 - (len(ways) - 1) * _PAD / inner
    reached = [sum(row["stop"].values()) + row["go_on"] for row in steps]
    below = [sum(total[way] for way in ways[:at]) for at in range(len(ways))]
    x = [_STEPS_WIDTH * at / max(len(steps) - 1, 1) for at in range(len(steps))] + [1.0] * len(ways)
    y = [share / 2 * scale for share in reached]
    y += [
        (before + total[way] / 2) * scale + at * _PAD / inner
        for at, (way, before) in enumerate(zip(ways, below, strict=True))
    ]
    flow = go.Sankey(
        arrangement="snap",
        node={
            "label": labels,
            "x": [min(max(value, _TINY), 1 - _TINY) for value in x],  # 0 and 1 count as not set
            "y": [min(max(value, _TINY), 1 - _TINY) for value in y],
            "color": figures.COLOURS["blue"],
            "pad": _PAD,
            "thickness": 14,
            "line": {"width": 0},
            "hovertemplate": "%{label}: %{value:.0%}<extra></extra>",
        },
        link={
            "source": [source for source, _, _ in links],
            "target": [target for _, target, _ in links],
            "value": [share for _, _, share in links],
            "color": figures.COLOURS["line"],
            "hovertemplate": "%{source.label} to %{target.label}: %{value:.0%}<extra></extra>",
        },
        textfont={"color": figures.COLOURS["ink"], "size": 12},
        meta=figures.coloured(node__color="blue", link__color="line", textfont__color="ink"),
    )
    above: dict[str, Any] = {"y": 1.0, "xref": "paper", "yref": "paper", "yanchor": "bottom"}
    heading = figures.note("steps taken", "soft", x=0, xanchor="left", **above)
    last = figures.note("stop, having had", "soft", x=1, xanchor="right", **above)
    margin = {"l": 8, "r": 8, "t": top, "b": bottom}
    return figures.spec([flow], height=height, margin=margin, annotations=[heading, last])


def _merged(steps: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the steps, those far down taken together."""
    shown = list(steps[:_STEPS])
    rest = steps[_STEPS:]
    if rest:
        stop: dict[str, float] = {}
        for row in rest:
            for had, share in row["stop"].items():
                stop[had] = stop.get(had, 0.0) + share
        shown.append({"steps": rest[0]["steps"], "stop": stop, "go_on": 0.0})
    return shown
