"""First screen: what it costs against today, what to order, what other budgets buy, what would change the advice."""

from __future__ import annotations

from typing import Any

from scanwise.report import formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs, assessment, auc_of, versus

_MANY_AXES = 3
"""With more cost axes, those on which nothing changes have no tile."""


def tiles(inputs: Inputs) -> Card:
    """Return the cost on every priced axis, the diagnosis and the number of patients, as tiles."""
    shown, reference = inputs.shown, inputs.reference
    rows = []
    for axis in inputs.axes:
        now, today = inputs.cost_of(shown, axis), inputs.cost_of(reference, axis)
        change = None if now is None or not today else now / today - 1
        scanning = inputs.scan_minutes(shown) if axis == "minutes" else None
        part = "" if scanning is None or not now or scanning == now else f"; {inputs.price(scanning, axis)} of scanning"
        if len(inputs.axes) > _MANY_AXES and axis != inputs.primary and now == today:
            continue  # what stays as it is does not crowd the first screen; the bill has it
        cells = {
            "what": formats.AXIS_TITLES.get(axis, axis),
            "value": inputs.price(now, axis),
            "bar": None if now is None or not today else min(1.0, now / today),
            "detail": (f"today {inputs.price(today, axis)}" if inputs.chosen else "today; nothing fits the budget")
            + part,
            "change": None if change is None or not inputs.chosen else _change(change),
            "verdict": None,
        }
        rows.append(Row(cells, "better" if (change or 0) < 0 else "worse" if (change or 0) > 0 else "same"))
    found, comparison = auc_of(shown), versus(shown)
    margin = f", margin {formats.margin(inputs.margin)}" if inputs.margin is not None else ""
    if inputs.changes:
        difference = formats.with_limits(comparison.get("difference"), formats.signed)
        detail = f"today {formats.auc(auc_of(reference).get('value'))}, difference {difference}{margin}"
    else:
        detail = "the yardstick every other protocol is compared with"
    cells = {
        "what": f"Diagnosis (AUC, {inputs.level} interval)",
        "value": formats.auc(found.get("value")),
        "bar": formats.finite(found.get("value")),
        "detail": f"{formats.limits(found)}; {detail}",
        "change": None,
        "verdict": inputs.verdict(shown),
    }
    rows.append(Row(cells, "diagnosis"))
    n, positive = assessment(shown).get("n"), assessment(shown).get("n_positive")
    kinds = {"crossfit": "each judged by networks that had not seen them", "site": "from sites held out"}
    kind = (inputs.data.get("split") or {}).get("kind", "")
    cells = {
        "what": "Patients judged",
        "value": formats.count(n),
        "bar": positive / n if n else None,
        "detail": f"{formats.count(positive)} positive; {kinds.get(kind, 'none of them seen by the search')}",
        "change": None,
        "verdict": None,
    }
    rows.append(Row(cells, "patients"))
    names = ("what", "value", "detail", "change", "verdict")
    columns = (*(Column(name, name) for name in names), Column("bar", "share", "percent"))
    title = "The proposal against today's protocol" if inputs.changes else "Today's protocol"
    how = (
        "Bars compare the proposal with today; in the bad case a bar is as long as today's and the diagnosis still "
        "worse."
    )
    return Card("tiles", title, how, table=Table(title, columns, tuple(rows)))


def order(inputs: Inputs) -> Card:
    """Return what to order: every modality today and in the proposal, with its own price."""
    today = inputs.parts(inputs.reference)
    proposed = inputs.parts(inputs.shown)
    axis = inputs.primary
    rows = []
    for name, title in inputs.titles.items():
        was, becomes = today.get(name), proposed.get(name)
        if was is None and becomes is None:
            continue
        role = "same" if was == becomes else "out" if becomes is None else "new" if was is None else "changed"
        now = "left out" if becomes is None else _detail(becomes, title)
        cells = {
            "modality": title,
            "today": "not done" if was is None else _detail(was, title),
            "proposed": now,
            "cost_today": None if was is None else inputs.test_cost(inputs.reference, name, axis),
            "cost_proposed": None if becomes is None else inputs.test_cost(inputs.shown, name, axis),
        }
        rows.append(Row(cells, role))
    fees: dict[str, list[float]] = {}
    for index, candidate in enumerate((inputs.reference, inputs.shown)):
        for line in candidate.get("bill") or ():
            if line["kind"] == "setup":
                fees.setdefault(str(line["label"]), [0.0, 0.0])[index] = formats.finite(line["cost"].get(axis)) or 0.0
    for label, (was_cost, now_cost) in fees.items():
        if was_cost or now_cost:
            role = "fee" if bool(was_cost) == bool(now_cost) else "fee out" if was_cost else "fee new"
            words = [
                "paid" if amount else "saved" if role == "fee out" else "not paid" for amount in (was_cost, now_cost)
            ]
            cells = {"modality": label, "today": words[0], "proposed": words[1]}
            rows.append(Row({**cells, "cost_today": was_cost or None, "cost_proposed": now_cost or None}, role))
    total = {"modality": "In total", "today": "", "proposed": ""}
    total_costs = {
        "cost_today": inputs.cost_of(inputs.reference, axis),
        "cost_proposed": inputs.cost_of(inputs.shown, axis),
    }
    rows.append(Row({**total, **total_costs}, "total"))
    roles = [row.role for row in rows]
    unit = formats.AXIS_TITLES.get(axis, axis).lower()
    columns: tuple[Column, ...] = (
        Column("modality", "Test"),
        Column("today", "Today"),
        Column("proposed", "Proposed"),
        Column("cost_today", f"{formats.AXIS_SHORT.get(axis, axis)} today", f"axis:{axis}"),
        Column("cost_proposed", f"{formats.AXIS_SHORT.get(axis, axis)} proposed", f"axis:{axis}"),
    )
    kept = roles.count("same") + roles.count("changed")
    parts = [
        f"Leave out {roles.count('out')}" if "out" in roles else "",
        f"change {roles.count('changed')}" if "changed" in roles else "",
        f"add {roles.count('new')}" if "new" in roles else "",
        f"keep {kept} of {len(today)} tests",
    ]
    title = ", ".join(part for part in parts if part)
    if inputs.chosen is None:
        title = f"Nothing to order; today's {formats.plural(len(today), 'test')} for comparison"
        columns = tuple(column for column in columns if "proposed" not in column.id)
    elif not inputs.changes:
        title = f"Order the same {formats.plural(len(today), 'test')} as today"
    how = (
        f"What stands on the request form, with the {unit} of each line; session fees are shared and paid once. "
        "In the bad case something you rely on for another question is struck out here."
    )
    return Card("order", title[0].upper() + title[1:], how, table=Table("What to order", columns, tuple(rows)))


