"""Does it hold everywhere, and for everybody? Forest plots per site and per group of patients, with the margin."""

from __future__ import annotations

from typing import Any, NamedTuple

import plotly.graph_objects as go

from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs, assessment, auc_of, versus

_WIDE = 20
"""Characters of a name on one line: on a telephone the plot needs the rest of the width."""
_NAMED = 3
"""Sites or groups that a title names; more are counted."""


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
    title, bad = _finding(inputs, sites, judged, "site")
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


def groups(inputs: Inputs) -> Card:
    """Return the difference to today's protocol in groups of patients."""
    how = (
        "Groups named beforehand, each compared with today's protocol on its own, nothing adjusted for their number. "
        "In the bad case a group lies left of the dashed margin: for these patients the proposal is worse."
    )
    if not inputs.changes:
        how = (
            f"AUC of today's protocol in groups named beforehand, with its {inputs.level} interval. In the bad case "
            "one group is served much worse than the others."
        )
    told = inputs.data.get("groups") or {}
    if not told.get("applicable"):
        reason = str(told.get("reason") or "this run was made before reports showed groups")
        return not_applicable("groups", "Groups of patients", how, reason)
    rows = [
        SiteRow(str(g["level"]), g["n"], g["n_positive"], g["auc"], g["difference"], str(g["reason"] or ""))
        for g in told["groups"]
    ]
    if not rows:
        return not_applicable("groups", "Groups of patients", how, "no covariates were given to make groups of")
    field = "difference" if inputs.changes else "auc"
    judged = [row for row in rows if formats.finite((getattr(row, field) or {}).get("value")) is not None]
    title, bad = _finding(inputs, rows, judged, "group")
    if judged and inputs.changes:
        worst = min(judged, key=lambda row: row.difference["value"])
        title += f"; least good: {worst.name}, {formats.with_limits(worst.difference, formats.signed)}"
    columns = (
        Column("site", "Group"),
        Column("n", "Patients", "count"),
        Column("n_positive", "positive", "count"),
        Column("auc", f"AUC ({inputs.level})", "auc_interval"),
        Column("difference", "Against today", "signed_interval"),
        Column("reason", "Not judged because"),
    )
    table = Table("Per group", columns, tuple(Row({**row._asdict(), "site": row.name}) for row in rows))
    found = assessment(inputs.shown)
    everyone = SiteRow(
        "All", found.get("n"), found.get("n_positive"), auc_of(inputs.shown), versus(inputs.shown).get("difference"), ""
    )
    lesions = any(g.get("lesion") for g in told["groups"])
    return Card(
        "groups",
        title,
        how,
        "attention" if bad or not judged else "ok",
        table,
        _figure(inputs, [everyone, *judged], field) if judged else None,
        f"Forest plot of {formats.plural(len(judged), 'group')} of patients. {title}." if judged else "",
        paragraphs=("Groups of lesions hold positive patients with such a lesion and all negative ones.",)
        if lesions
        else (),
    )


def _finding(inputs: Inputs, sites: list[SiteRow], judged: list[SiteRow], noun: str) -> tuple[str, bool]:
    if not judged:
        return f"None of {formats.plural(len(sites), noun)} can be judged on its own", True
    if not inputs.changes or inputs.margin is None:
        values = [formats.finite((site.auc or {}).get("value")) for site in judged]
        known = [value for value in values if value is not None]
        if not known:
            return f"{formats.plural(len(judged), noun)} judged", False
        return f"AUC runs from {formats.auc(min(known))} to {formats.auc(max(known))} between {noun}s", False
    margin = inputs.margin
    lows = {site.name: formats.finite(site.difference.get("low")) for site in judged}
    highs = {site.name: formats.finite(site.difference.get("high")) for site in judged}
    holds = [name for name, low in lows.items() if low is not None and low > -margin]
    lost = [name for name, high in highs.items() if high is not None and high < -margin]
    title = f"Shown to hold in {len(holds)} of {formats.plural(len(judged), noun)} that can be judged alone"
    if lost:
        title += f"; worse by more than the margin in {_few(lost, noun)}"
    elif len(holds) < len(judged):
        title += f"; undecided in {_few([name for name in lows if name not in holds], noun)}"
    return title, bool(lost)


def _few(names: list[str], noun: str) -> str:
    """Name a few, and count them where there are more."""
    if len(names) > _NAMED:
        return formats.plural(len(names), noun)
    return ", ".join(figures.shorten(name, 30) for name in names)


def _figure(inputs: Inputs, rows: list[SiteRow], field: str) -> dict[str, Any]:
    shown = [row for row in rows if formats.finite((getattr(row, field) or {}).get("value")) is not None][::-1]
    write = formats.signed if field == "difference" else formats.auc
    names = [figures.wrapped(row.name, _WIDE) for row in shown]
    labels = [
        f"<b>{name}</b><br>{formats.count(row.n)} patients, {write(getattr(row, field)['value'])}"
        for name, row in zip(names, shown, strict=True)
    ]
    margin = inputs.margin if field == "difference" else None
    traces = []
    for everyone in (False, True):
        places = [index for index, row in enumerate(shown) if (row is rows[0]) == everyone]
        mine = [getattr(shown[index], field) for index in places]
        token, symbol, size = ("green", "diamond", 13) if everyone else ("blue", "circle", 9)
        values = [interval["value"] for interval in mine]
        low, high = ([interval.get(side) for interval in mine] for side in ("low", "high"))
        traces.append(
            go.Scatter(
                x=values,
                y=places,
                mode="markers",
                showlegend=False,
                marker={"color": figures.COLOURS[token], "symbol": symbol, "size": size},
                error_x=figures.error_bars(values, low, high, token, thickness=4 if everyone else 2.5),
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
            line, name = figures.margin_line(margin)
            shapes, notes = [*shapes, line], [*notes, name]
    return figures.spec(
        traces,
        height=110 + (52 if not any("<br>" in name for name in names) else 62) * len(shown),
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
