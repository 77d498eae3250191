"""Sampling patterns as the physicist knows them: k-space lines, averages per b-value, frames on a time line, views.

A drawing is plain data in a box of its own units: rectangles of shots that are taken and of shots that are not, rays,
and labels; the page draws it as SVG.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

WIDTH, HEIGHT = 320.0, 56.0
"""Of a drawing whose shots lie side by side."""
_SIDE = 120.0
"""Of a drawing with two dimensions."""
_LABELS = 14.0
"""Room for labels below the shots."""
_TICK = 2.0
"""Height of a shot that is not taken."""
_FEW = 16
"""With so many shots or fewer, each has its label and its count."""


def drawing(layout: Mapping[str, Any], counts: Sequence[int], most: int) -> dict[str, Any]:
    """Return the drawing of one pattern.

    Parameters
    ----------
    layout : ``{kind, shots, position}`` of the modality.
    counts : how often each shot is taken, shape ``(shots,)``; all 0 = nothing is acquired.
    most : count that is drawn in full height.

    Returns
    -------
    ``{"width", "height", "on": [[x, y, width, height]], "off": [...], "rays": [[x1, y1, x2, y2]], "labels": [[x, y,
    text, anchor]]}``.
    """
    position = layout.get("position")
    if layout["kind"] == "views" and position is not None:
        return _fan(position, counts)
    if layout["kind"] in ("phase encodes", "dynamic lines") and position is not None:
        return _grid(position, counts, most)
    return _row(layout, counts, most)


def _empty(width: float, height: float) -> dict[str, Any]:
    return {"width": width, "height": height, "on": [], "off": [], "rays": [], "labels": []}


def _row(layout: Mapping[str, Any], counts: Sequence[int], most: int) -> dict[str, Any]:
    """Shots side by side, as high as they are averaged."""
    found, n = _empty(WIDTH, HEIGHT + _LABELS), len(counts)
    step = WIDTH / n
    width = step * (0.8 if n > _FEW else 0.6)
    for at, count in enumerate(counts):
        left = at * step + (step - width) / 2
        height = _TICK if not count else _TICK + (HEIGHT - _TICK - _LABELS) * count / max(most, 1)
        bar = [left, HEIGHT - height, width, height]
        found["on" if count else "off"].append([round(value, 2) for value in bar])
        if n <= _FEW and count and most > 1:
            found["labels"].append([round(left + width / 2, 2), round(HEIGHT - height - 3, 2), str(count), "middle"])
    names = list(layout["shots"])
    shown = range(n) if n <= _FEW else (0, n // 2, n - 1)
    for at in shown:
        anchor = "middle" if 0 < at < n - 1 or n <= _FEW else "start" if at == 0 else "end"
        x = (at + 0.5) * step if anchor == "middle" else 0.0 if at == 0 else WIDTH
        found["labels"].append([round(x, 2), HEIGHT + _LABELS - 3, _short(names[at], n), anchor])
    return found


def _fan(angles: Sequence[float], counts: Sequence[int]) -> dict[str, Any]:
    """Views or spokes around the middle."""
    found = _empty(_SIDE, _SIDE)
    middle, inner, outer = _SIDE / 2, 0.15 * _SIDE, 0.48 * _SIDE
    for angle, count in zip(angles, counts, strict=True):
        if count:
            x, y = math.cos(angle), -math.sin(angle)
            ray = [middle + inner * x, middle + inner * y, middle + outer * x, middle + outer * y]
            found["rays"].append([round(value, 2) for value in ray])
    return found


def _grid(position: Sequence[Sequence[float]], counts: Sequence[int], most: int) -> dict[str, Any]:
    """Phase encodes of a volume, or lines (up) of frames (to the right)."""
    found = _empty(_SIDE, _SIDE)
    columns = int(max(place[0] for place in position)) + 1
    rows = int(max(place[1] for place in position)) + 1
    width, height = _SIDE / columns, _SIDE / rows
    for (column, row), count in zip(position, counts, strict=True):
        if count:
            share = 0.4 + 0.6 * count / max(most, 1)
            box = [column * width, row * height + height * (1 - share) / 2, 0.9 * width, 0.9 * height * share]
            found["on"].append([round(value, 2) for value in box])
    return found


def _short(name: str, n: int) -> str:
    longest = max(3, int(WIDTH / max(n, 3) / 6)) if n <= _FEW else 12
    return name if len(name) <= longest else name[: longest - 1] + "…"
