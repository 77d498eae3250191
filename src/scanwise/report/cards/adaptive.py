"""Patient by patient: what deciding step by step saves, who stops where, and whose diagnosis changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs

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
        Column("found", "Positive, now found", "number"),
        Column("missed", "Positive, now missed", "number"),
        Column("alarmed", "Negative, now alarmed", "number"),
        Column("spared", "Negative, now spared", "number"),
    )
    rows = [Row({"what": f"acting from {formats.percent(row['threshold'])}", **row}) for row in flips]
    slopes = tuple(
        f"after {formats.plural(int(row['steps']), 'step')}: {row['n']:.0f} patients, calibration slope "
        f"{formats.with_limits(row.get('slope'), formats.number) if 'slope' in row else 'not judged, too few patients'}"
        for row in depth
    )
    sites = tuple(
        f"{row['site']}: {formats.with_limits(row['difference'], formats.signed)} against the proposal"
        for row in found["sites"]
    )
    off = [
        row
        for row in depth
        if "slope" in row and ((row["slope"]["low"] or 0.0) > _SLOPES[1] or (row["slope"]["high"] or 0.0) < _SLOPES[0])
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
        lows = [row["low"] if formats.finite(row.get("low")) is not None else row["value"] for _, row, _ in rows]
        highs = [row["high"] if formats.finite(row.get("high")) is not None else row["value"] for _, row, _ in rows]
        return go.Scatter(
            x=[price for price, _, _ in rows],
            y=values,
            name=name,
            customdata=[text for _, _, text in rows],
            hovertemplate="%{customdata}<extra></extra>",
            error_y={
                "type": "data",
                "symmetric": False,
                "array": [high - value for high, value in zip(highs, values, strict=True)],
                "arrayminus": [value - low for low, value in zip(lows, values, strict=True)],
                "color": figures.COLOURS[token],
                "thickness": 1,
                "width": 0,
            },
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
        xaxis={"title": {"text": f"{words} per patient, mean"}, "rangemode": "tozero"},
        yaxis={"title": {"text": "AUC"}, "tickformat": ".2f"},
        legend={"orientation": "h", "y": 1.12, "x": 0},
        margin={"t": 48},
    )
