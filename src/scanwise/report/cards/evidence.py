"""How sure we are: ROC, calibration, decision curve, sensitivity, and the honest estimate of the whole procedure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import plotly.graph_objects as go

from scanwise.report import figures, formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs, assessment, auc_of, versus

_MANY_LOST = 0.02
"""Share of the positive patients whose net loss a reader must not miss."""
_LOOK: dict[str, dict[str, Any]] = {
    "proposal": {"token": "green", "dash": "solid", "symbol": "diamond"},
    "reference": {"token": "ink", "dash": "dash", "symbol": "square-open"},
}


def roc(inputs: Inputs) -> Card:
    """Return the ROC curves of the proposal and of today's protocol."""
    how = (
        "Share of the positive patients who are found against share of the negative ones who are alarmed; up and left "
        "is better. In the bad case the solid line runs well below the dashed one."
    )
    curves = [(role, name, c, _pairs(assessment(c).get("roc"))) for role, name, c in inputs.pair]
    curves = [curve for curve in curves if curve[3]]
    if not curves:
        return not_applicable("roc", "ROC curve", how, "no ROC curve was stored for these protocols")
    rows, traces = [], []
    for role, name, candidate, points in curves:
        rows += [Row({"protocol": name, "fpr": x, "tpr": y}, role) for x, y in points]
        text = f"{name}, AUC {formats.auc(auc_of(candidate).get('value'))}"
        traces.append(_line(role, text, [x for x, _ in points], [y for _, y in points]))
    traces.insert(0, _plain_line("chance", [0, 1], [0, 1], "faint", "dot"))
    words = [f"{formats.auc(auc_of(c).get('value'))} {name}" for _, name, c, _ in curves]
    difference = versus(inputs.shown).get("difference")
    found = f"AUC {' against '.join(words)}"
    title = f"{found}, difference {formats.with_limits(difference, formats.signed)}" if difference else found
    return Card(
        "roc",
        title,
        how,
        table=Table(
            "ROC curves",
            (Column("protocol", "Protocol"), Column("fpr", "False alarms", "auc"), Column("tpr", "Sensitivity", "auc")),
            tuple(rows),
        ),
        figure=figures.spec(
            traces,
            height=400,
            xaxis={"title": {"text": "False alarms (1 − specificity)"}, "range": [-0.01, 1.01], "showgrid": True},
            yaxis={"title": {"text": "Sensitivity"}, "range": [-0.01, 1.02]},
            margin={"t": 24},
        ),
        alt=f"ROC curves: {found}.",
    )


def calibration(inputs: Inputs) -> Card:
    """Return predicted against observed risk, with slope and intercept."""
    how = (
        "On the diagonal, 30 of 100 patients told \u201c30 %\u201d are positive. In the bad case points leave the "
        "diagonal: below it risks are overstated, and a slope below 1 means predictions too extreme."
    )
    found = [(role, name, assessment(c).get("calibration") or {}) for role, name, c in inputs.pair]
    found = [entry for entry in found if entry[2].get("curve")]
    if not found:
        return not_applicable("calibration", "Calibration", how, "no calibration curve was stored for these protocols")
    rows, traces = [], [_plain_line("perfect", [0, 1], [0, 1], "faint", "dot")]
    for role, name, entry in found:
        curve = [point for point in entry["curve"] if formats.finite(point.get("observed")) is not None]
        rows += [Row({"protocol": name, **point}, role) for point in curve]
        values, lows, highs = ([point.get(side) for point in curve] for side in ("observed", "low", "high"))
        trace = _line(role, name, [p["predicted"] for p in curve], values, markers=True)
        token = _LOOK[role]["token"]
        trace.error_y = figures.error_bars(values, lows, highs, token, thickness=1.2)
        trace.meta["tokens"]["error_y.color"] = token
        traces.append(trace)
    slope = found[0][2].get("slope") or {}
    low, high = formats.finite(slope.get("low")), formats.finite(slope.get("high"))
    status: Any = "ok"
    if low is None or high is None:
        title = "The slope of the calibration could not be estimated"
    elif high < 1:
        title, status = "Predicted risks are too extreme", "attention"
    elif low > 1:
        title, status = "Predicted risks are too timid", "attention"
    else:
        title = "Predicted risks agree with what was observed"
    lists = tuple(
        f"{name}: slope {formats.with_limits(entry.get('slope'), formats.number)}, intercept "
        f"{formats.with_limits(entry.get('intercept'), formats.number)}, expected calibration error "
        f"{formats.auc(entry.get('ece'))}"
        for _, name, entry in found
    )
    columns = (
        Column("protocol", "Protocol"),
        Column("predicted", "Predicted", "auc"),
        Column("observed", "Observed", "auc"),
        Column("low", "from", "auc"),
        Column("high", "to", "auc"),
        Column("n", "Patients", "count"),
    )
    return Card(
        "calibration",
        f"{title}: slope {formats.with_limits(slope, formats.number)}" if low is not None else title,
        how,
        status,
        Table("Calibration by groups of predicted risk", columns, tuple(rows)),
        figures.spec(
            traces,
            height=400,
            xaxis={"title": {"text": "Predicted risk"}, "range": [-0.02, 1.02], "tickformat": ".0%", "showgrid": True},
            yaxis={"title": {"text": "Observed share"}, "range": [-0.02, 1.02], "tickformat": ".0%"},
            margin={"t": 24},
        ),
        f"Calibration curve of predicted risk against observed share. {lists[0]}.",
        lists=(("", lists),),
    )


