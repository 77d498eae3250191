"""Guards that may veto, and the leakage audit, worst first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from scanwise.report import formats
from scanwise.report.card import Card, Column, Row, Table, not_applicable
from scanwise.report.inputs import Inputs

SEVERITIES = ("fail", "warning", "info", "pass")
"""Worst first; what is not in this list is treated as the worst."""


def guards(inputs: Inputs) -> Card:
    """Return the guards."""
    how = (
        "Checks that may forbid a change. In the bad case one of them fails with a veto, and the advice is to "
        "change nothing."
    )
    return _card("guards", "Guards", inputs.data.get("guards"), how)


def audit(inputs: Inputs) -> Card:
    """Return the leakage audit."""
    how = (
        "Looks for data that know the diagnosis for the wrong reason, e.g. a feature measured with the help of another "
        "test. In the bad case a finding here explains a surprisingly good protocol."
    )
    return _card("audit", "Leakage audit", inputs.data.get("audit"), how)


def rank(severity: Any) -> int:
    """Return the place of a severity, 0 = worst."""
    return SEVERITIES.index(severity) if severity in SEVERITIES else 0


def _card(card_id: str, name: str, checks: Iterable[Mapping[str, Any]] | None, how: str) -> Card:
    found = sorted(
        checks or (), key=lambda check: (rank(check.get("severity")), not check.get("vetoes"), str(check.get("id")))
    )
    if not found:
        return not_applicable(card_id, name, how, "no checks were run")
    rows = []
    for check in found:
        severity = SEVERITIES[rank(check.get("severity"))]
        veto = severity == "fail" and bool(check.get("vetoes"))
        cells = {
            "severity": severity,
            "title": check.get("title") or check.get("id"),
            "detail": check.get("detail") or "",
        }
        rows.append(Row({**cells, "vetoes": veto}, severity))
    counts = {severity: sum(row.role == severity for row in rows) for severity in SEVERITIES}
    vetoes = sum(bool(row.cells["vetoes"]) for row in rows)
    parts = [
        f"{counts['fail']} failed" if counts["fail"] else "",
        formats.plural(counts["warning"], "warning") if counts["warning"] else "",
        f"{counts['pass'] + counts['info']} passed" if counts["pass"] + counts["info"] else "",
    ]
    summary = ", ".join(part for part in parts if part)
    veto_text = f"; {formats.plural(vetoes, 'veto', 'vetoes')}" if vetoes else ""
    columns = (
        Column("severity", "Result", "severity"),
        Column("title", "Check"),
        Column("detail", "What was found"),
        Column("vetoes", "Veto", "flag"),
    )
    status: Any = "attention" if counts["fail"] or counts["warning"] else "ok"
    return Card(
        card_id, f"{name}: {summary}{veto_text}", how, status, Table(f"{name}, worst first", columns, tuple(rows))
    )
