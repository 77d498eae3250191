"""What each part of today's protocol is worth, how it is sampled, and what a reader would see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import plotly.graph_objects as go

from scanwise.design import Protocol, capitalised, listed
from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.drawings import drawing
from scanwise.report.inputs import Inputs

_BEFORE = "this run was made before reports showed it; run the stages explain, recommend and report again"
_CASES = {
    "lost": ("Loses most", "with the disease, whose probability falls furthest"),
    "alarmed": ("False alarm", "without the disease, whose probability rises furthest"),
    "gained": ("Gains most", "with the disease, whose probability rises furthest"),
    "typical": ("Typical", "with the disease, the median of them today"),
}


def contributions(inputs: Inputs) -> Card:
    """Return the Shapley value of every part of today's protocol."""
    how = (
        "Diamonds: what a part adds to the AUC, averaged over everything else that may have been done (Shapley); "
        "circles: added first; squares: added last, to all others. In the bad case a costly part's interval covers 0."
    )
    found = _part(inputs, "contributions")
    if isinstance(found, str):
        return not_applicable("contributions", "What each part is worth", how, found)
    parts = sorted(found["parts"], key=lambda part: -part["shapley"]["value"])
    axis = inputs.primary
    rows = [
        Row(
            {
                "part": inputs.titles[part["modality"]],
                "shapley": part["shapley"],
                "alone": part["alone"],
                "last": part["last"],
                "price": inputs.test_cost(inputs.reference, part["modality"], axis),
            }
        )
        for part in parts
    ]
    columns = (
        Column("part", "Part of today's protocol"),
        Column("shapley", f"AUC it adds, on average ({inputs.level})", "signed_interval"),
        Column("alone", "Added first", "signed_interval"),
        Column("last", "Added last", "signed_interval"),
        Column("price", f"{formats.AXIS_SHORT.get(axis, axis)} of its own", f"axis:{axis}"),
    )
    total = sum(part["shapley"]["value"] for part in parts)
    first = parts[0]
    idle = [inputs.titles[part["modality"]] for part in parts if (part["shapley"]["low"] or 0.0) <= 0]
    title = (
        f"{capitalised(inputs.titles[first['modality']])} adds {formats.auc(first['shapley']['value'])} of the "
        f"{formats.auc(total)} AUC that today's protocol adds"
    )
    if idle:
        title += f"; nothing is shown to be added by {listed(idle)}"
    none, everything = formats.with_limits(found["always"]), formats.with_limits(found["all"])
    return Card(
        "contributions",
        title,
        how,
        table=Table("Shapley values of the parts of today's protocol", columns, tuple(rows)),
        figure=_worth(inputs, parts),
        alt=f"What {formats.plural(len(parts), 'part')} of today's protocol add to the AUC. {title}.",
        paragraphs=(f"Without any of them the AUC is {none}; with all {everything}.",),
    )


def pairs(inputs: Inputs) -> Card:
    """Return which parts stand in for each other, and which need each other."""
    how = (
        "Below 0: both tell the same, one can stand in for the other; above 0: they are worth more together. In the "
        "bad case two parts are paid for that say the same."
    )
    found = _part(inputs, "contributions")
    if isinstance(found, str):
        return not_applicable("pairs", "Which parts stand in for each other", how, found)
    entries = sorted(found["pairs"], key=lambda pair: pair["interaction"]["value"])
    names = [listed([inputs.titles[name] for name in pair["modalities"]]) for pair in entries]
    rows = [
        Row({"pair": name, "interaction": pair["interaction"], "reading": _reading(pair["interaction"])})
        for name, pair in zip(names, entries, strict=True)
    ]
    columns = (
        Column("pair", "Parts"),
        Column("interaction", f"Interaction, AUC ({inputs.level})", "signed_interval"),
        Column("reading", "Reading"),
    )
    same = [name for name, pair in zip(names, entries, strict=True) if (pair["interaction"]["high"] or 0.0) < 0]
    more = [name for name, pair in zip(names, entries, strict=True) if (pair["interaction"]["low"] or 0.0) > 0]
    title = f"{capitalised(same[0])} overlap most" if same else "No two parts are shown to overlap"
    if more:
        title += f"; {more[-1]} help each other"
    return Card("pairs", title, how, table=Table("Interactions of pairs", columns, tuple(rows)))