def decision_curve(inputs: Inputs) -> Card:
    """Return the net benefit at the thresholds agreed beforehand."""
    how = (
        "Net benefit counts the positive patients found, minus false alarms weighted by the threshold at which one "
        "would act. In the bad case the solid line falls below acting on everybody or on nobody."
    )
    found = [(role, name, assessment(c).get("net_benefit") or []) for role, name, c in inputs.pair]
    found = [entry for entry in found if entry[2]]
    if not found:
        return not_applicable("decision_curve", "Decision curve", how, "no thresholds were agreed for this study")
    thresholds = [point["threshold"] for point in found[0][2]]
    everybody = [point["treat_all"] for point in found[0][2]]
    traces = [
        _plain_line("act on nobody", [min(thresholds), max(thresholds)], [0, 0], "faint", "dot"),
        _plain_line("act on everybody", thresholds, everybody, "orange", "dashdot"),
    ]
    models = {role: {p["threshold"]: p["model"] for p in points} for role, _, points in found}
    for role, name, points in found:
        traces.append(_line(role, name, [p["threshold"] for p in points], [p["model"] for p in points], markers=True))
    first = models[found[0][0]]
    rows = []
    for threshold, all_treated in zip(thresholds, everybody, strict=True):
        cells = {role: values.get(threshold) for role, values in models.items()}
        rows.append(Row({"threshold": threshold, **cells, "treat_all": all_treated, "treat_none": 0.0}))
    useful = [
        t for t, every in zip(thresholds, everybody, strict=True) if _over(first.get(t), max(_or(every, 0.0), 0.0))
    ]
    columns = (
        Column("threshold", "Threshold", "percent"),
        *(Column(role, name, "signed") for role, name, _ in found),
        Column("treat_all", "Act on everybody", "signed"),
        Column("treat_none", "Act on nobody", "signed"),
    )
    title = (
        f"Acting on the prediction beats acting on everybody or nobody at {len(useful)} of "
        f"{formats.plural(len(thresholds), 'threshold')}"
    )
    return Card(
        "decision_curve",
        title,
        how,
        "ok" if useful else "attention",
        Table("Net benefit per patient", columns, tuple(rows)),
        figures.spec(
            traces,
            height=380,
            xaxis={"title": {"text": "Risk above which one would act"}, "tickformat": ".0%"},
            yaxis={"title": {"text": "Net benefit"}, "tickformat": ".2f"},
            margin={"t": 24},
        ),
        f"Decision curve over {formats.plural(len(thresholds), 'threshold')}. {title}.",
    )


def operating(inputs: Inputs) -> Card:
    """Return sensitivity at the agreed specificity, and the probability scores, as a table."""
    how = (
        "What a reader would notice: of 100 positive patients, how many are found when false alarms are held "
        "fixed. In the bad case the proposal finds clearly fewer."
    )
    rows = []
    for role, name, candidate in inputs.pair:
        found = assessment(candidate)
        if found:
            sensitivity = found.get("sensitivity") or {}
            cells = {"protocol": name, "auc": found.get("auc"), "bootstrap": found.get("auc_bootstrap")}
            cells |= {
                "sensitivity": sensitivity.get("value"),
                "brier": found.get("brier"),
                "log_loss": found.get("log_loss"),
            }
            rows.append(Row(cells, role))
    if not rows:
        return not_applicable("operating", "Sensitivity at a fixed specificity", how, "these protocols were not judged")
    sensitivity = assessment(inputs.shown).get("sensitivity") or {}
    specificity = formats.percent(sensitivity.get("specificity"))
    columns = (
        Column("protocol", "Protocol"),
        Column("sensitivity", f"Sensitivity at {specificity} specificity", "auc_interval"),
        Column("auc", "AUC (DeLong)", "auc_interval"),
        Column("bootstrap", "AUC (bootstrap)", "auc_interval"),
        Column("brier", "Brier score", "auc_interval"),
        Column("log_loss", "Log-loss", "number_interval"),
    )
    value = formats.finite((sensitivity.get("value") or {}).get("value"))
    title = "Sensitivity could not be estimated"
    if value is not None:
        today = formats.finite(
            ((assessment(inputs.reference).get("sensitivity") or {}).get("value") or {}).get("value")
        )
        rest = f", {100 * today:.0f} today" if today is not None and inputs.changes else ""
        title = f"At {specificity} specificity {100 * value:.0f} of 100 positive patients are found{rest}"
    return Card("operating", title, how, table=Table("Operating point and scores", columns, tuple(rows)))


