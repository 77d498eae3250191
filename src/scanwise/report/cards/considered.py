"""What was considered: every protocol of the search, how the judged ones fared, and how the search went."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs, auc_of

_STILL_GROWING = 0.01
"""A front that the second half of a search made larger by this share may not be found yet."""


def considered(inputs: Inputs) -> Card:
    """Return all protocols that were searched; the AUC of the search beside the one on unseen patients."""
    how = (
        "Search and judgement use different patients; points on the diagonal were predicted well by the search. "
        "In the bad case they sink below it: the search believed in luck."
    )
    entries = inputs.data.get("considered") or ()
    if not entries:
        return not_applicable("considered", "What was considered", how, "the list of searched protocols was not stored")
    rows, pairs = [], []
    for entry in sorted(entries, key=lambda e: (inputs.cost_of(e, inputs.primary) or 0.0, e["key"])):
        judged = formats.finite(auc_of(inputs.by_key.get(entry["key"])).get("value"))
        tuned = formats.finite(entry.get("tune_auc"))
        cells = {
            "reading": entry["reading"],
            **{axis: inputs.cost_of(entry, axis) for axis in inputs.axes},
            "tune_auc": tuned,
            "test_auc": judged,
            "on_front": bool(entry.get("on_front")),
            "short_listed": bool(entry.get("short_listed")),
        }
        rows.append(Row(cells, inputs.role(entry["key"])))
        if judged is not None and tuned is not None:
            pairs.append((tuned, judged, str(entry["reading"]), inputs.role(entry["key"])))
    columns = (
        Column("reading", "Protocol"),
        *(Column(axis, formats.AXIS_TITLES.get(axis, axis), f"axis:{axis}") for axis in inputs.axes),
        Column("tune_auc", "AUC in the search", "auc"),
        Column("test_auc", "AUC on unseen patients", "auc"),
        Column("on_front", "On the front", "flag"),
        Column("short_listed", "Judged", "flag"),
    )
    n_judged = sum(row.cells["short_listed"] for row in rows)
    n_searched = max(len(rows), int((inputs.data.get("search") or {}).get("n_evaluated") or 0))
    title = f"{formats.plural(n_searched, 'protocol')} searched, {formats.count(n_judged)} judged on unseen patients"
    data: dict[str, float] = {}
    if pairs:
        data["mean_optimism"] = sum(tuned - judged for tuned, judged, *_ in pairs) / len(pairs)
        hopeful = "too hopeful" if data["mean_optimism"] >= 0 else "too cautious"
        title += f"; the search was {hopeful} by {formats.auc(abs(data['mean_optimism']))} AUC on average"
    return Card(
        "considered",
        title,
        how,
        table=Table(
            f"{'All' if n_searched == len(rows) else 'The best'} protocols that were searched, cheapest first",
            columns,
            tuple(rows),
        ),
        figure=_figure(pairs) if len(pairs) > 1 else None,
        alt="Scatter of the AUC on unseen patients against the AUC in the search, "
        f"{formats.plural(len(pairs), 'protocol')}. {title}.",
        data=data,
    )


def search(inputs: Inputs) -> Card:
    """Return how the search went."""
    how = (
        "The front grows in volume while better protocols are still found. In the bad case the curve still climbs at "
        "its end: the search stopped too early."
    )
    found = inputs.data.get("search") or {}
    if not found:
        return not_applicable("search", "Search", how, "nothing about the search was stored")
    complete = bool(found.get("complete"))
    lines = (
        f"{found.get('how', '')}",
        f"{formats.plural(int(found.get('n_evaluated') or 0), 'protocol')} evaluated",
        "every protocol of the menu was looked at" if complete else "not every protocol of the menu was looked at",
    )
    history = [
        (point["evaluated"], volume)
        for point in found.get("history") or ()
        if (volume := formats.finite(point.get("hypervolume"))) is not None
    ]
    title = "Nothing was left out: every protocol of the menu was scored" if complete else "The search sampled the menu"
    late = 0.0
    if not complete and len(history) > 1 and history[_half(history)][1] > 0:
        late = history[-1][1] / history[_half(history)][1] - 1.0
        title += f"; its second half made the front {100 * late:.1f} % larger"
    columns = (
        Column("evaluated", "Protocols evaluated", "count"),
        Column("hypervolume", "Volume under the front", "auc"),
    )
    table = Table("Search history", columns, tuple(Row({"evaluated": n, "hypervolume": v}) for n, v in history))
    figure = None
    if len(history) > 1:
        trace = go.Scatter(
            x=[n for n, _ in history],
            y=[v for _, v in history],
            mode="lines+markers",
            line={"color": figures.COLOURS["blue"], "width": 2, "shape": "hv"},
            marker={"color": figures.COLOURS["blue"], "size": 6},
            hovertemplate="%{x} protocols: %{y:.3f}<extra></extra>",
            showlegend=False,
            meta=figures.coloured(line__color="blue", marker__color="blue"),
        )
        figure = figures.spec(
            [trace],
            height=300,
            xaxis={"title": {"text": "Protocols evaluated"}, "rangemode": "tozero"},
            yaxis={"title": {"text": "Volume under the front"}, "tickformat": ".3f", "nticks": 6},
        )
    batches = formats.plural(len(history), "batch", "batches")
    alt = f"Line of the volume under the front over {batches} of the search. {title}."
    return Card(
        "search",
        title,
        how,
        "attention" if late > _STILL_GROWING else "ok",
        table if history else None,
        figure,
        alt,
        lists=(("", lines),),
    )


def _half(history: Sequence[tuple[float, float]]) -> int:
    """Return where half of the protocols had been evaluated."""
    return next(at for at, (n, _) in enumerate(history) if n >= history[-1][0] / 2)


def _figure(pairs: list[tuple[float, float, str, str]]) -> dict[str, object]:
    low = min(min(tuned, judged) for tuned, judged, *_ in pairs)
    high = max(max(tuned, judged) for tuned, judged, *_ in pairs)
    pad = 0.08 * max(high - low, 0.02)
    ends = [low - pad, high + pad]
    traces = [
        go.Scatter(
            x=ends,
            y=ends,
            mode="lines",
            name="search and judgement agree",
            hoverinfo="skip",
            line={"color": figures.COLOURS["faint"], "width": 1.5, "dash": "dot"},
            meta=figures.coloured(line__color="faint"),
        )
    ]
    for role, name, token, symbol, size in (
        ("", "judged protocol", "blue", "circle", 8),
        ("reference", "today", "ink", "square-open", 14),
        ("proposal", "proposal", "green", "diamond", 14),
    ):
        mine = [pair for pair in pairs if pair[3] == role]
        if mine:
            traces.append(
                go.Scatter(
                    x=[pair[0] for pair in mine],
                    y=[pair[1] for pair in mine],
                    mode="markers",
                    name=name,
                    marker={
                        "color": figures.COLOURS[token],
                        "symbol": symbol,
                        "size": size,
                        "line": {"width": 2 if role == "reference" else 0, "color": figures.COLOURS[token]},
                    },
                    customdata=[figures.plot_text(pair[2], 60) for pair in mine],
                    hovertemplate="%{customdata}<br>search %{x:.3f}, unseen %{y:.3f}<extra></extra>",
                    meta=figures.coloured(marker__color=token, marker__line__color=token),
                )
            )
    return figures.spec(
        traces,
        height=380,
        xaxis={
            "title": {"text": "AUC in the search"},
            "range": ends,
            "tickformat": ".2f",
            "showgrid": True,
            "nticks": 6,
        },
        yaxis={"title": {"text": "AUC on unseen patients"}, "range": ends, "tickformat": ".2f", "nticks": 6},
        margin={"t": 24},
    )