def patterns(inputs: Inputs) -> Card:
    """Return how every scan is sampled, today and in the proposal."""
    how = (
        "One bar per shot, in the order of k-space, b-values or time; its height is how often it is acquired, a dot "
        "is a shot left out. In the bad case the proposal leaves out what another question needs."
    )
    layouts = inputs.data.get("layout")
    if layouts is None:
        return not_applicable("patterns", "How it is sampled", how, _BEFORE)
    drawn, rows = [], []
    for name, title in inputs.titles.items():
        layout = layouts.get(name)
        if layout is None or layout["kind"] == "shots":
            continue
        n = len(layout["shots"])
        counts = {
            role: list(Protocol.from_key(candidate["key"]).counts(name)) or [0] * n
            for role, _, candidate in inputs.pair
        }
        if not any(any(of_role) for of_role in counts.values()):
            continue
        most = max([*layout["standard"], *(count for of_role in counts.values() for count in of_role)])
        sides = []
        for role, words, candidate in reversed(inputs.pair):
            parts = inputs.parts(candidate)
            text = parts.get(name, "left out")
            taken = sum(count > 0 for count in counts[role])
            sides.append(
                {
                    "role": role,
                    "words": words,
                    "text": text,
                    "drawing": drawing(layout, counts[role], most) if taken else None,
                    "alt": f"{title}, {words}: {taken} of {n} {layout['kind']}, {sum(counts[role])} acquisitions.",
                }
            )
            rows += [
                Row({"modality": title, "protocol": words, "shot": shot, "count": count}, role)
                for shot, count in zip(layout["shots"], counts[role], strict=True)
            ]
        drawn.append({"title": title, "kind": layout["kind"], "sides": sides})
    if not drawn:
        reason = "nothing on the menu is sampled: tests are done or not"
        return not_applicable("patterns", "How it is sampled", how, reason)
    columns = (
        Column("modality", "Scan"),
        Column("protocol", "Protocol"),
        Column("shot", "Shot"),
        Column("count", "Acquired", "count"),
    )
    fewer = [one["title"] for one in drawn if len({str(side["drawing"]) for side in one["sides"]}) > 1]
    title = "Sampled as today"
    if fewer:
        title = f"{capitalised(listed(fewer))} {'is' if len(fewer) == 1 else 'are'} sampled differently"
    return Card(
        "patterns",
        title,
        how,
        table=Table("Every shot, today and proposed", columns, tuple(rows)),
        data={"drawings": drawn},
    )


def pictures(inputs: Inputs) -> Card:
    """Return what a reader would see of the same patients at today's protocol and at the proposal."""
    how = (
        "Same patient, same noise, same window, chosen by rule and not by eye; the frame is around the lesion. In the "
        "bad case the lesion of the first patient is what nobody may miss."
    )
    found = _part(inputs, "pictures")
    if isinstance(found, str):
        return not_applicable("pictures", "What the reader would see", how, found)
    people, rows = [], []
    for one in found["patients"]:
        name, words = _CASES.get(one["case"], (str(one["case"]), ""))
        probability = {which: formats.finite(one[which]) for which in ("today", "proposed")}
        images = [
            {
                "title": inputs.titles.get(str(image["modality"]), str(image["modality"])),
                "channel": str(image["channel"]).replace("^-3", "\u207b\u00b3").replace("^2", "\u00b2"),
                "today": image["today"],
                "proposed": image["proposed"],
            }
            for image in one["images"]
        ]
        people.append({"name": name, "words": words, "box": one["box"], "images": images, **probability})
        rows.append(Row({"case": f"{name}: a patient {words}", **probability}))
    if not people:
        return not_applicable("pictures", "What the reader would see", how, _BEFORE)
    columns = (
        Column("case", "Patient"),
        Column("today", "Probability today", "auc"),
        Column("proposed", "at the proposal", "auc"),
    )
    worst = people[0]
    title = (
        f"The proposal's worst case: probability {formats.auc(worst['today'], 2)} today becomes "
        f"{formats.auc(worst['proposed'], 2)}"
    )
    return Card(
        "pictures",
        title,
        how,
        table=Table("Patients shown", columns, tuple(rows)),
        data={"patients": people, "virtual": bool(inputs.study.get("virtual"))},
    )


def _part(inputs: Inputs, name: str) -> Mapping[str, Any] | str:
    """Return a part of the recommendation, or why there is none."""
    found = inputs.data.get(name)
    if not isinstance(found, Mapping):
        return _BEFORE
    return found if found.get("applicable") else str(found.get("reason") or _BEFORE)


def _worth(inputs: Inputs, parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    places = list(range(len(parts)))[::-1]
    labels = [figures.plot_text(inputs.titles[part["modality"]], 26) for part in parts]
    traces = []
    for field, name, token, symbol, size, shift in (
        ("alone", "added first", "sky", "circle", 8, 0.22),
        ("shapley", "on average (Shapley)", "blue", "diamond", 13, 0.0),
        ("last", "added last", "faint", "square", 8, -0.22),
    ):
        values = [part[field]["value"] for part in parts]
        low, high = ([part[field].get(side) for part in parts] for side in ("low", "high"))
        traces.append(
            go.Scatter(
                x=values,
                y=[place + shift for place in places],
                mode="markers",
                name=name,
                marker={"color": figures.COLOURS[token], "symbol": symbol, "size": size},
                error_x=figures.error_bars(values, low, high, token, thickness=3 if field == "shapley" else 1.5),
                customdata=[
                    f"{label}<br>{name}: {formats.with_limits(part[field], formats.signed)}"
                    for label, part in zip(labels, parts, strict=True)
                ],
                hovertemplate="%{customdata}<extra></extra>",
                meta=figures.coloured(marker__color=token, error_x__color=token),
            )
        )
    return figures.spec(
        traces,
        height=110 + 56 * len(parts),
        shapes=[figures.vertical(0.0, "ink", dash="solid", width=1.2)],
        xaxis={"title": {"text": "AUC it adds"}, "showgrid": True, "nticks": 4, "tickformat": "+.2f"},
        yaxis={
            "tickvals": places,
            "ticktext": labels,
            "range": [-0.6, len(parts) - 0.4],
            "showgrid": False,
        },
        margin={"t": 40},
    )


def _reading(interval: Mapping[str, Any]) -> str:
    low, high = formats.finite(interval.get("low")), formats.finite(interval.get("high"))
    if low is None or high is None or low <= 0 <= high:
        return "not shown to depend on each other"
    return "one stands in for the other" if high < 0 else "worth more together"