def flips(inputs: Inputs) -> Card:
    """Return how many diagnoses change between today's protocol and the proposal, both ways."""
    how = (
        "Patients who would be called otherwise than today, at the agreed specificity and at each probability from "
        "which one would act. In the bad case many more positive patients are missed than found."
    )
    found = inputs.data.get("flips")
    if not inputs.changes:
        return not_applicable("flips", "Whose diagnosis changes", how, "today's protocol stays as it is")
    if not found:
        reason = "this run was made before reports showed it; run the recommend stage again"
        return not_applicable("flips", "Whose diagnosis changes", how, reason)
    rows = []
    for entry in found:
        at = (
            f"at {formats.percent(entry['specificity'])} specificity"
            if "specificity" in entry
            else f"acting from {formats.percent(entry['threshold'])}"
        )
        rows.append(Row({"at": at, **{name: entry[name] for name in ("missed", "found", "alarmed", "spared")}}))
    first = found[0]
    n = first["positive"] or 1.0
    lost, gained = first["missed"], first["found"]
    title = (
        f"Of {formats.count(first['positive'])} positive patients {formats.count(lost)} found today would be missed, "
        f"{formats.count(gained)} missed today would be found"
    )
    columns = (
        Column("at", ""),
        Column("missed", "Positive, now missed", "count"),
        Column("found", "Positive, now found", "count"),
        Column("alarmed", "Negative, now alarmed", "count"),
        Column("spared", "Negative, now spared", "count"),
    )
    return Card(
        "flips",
        title,
        how,
        "attention" if lost - gained > _MANY_LOST * n else "ok",
        Table("Diagnoses that change, mean over rounds of judging", columns, tuple(rows)),
    )


def nested(inputs: Inputs) -> Card:
    """Return what the procedure is worth when the choice itself is repeated on patients it does not judge."""
    how = (
        "The winner of many is a little lucky; here search and choice were repeated without the judging patients. "
        "In the bad case this AUC is clearly below the one above, or the picks disagree."
    )
    found = inputs.data.get("nested")
    if found and formats.finite((found.get("auc") or {}).get("value")) is None:
        reason = str(found.get("text") or "the AUC of the procedure could not be estimated")
        return not_applicable("nested", "Honest estimate of the whole procedure", how, reason)
    if not found:
        reason = "the choice was made once, beforehand, so there is nothing to repeat; or the split has one fold only"
        return not_applicable("nested", "Honest estimate of the whole procedure", how, reason)
    columns = (Column("reading", "Picked protocol"), Column("share", "Share of repeats", "percent"))
    picks = sorted(
        found.get("picks") or (), key=lambda pick: (-(formats.finite(pick.get("share")) or 0.0), pick["key"])
    )
    rows = tuple(Row({"reading": p["reading"], "share": p["share"]}, inputs.role(p["key"])) for p in picks)
    optimism = formats.auc(found.get("optimism"))
    lines = [
        f"AUC of the procedure {formats.with_limits(found.get('auc'))}",
        f"difference to today {formats.with_limits(found.get('difference'), formats.signed)}",
        f"optimism of the choice {optimism}",
    ]
    return Card(
        "nested",
        f"Repeated blindly, the procedure reaches AUC {formats.with_limits(found.get('auc'))}",
        how,
        table=Table("What was picked", columns, rows),
        lists=(("", tuple(lines)),),
        paragraphs=(str(found["text"]),) if found.get("text") else (),
        data={"auc": found.get("auc"), "difference": found.get("difference"), "optimism": found.get("optimism")},
    )


def _pairs(points: Any) -> list[tuple[float, float]]:
    pairs = ((formats.finite(x), formats.finite(y)) for x, y in points or ())
    return [(x, y) for x, y in pairs if x is not None and y is not None]


def _or(value: Any, default: Any) -> Any:
    return default if formats.finite(value) is None else value


def _over(value: Any, least: float) -> bool:
    found = formats.finite(value)
    return found is not None and found > least


def _line(role: str, name: str, x: list[Any], y: list[Any], *, markers: bool = False) -> go.Scatter:
    look: Mapping[str, Any] = _LOOK[role]
    colour = figures.COLOURS[look["token"]]
    return go.Scatter(
        x=x,
        y=y,
        name=name,
        mode="lines+markers" if markers else "lines",
        line={"color": colour, "width": 2.5 if role == "proposal" else 2, "dash": look["dash"]},
        marker={"color": colour, "symbol": look["symbol"], "size": 9},
        hovertemplate="%{x:.3f}, %{y:.3f}<extra>" + name + "</extra>",
        meta=figures.coloured(line__color=look["token"], marker__color=look["token"]),
    )


def _plain_line(name: str, x: list[Any], y: list[Any], token: str, dash: str) -> go.Scatter:
    line = {"color": figures.COLOURS[token], "width": 1.5, "dash": dash}
    return go.Scatter(
        x=x, y=y, name=name, mode="lines", line=line, hoverinfo="skip", meta=figures.coloured(line__color=token)
    )
