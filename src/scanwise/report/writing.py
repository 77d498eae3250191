"""Writing a report into a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scanwise.artifacts import write_json, write_text
from scanwise.report.html import render_html
from scanwise.report.markdown import render_markdown
from scanwise.report.report import Report, build_report


def write_report(recommendation: Mapping[str, Any], directory: Path | str) -> Report:
    """Build the report and write ``report.json``, ``dashboard.html`` and ``protocol-card.md`` into a folder.

    Raises
    ------
    ScanwiseError
        If this is not a recommendation, or a file cannot be written.
    """
    report = build_report(recommendation)
    page, card = render_html(report), render_markdown(report)
    folder = Path(directory)
    write_json(folder / "report.json", report.to_dict())
    write_text(folder / "dashboard.html", page)
    write_text(folder / "protocol-card.md", card)
    return report
