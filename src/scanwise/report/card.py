"""Cards: what a report consists of, as plain data; nothing here draws or computes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Status = Literal["ok", "attention", "not applicable", "error"]
"""``"attention"`` = the finding is a bad case that a reader must not miss."""

_DIGITS = 6


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    id: str
    label: str
    format: str = "text"
    """How `scanwise.report.formats.cell` writes it: ``"auc"``, ``"auc_interval"``, ``"axis:money"`` ..."""

    @property
    def numeric(self) -> bool:
        """Whether cells are set flush right."""
        return self.format not in ("text", "verdict", "flag", "severity")


@dataclass(frozen=True)
class Row:
    """One row of a table: ``{column id: value}`` and its role, e.g. ``"proposal"``, ``"reference"`` or ``"total"``."""

    cells: Mapping[str, Any]
    role: str = ""


@dataclass(frozen=True)
class Table:
    """Numbers of a card, unrounded to the eye; a figure shows nothing that is not in its table."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "caption": self.caption,
            "columns": [{"id": c.id, "label": c.label, "format": c.format} for c in self.columns],
            "rows": [
                {"role": row.role, "cells": {c.id: plain(row.cells.get(c.id)) for c in self.columns}}
                for row in self.rows
            ],
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Table:
        """Return the table that `to_dict` wrote."""
        columns = tuple(Column(c["id"], c["label"], c["format"]) for c in content["columns"])
        return cls(content["caption"], columns, tuple(Row(row["cells"], row["role"]) for row in content["rows"]))

    def column(self, name: str) -> list[Any]:
        """Return the values of one column, top to bottom."""
        return [row.cells.get(name) for row in self.rows]


@dataclass(frozen=True)
class Card:
    """One finding: a title that states it, how to read it, its numbers and, where it helps, a figure.

    Either `status` is ``"not applicable"`` or ``"error"`` and `not_applicable_reason` says why, or there is content.
    """

    id: str
    title: str
    how_to_read: str
    """One or two sentences, what the bad case looks like included."""
    status: Status = "ok"
    table: Table | None = None
    figure: dict[str, Any] | None = None
    """Plain Plotly JSON: ``{"data": [...], "layout": {...}}``."""
    alt: str = ""
    """The finding of the figure in words, for those who do not see it."""
    lists: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """``(heading, items)``; the heading may be empty."""
    paragraphs: tuple[str, ...] = ()
    data: Mapping[str, Any] = field(default_factory=dict)
    """What the page needs beyond table and figure, e.g. the text of every slider position."""
    not_applicable_reason: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {
            "id": self.id,
            "title": self.title,
            "how_to_read": self.how_to_read,
            "status": self.status,
            "table": None if self.table is None else self.table.to_dict(),
            "figure": plain(self.figure),
            "alt": self.alt,
            "lists": [{"heading": heading, "items": list(items)} for heading, items in self.lists],
            "paragraphs": list(self.paragraphs),
            "data": plain(self.data),
            "not_applicable_reason": self.not_applicable_reason,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Card:
        """Return the card that `to_dict` wrote."""
        return cls(
            content["id"],
            content["title"],
            content["how_to_read"],
            content["status"],
            None if content["table"] is None else Table.from_dict(content["table"]),
            content["figure"],
            content["alt"],
            tuple((one["heading"], tuple(one["items"])) for one in content["lists"]),
            tuple(content["paragraphs"]),
            content["data"],
            content["not_applicable_reason"],
        )

    def __repr__(self) -> str:
        parts = [f"{len(self.table.rows)} rows" if self.table else "", "figure" if self.figure else ""]
        content = ", ".join(part for part in parts if part) or self.status
        return f"Card({self.id!r}, {self.title!r}, {content})"


def not_applicable(card_id: str, title: str, how_to_read: str, reason: str) -> Card:
    """Return a card that says why it has nothing to show."""
    return Card(card_id, title, how_to_read, status="not applicable", not_applicable_reason=reason)


def plain(value: Any) -> Any:
    """Return JSON data with floats rounded to six digits behind the point; NaN and infinities become None."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, str) or value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return round(value, _DIGITS) + 0.0 if math.isfinite(value) else None
    if isinstance(value, Sequence):
        return [plain(item) for item in value]
    return plain(value.item()) if hasattr(value, "item") else str(value)
