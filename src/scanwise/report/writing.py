"""Writing a report into a run folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scanwise.artifacts import read_json, write_json, write_text
from scanwise.report.card_page import render_card_page
from scanwise.report.html import render_html
from scanwise.report.manuscript import render_bibliography, render_checklist, render_latex, render_methods
from scanwise.report.markdown import render_markdown
from scanwise.report.report import Report, build_report

_RENDERED = {
    "dashboard.html": render_html,
    "protocol-card.md": render_markdown,
    "protocol-card.html": render_card_page,
    "methods.md": render_methods,
    "methods.tex": render_latex,
    "references.bib": render_bibliography,
    "checklist.md": render_checklist,
}


def write_report(recommendation: Mapping[str, Any], directory: Path | str) -> Report:
    """Build the report and write it into a folder.

    ``report.json`` is the truth; the others render it: ``dashboard.html``, the protocol card (``protocol-card.md``, and
    ``protocol-card.html`` to print), the methods section (``methods.md``, ``methods.tex`` with ``references.bib``) and
    the reporting checklists (``checklist.md``).

    Raises
    ------
    ScanwiseError
        If this is not a recommendation, or a file cannot be written.
    """
    content = build_report(recommendation).to_dict()
    report = Report.from_dict(content)  # what is drawn is what is written, rounded alike
    texts = {name: render(report) for name, render in _RENDERED.items()}
    folder = Path(directory)
    write_json(folder / "report.json", content)
    for name, text in texts.items():
        write_text(folder / name, text)
    return report


def render_again(file: Path | str, directory: Path | str) -> list[Path]:
    """Draw a ``report.json`` again, such as a published one; return what was written: all that `write_report` renders.

    Raises
    ------
    ScanwiseError
        If the file is not a report, or a file cannot be written.
    """
    report = Report.from_dict(read_json(Path(file)))
    texts = {Path(directory) / name: render(report) for name, render in _RENDERED.items()}
    for path, text in texts.items():
        write_text(path, text)
    return list(texts)
