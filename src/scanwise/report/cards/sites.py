"""Does it hold everywhere? Forest plot per site, with the margin."""

from __future__ import annotations

from typing import Any, NamedTuple

import plotly.graph_objects as go

from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs, assessment, auc_of, versus


class SiteRow(NamedTuple):
    """One line of the forest plot."""

    name: str
    n: int | None
    n_positive: int | None
    auc: Any
    difference: Any
    reason: str


def forest(inputs: Inputs) -> Card:
    """Return the difference to today's protocol in every site."""
    how = (
        "Difference in AUC to today's protocol, with its interval; left of the dashed margin would be unacceptable. "
        "An interval that crosses the margin is undecided, one that lies left of it is the bad case."
    )
    if not inputs.changes:
        how = (
            f"AUC of today's protocol in every site, with its {inputs.level} interval. "
            "In the bad case sites differ by more than chance."
        )
    found = assessment(inputs.shown)
    sites = [
        SiteRow(
            str(s["site"]),
            s.get("n"),
            s.get("n_positive"),
            s.get("auc"),
            s.get("difference"),
            str(s.get("reason") or ""),
        )
        for s in found.get("sites") or ()
    ]
    if len(sites) < 2:
        return not_applicable(
            "sites", "Sites", how, "the patients come from one place, or no site was judged on its own"
        )
    everyone = SiteRow(
        "All", found.get("n"), found.get("n_positive"), auc_of(inputs.shown), versus(inputs.shown).get("difference"), ""
    )
    rows = [everyone, *sites]
    field = "difference" if inputs.changes else "auc"
    judged = [site for site in sites if formats.finite((getattr(site, field) or {}).get("value")) is not None]
    columns = (
        Column("site", "Site"),
        Column("n", "Patients", "count"),
        Column("n_positive", "positive", "count"),
        Column("auc", f"AUC ({inputs.level})", "auc_interval"),
        Column("difference", "Against today", "signed_interval"),
        Column("reason", "Not judged because"),
    )
    table = Table(
        "Per site",
        columns,
        tuple(
            Row(
                {
                    "site": r.name,
                    "n": r.n,
                    "n_positive": r.n_positive,
                    "auc": r.auc or None,
                    "difference": r.difference,
                    "reason": r.reason,
                },
                "total" if index == 0 else "",
            )
            for index, r in enumerate(rows)
        ),
    )
    title, bad = _finding(inputs, sites, judged)
    if not judged:
        return Card("sites", title, how, "attention", table)
    return Card(
        "sites",
        title,
        how,
        "attention" if bad else "ok",
        table,
        _figure(inputs, [everyone, *judged], field),
        f"Forest plot of {'the difference in AUC to today' if inputs.changes else 'AUC'} in "
        f"{formats.plural(len(judged), 'site')}. {title}.",
    )


def _finding(inputs: Inputs, sites: list[SiteRow], judged: list[SiteRow]) -> tuple[str, bool]:
    if not judged:
        return f"None of {formats.plural(len(sites), 'site')} can be judged on its own", True
    if not inputs.changes or inputs.margin is None:
        values = [formats.finite((site.auc or {}).get("value")) for site in judged]
        known = [value for value in values if value is not None]
        if not known:
            return f"{formats.plural(len(judged), 'site')} judged", False
        return f"AUC runs from {formats.auc(min(known))} to {formats.auc(max(known))} between sites", False
    margin = inputs.margin
    lows = {site.name: formats.finite(site.difference.get("low")) for site in judged}
    highs = {site.name: formats.finite(site.difference.get("high")) for site in judged}
    holds = [name for name, low in lows.items() if low is not None and low > -margin]
    lost = [name for name, high in highs.items() if high is not None and high < -margin]
    title = f"Shown to hold in {len(holds)} of {formats.plural(len(judged), 'site')} that can be judged alone"
    if lost:
        names = ", ".join(figures.shorten(name, 30) for name in lost)
        title += f"; worse by more than the margin in {names}"
    elif len(holds) < len(judged):
        title += "; undecided in " + ", ".join(figures.shorten(name, 30) for name in lows if name not in holds)
    return title, bool(lost)


def _figure(inputs: Inputs, rows: list[SiteRow], field: str) -> dict[str, Any]:
    shown = [row for row in rows if formats.finite((getattr(row, field) or {}).get("value")) is not None][::-1]
    write = formats.signed if field == "difference" else formats.auc
    labels = [
        f"<b>{figures.plot_text(row.name, 22)}</b><br>{formats.count(row.n)} patients, "
        f"{write(getattr(row, field)['value'])}"
        for row in shown
    ]
    margin = inputs.margin if field == "difference" else None
    traces = []
    for everyone in (False, True):
        places = [index for index, row in enumerate(shown) if (row is rows[0]) == everyone]
        mine = [getattr(shown[index], field) for index in places]
        token, symbol, size = ("green", "diamond", 13) if everyone else ("blue", "circle", 9)
        values = [interval["value"] for interval in mine]
        low, high = (
            [value if formats.finite(i.get(side)) is None else i[side] for i, value in zip(mine, values, strict=True)]
            for side in ("low", "high")
        )
        traces.append(
            go.Scatter(
                x=values,
                y=places,
                mode="markers",
                showlegend=False,
                marker={"color": figures.COLOURS[token], "symbol": symbol, "size": size},
                error_x={
                    "type": "data",
                    "symmetric": False,
                    "array": [top - value for top, value in zip(high, values, strict=True)],
                    "arrayminus": [value - bottom for bottom, value in zip(low, values, strict=True)],
                    "color": figures.COLOURS[token],
                    "thickness": 4 if everyone else 2.5,
                    "width": 0,
                },
                customdata=[
                    f"{labels[index]}<br>{formats.limits(getattr(shown[index], field), write)}" for index in places
                ],
                hovertemplate="%{customdata}<extra></extra>",
                meta=figures.coloured(marker__color=token, error_x__color=token),
            )
        )
    shapes, notes = [], []
    if field == "difference":
        shapes.append(figures.vertical(0.0, "ink", dash="solid", width=1.2))
        notes.append(figures.note("today", "ink", x=0.0, y=1.0, yref="paper", yanchor="bottom", xanchor="left"))
        if margin is not None:
            shapes.append(figures.vertical(-margin, "red", width=2))
            text = f"margin {formats.MINUS}{formats.margin(margin)}"
            notes.append(figures.note(text, "red", x=-margin, y=1.0, yref="paper", yanchor="bottom", xanchor="right"))
    return figures.spec(
        traces,
        height=110 + 52 * len(shown),
        shapes=shapes,
        annotations=notes,
        xaxis={
            "title": {"text": "Difference in AUC to today" if field == "difference" else "AUC"},
            "showgrid": True,
            "nticks": 5,
            "tickangle": 0,
            "tickformat": "+.2f" if field == "difference" else ".2f",
        },
        yaxis={
            "tickvals": list(range(len(shown))),
            "ticktext": labels,
            "range": [-0.6, len(shown) - 0.4],
            "showgrid": False,
        },
        margin={"t": 32},
    )