def ladder(inputs: Inputs) -> Card:
    """Return the advice for every budget along the primary axis."""
    how = (
        "Each row holds from its budget up to the next one. In the bad case the diagnosis falls below the margin "
        "as soon as the budget shrinks a little."
    )
    rungs = rungs_of(inputs)
    if not rungs:
        return not_applicable("ladder", "Other budgets", how, "the recommendation was made for one budget only")
    rows = []
    for rung in rungs:
        candidate = inputs.by_key.get(rung["key"]) if rung["key"] else None
        cells = {
            "limit": rung["limit"],
            "reading": candidate["reading"] if candidate else "nothing fits",
            "auc": auc_of(candidate) or None,
            "difference": versus(candidate).get("difference"),
            "verdict": inputs.verdict(candidate) if candidate else None,
        }
        if candidate and candidate["key"] == inputs.vetoed:
            cells["reading"] += " (vetoed by a guard)"
        rows.append(Row(cells, inputs.role(rung["key"])))
    columns = (
        Column("limit", "Budget from", f"axis:{inputs.primary}"),
        Column("reading", "Advice"),
        Column("auc", f"AUC ({inputs.level})", "auc_interval"),
        Column("difference", "Against today", "signed_interval"),
        Column("verdict", "Verdict", "verdict"),
    )
    sound = [
        rung
        for rung in rungs
        if inputs.verdict(inputs.by_key.get(rung["key"] or "")) in ("better", "non-inferior", "reference")
        and (rung["key"] or "") != inputs.vetoed
    ]
    if sound:
        title = f"From {inputs.price(sound[0]['limit'])} on the diagnosis is shown to hold"
    else:
        title = "At no budget is the diagnosis shown to hold"
    if inputs.vetoed:
        title += "; a guard forbids what the rule picked"
    return Card("ladder", title, how, "ok" if sound else "attention", Table("Advice per budget", columns, tuple(rows)))


def reasons(inputs: Inputs) -> Card:
    """Return why this is the advice, and what would change it."""
    how = (
        "Computed by moving one assumption at a time. In the bad case a change smaller than what you do not know "
        "stands here."
    )
    why = tuple(str(reason) for reason in inputs.decision.get("reasons") or ())
    what = tuple(str(item) for item in inputs.data.get("sensitivity") or ())
    if not why and not what:
        reason = "the recommend stage wrote neither reasons nor sensitivities"
        return not_applicable("reasons", "What would change this advice", how, reason)
    lists = ((("", what),) if what else ()) + ((("Why this advice", why),) if why else ())
    return Card("reasons", "What would change this advice" if what else "Why this advice", how, lists=lists)


def rungs_of(inputs: Inputs) -> list[dict[str, Any]]:
    """Return the ladder, cheapest first, and the words the page says at each rung."""
    entries = sorted(inputs.data.get("ladder") or (), key=lambda entry: entry["limit"])
    rungs = []
    for index, entry in enumerate(entries):
        upper = f" up to {inputs.price(entries[index + 1]['limit'])}" if index + 1 < len(entries) else " on"
        candidate = inputs.by_key.get(entry.get("key") or "")
        where = f"From {inputs.price(entry['limit'])}{upper}"
        if candidate is None:
            text = f"{where}: nothing on the menu fits."
        else:
            verdict = inputs.verdict(candidate)
            words = {
                "reference": "today's protocol",
                "inferior": "worse than today by more than the margin",
                "undecided": "not shown to keep today's diagnosis",
                "non-inferior": "non-inferior to today's protocol",
                "better": "better than today's protocol",
            }.get(verdict, verdict)
            text = f"{where}: {candidate['reading']}. AUC {formats.with_limits(auc_of(candidate))}, {words}."
            if candidate["key"] == inputs.vetoed:
                text += " A guard forbids this change."
        rungs.append({"limit": entry["limit"], "key": entry.get("key"), "status": entry.get("status"), "text": text})
    return rungs


def _change(share: float) -> str:
    rounded = round(100 * share)
    return "unchanged" if rounded == 0 else f"{formats.MINUS if rounded < 0 else '+'}{abs(rounded)} %"


def _detail(part: str, title: str) -> str:
    rest = part.removeprefix(title).strip(" ,")
    if rest.startswith("(") and rest.endswith(")"):
        rest = rest[1:-1]
    return "done" if part == title else rest or part
