"""The report: cards computed from ``recommendation.json``, rendered as one offline page, Markdown and JSON.

Needs neither torch nor Optuna; the only importer of Plotly.
"""

from __future__ import annotations

from scanwise.report.card import Card, Column, Row, Table
from scanwise.report.html import render_html
from scanwise.report.index import build_index, refresh_index, render_index, write_index
from scanwise.report.markdown import render_markdown
from scanwise.report.report import Report, build_report
from scanwise.report.writing import render_again, write_report

__all__ = [
    "Card",
    "Column",
    "Report",
    "Row",
    "Table",
    "build_index",
    "build_report",
    "refresh_index",
    "render_again",
    "render_html",
    "render_index",
    "render_markdown",
    "write_index",
    "write_report",
]
