"""The bill: what is paid for today and in the proposal, line by line."""

from __future__ import annotations

import plotly.graph_objects as go

from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs


def bill(inputs: Inputs) -> Card:
    """Return the bill of both protocols."""
    axis = inputs.primary
    how = (
        "Shared session fees are lines of their own and are paid once. In the bad case the saving sits in one fee "
        "that another test would bring back."
    )
    lines = [line for candidate in (inputs.reference, inputs.shown) for line in candidate.get("bill") or ()]
    names = dict.fromkeys(map(inputs.bill_line, lines))
    if not names:
        return not_applicable("bill", "Cost breakdown", how, "the recommendation carries no bill")
    rows = []
    for label, kind in sorted(names, key=lambda name: name[1] != "shots"):
        shown_label = f"{label} (session)" if kind == "setup" and (label, "shots") in names else label
        cells: dict[str, object] = {"label": shown_label, "kind": "session or fee" if kind == "setup" else "test"}
        for name in inputs.axes:
            cells[f"today_{name}"] = inputs.own_cost(inputs.reference, (label, kind), name)
            cells[f"proposed_{name}"] = inputs.own_cost(inputs.shown, (label, kind), name)
        rows.append(Row(cells))
    total: dict[str, object] = {"label": "In total", "kind": ""}
    for name in inputs.axes:
        total[f"today_{name}"] = inputs.cost_of(inputs.reference, name)
        total[f"proposed_{name}"] = inputs.cost_of(inputs.shown, name)
    columns = [Column("label", "Line"), Column("kind", "Kind")]
    for name in inputs.axes:
        words = formats.AXIS_TITLES.get(name, name)
        columns += [
            Column(f"today_{name}", f"{words}, today", f"axis:{name}"),
            Column(f"proposed_{name}", "proposed", f"axis:{name}"),
        ]
    changed = [
        (_value(row, f"proposed_{axis}") - _value(row, f"today_{axis}"), str(row.cells["label"])) for row in rows
    ]
    was, now = inputs.cost_of(inputs.reference, axis), inputs.cost_of(inputs.shown, axis)
    if not inputs.changes or was is None or now is None:
        title = f"Today's protocol costs {inputs.price(was)}"
    elif now < was:
        title = (
            f"{inputs.price(was - now)} saved, the largest part is {min(changed)[1]} ({inputs.price(-min(changed)[0])})"
        )
    elif now > was:
        title = (
            f"{inputs.price(now - was)} more, the largest part is {max(changed)[1]} ({inputs.price(max(changed)[0])})"
        )
    else:
        title = f"The price stays {inputs.price(now)}"
    shown = [row for row in rows if _value(row, f"today_{axis}") or _value(row, f"proposed_{axis}")]
    return Card(
        "bill",
        title,
        how,
        table=Table("Bill, line by line", tuple(columns), (*rows, Row(total, "total"))),
        figure=_figure(inputs, shown) if shown else None,
        alt=f"Dumbbell chart of {formats.plural(len(shown), 'bill line')} today and proposed. {title}.",
    )


def _value(row: Row, name: str) -> float:
    return formats.finite(row.cells.get(name)) or 0.0


def _figure(inputs: Inputs, rows: list[Row]) -> dict[str, object]:
    axis = inputs.primary
    labels = [figures.plot_text(row.cells["label"], 26) for row in rows][::-1]
    places = list(range(len(rows)))
    today = [_value(row, f"today_{axis}") for row in rows][::-1]
    proposed = [_value(row, f"proposed_{axis}") for row in rows][::-1]
    bars_x: list[float | None] = []
    bars_y: list[int | None] = []
    for place, was, now in zip(places, today, proposed, strict=True):
        bars_x += [was, now, None]
        bars_y += [place, place, None]
    lines = go.Scatter(
        x=bars_x,
        y=bars_y,
        mode="lines",
        hoverinfo="skip",
        showlegend=False,
        line={"color": figures.COLOURS["faint"], "width": 2},
        meta=figures.coloured(line__color="faint"),
    )

    def dots(name: str, values: list[float], token: str, symbol: str, size: int) -> go.Scatter:
        text = [
            f"{label}<br>{name}: {figures.plot_text(inputs.price(v))}" for label, v in zip(labels, values, strict=True)
        ]
        return go.Scatter(
            x=values,
            y=places,
            mode="markers",
            name=name,
            customdata=text,
            hovertemplate="%{customdata}<extra></extra>",
            marker={
                "color": figures.COLOURS[token],
                "symbol": symbol,
                "size": size,
                "line": {"width": 2, "color": figures.COLOURS[token]},
            },
            meta=figures.coloured(marker__color=token, marker__line__color=token),
        )

    traces = [lines, dots("today", today, "ink", "square-open", 13)]
    if inputs.changes:
        traces.append(dots("proposed", proposed, "green", "diamond", 9))
    top = max([*today, *proposed])
    return figures.spec(
        traces,
        height=110 + 34 * len(rows),
        xaxis={
            "title": {"text": formats.AXIS_TITLES.get(axis, axis)},
            "range": [-0.04 * top, 1.06 * top],
            "showgrid": True,
            **figures.tick_units(axis, inputs.currency),
            "nticks": 5,
        },
        yaxis={"tickvals": places, "ticktext": labels, "range": [-0.6, len(rows) - 0.4], "showgrid": True},
        margin={"t": 40},
    )
