"""Files for a manuscript: methods in Markdown and LaTeX, the BibTeX entries they cite, and the filled-in checklists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from scanwise.report.checklist import SOURCES
from scanwise.report.markdown import escaped, opening, unavailable
from scanwise.report.methods import plain_text
from scanwise.report.references import latex
from scanwise.report.report import Report


def render_methods(report: Report) -> str:
    """Return ``methods.md``: the section with numbered citations."""
    section, lines = _section(report), opening(report, "Methods")
    if section is None:
        return "\n".join([*lines, unavailable(report.card("methods")), ""])
    paragraphs, numbered = plain_text(section)
    for paragraph, text in zip(section["paragraphs"], paragraphs, strict=True):
        lines += [f"## {paragraph['heading']}", "", escaped(text), ""]
    if numbered:
        lines += ["## References", "", *(f"{escaped(text)}  " for text in numbered), ""]
    return "\n".join(lines)


def render_latex(report: Report) -> str:
    """Return ``methods.tex``: a fragment for ``input``, which needs no package and cites ``references.bib``."""
    section = _section(report)
    lines = [
        "% Methods of a scanwise study, to be read with \\input{methods}; citations are in references.bib.",
        f"% Version {report.head['fingerprint']}. Letters beyond Latin need LuaLaTeX or XeLaTeX.",
    ]
    if section is None:
        reason = latex(str(report.card("methods").not_applicable_reason or ""))
        return "\n".join([*lines, f"The methods could not be written: {reason}", ""])
    if report.head["virtual"]:
        lines += [f"\\textbf{{{latex(report.head['banner'])}}}", ""]
    for paragraph in section["paragraphs"]:
        text = ""
        for piece in paragraph["pieces"]:
            if isinstance(piece, str):
                # blanks at the ends are ours, those inside are set by `latex`
                before, after = " " * piece.startswith(" "), " " * piece.endswith(" ")
                text += f"{before}{latex(piece)}{after}"
            else:
                text = f"{text.rstrip()}~\\cite{{{','.join(piece['cite'])}}}"
        lines += [f"\\paragraph{{{latex(paragraph['heading'])}.}}", text, ""]
    return "\n".join(lines)


def render_bibliography(report: Report) -> str:
    """Return ``references.bib``: what the section cites, nothing else."""
    section = _section(report)
    if section is None:
        return ""
    return "\n".join(entry["bibtex"] for entry in sorted(section["references"], key=lambda entry: entry["key"]))


def render_checklist(report: Report) -> str:
    """Return ``checklist.md``: one table per list."""
    card, lines = report.card("checklist"), opening(report, "Reporting checklists")
    if card.table is None:
        return "\n".join([*lines, unavailable(card), ""])
    lines += [
        "Filled in by scanwise from the recommendation; the wordings are short and ours, the lists themselves are the "
        "authority. An item counts as reported only where a card of the report shows it.",
        "",
    ]
    counts = card.title.split("; ")
    for (name, source), count in zip(SOURCES.items(), counts, strict=True):
        rows = [row for row in card.table.rows if str(row.cells["list"]).rpartition(" ")[0] == name]
        lines += [f"## {name}", "", f"**{escaped(count)}.**", "", f"{escaped(source.text)}", ""]
        lines += ["| Item | What is asked | Status | Where | Remark |", "| --- | --- | --- | --- | --- |"]
        for row in rows:
            number = str(row.cells["list"]).rpartition(" ")[2]
            cells = [escaped(row.cells[column]) for column in ("item", "status", "where", "remark")]
            lines.append(f"| {number} | " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


def _section(report: Report) -> Mapping[str, Any] | None:
    section = report.card("methods").data
    return section if section.get("paragraphs") else None
