"""The visual language of all figures: palette, template, and text that is safe inside Plotly.

Colours are given twice: as values, so that a figure looks right in a notebook, and as names in ``meta.tokens`` of a
trace (or ``name`` of a shape or annotation), so that the page can repaint it for light, dark and print.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from scanwise.report.card import plain
from scanwise.report.formats import MINUS, finite, margin, prefix

COLOURS = {
    "ink": "#14213d",
    "soft": "#5b6478",
    "line": "#dfe3ea",
    "card": "#ffffff",
    "blue": "#0072b2",
    "sky": "#56b4e9",
    "green": "#009e73",
    "orange": "#e69f00",
    "red": "#d55e00",
    "pink": "#cc79a7",
    "faint": "#8a93a6",
}
"""Okabe and Ito (2008) for data, greys for the rest; the style sheet has the same names for the dark scheme."""

FONT = 'ui-sans-serif, system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif'
_AXIS = {
    "showline": False,
    "zeroline": False,
    "ticks": "",
    "gridcolor": COLOURS["line"],
    "automargin": True,
    "title": {"standoff": 10, "font": {"size": 13}},
    "fixedrange": True,
}
TEMPLATE = go.layout.Template(
    layout={
        "font": {"family": FONT, "size": 13, "color": COLOURS["soft"]},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "colorway": [COLOURS[name] for name in ("blue", "orange", "green", "red", "sky", "pink")],
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "xaxis": {**_AXIS, "showgrid": False, "tickangle": 0},
        "yaxis": _AXIS,
        "legend": {
            "orientation": "h",
            "yanchor": "bottom",
            "y": 1.02,
            "xanchor": "left",
            "x": 0,
            "itemclick": False,
            "itemdoubleclick": False,
        },
        "hoverlabel": {"align": "left"},
        "dragmode": False,
        "hovermode": "closest",
    }
)


def spec(traces: list[Any], *, height: int, **layout: Any) -> dict[str, Any]:
    """Return plain, rounded Plotly JSON of a figure in our template; unknown properties are refused by Plotly."""
    figure = go.Figure(data=traces, layout={"template": TEMPLATE, "height": height, "autosize": True, **layout})
    found: dict[str, Any] = plain(json.loads(figure.to_json()))
    return found


def coloured(**tokens: str) -> dict[str, Any]:
    """Return the ``meta`` of a trace: property path with ``__`` for a dot, and the name of its colour."""
    return {"tokens": {path.replace("__", "."): name for path, name in tokens.items()}}


def error_bars(
    values: Sequence[float], lows: Sequence[Any], highs: Sequence[Any], token: str, *, thickness: float
) -> dict[str, Any]:
    """Return the error bars of a trace; a limit that is no number leaves its side without a bar."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [_length(high, value, value) for high, value in zip(highs, values, strict=True)],
        "arrayminus": [_length(value, low, value) for low, value in zip(lows, values, strict=True)],
        "color": COLOURS[token],
        "thickness": thickness,
        "width": 0,
    }


def _length(upper: Any, lower: Any, value: float) -> float:
    ends = [value if finite(end) is None else end for end in (upper, lower)]
    return float(ends[0] - ends[1])


def shorten(text: Any, longest: int) -> str:
    """Return text on one line, cut with an ellipsis where it is longer."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def plot_text(text: Any, longest: int = 40) -> str:
    """Return text that Plotly shows as it is: no tags, one line, not too long."""
    blank = " " if str(text).endswith(" ") else ""
    line = shorten(text, longest) + blank
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def wrapped(text: Any, width: int, lines: int = 2) -> str:
    """Return text on up to so many lines of about `width` characters, as safe for a plot as `plot_text`."""
    found = textwrap.wrap(" ".join(str(text).split()), width, max_lines=lines, placeholder="\u2026")
    return "<br>".join(plot_text(line, width) for line in found)


def tick_units(axis: str, currency: str) -> dict[str, Any]:
    """Return what stands before and after the ticks of an axis of costs."""
    before = prefix(axis, currency)
    suffix = {"minutes": " min", "msv": " mSv", "contrast_ml": " mL"}.get(axis, "")
    return {"tickprefix": plot_text(before) if before else "", "ticksuffix": suffix, "showtickprefix": "all"}


def vertical(x: float, token: str, *, dash: str = "dash", width: float = 1.5) -> dict[str, Any]:
    """Return a vertical line over the whole height."""
    line = {"color": COLOURS[token], "width": width, "dash": dash}
    return {
        "type": "line",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "yref": "paper",
        "line": line,
        "name": token,
        "layer": "below",
    }


def margin_line(size: float) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the line of the margin of non-inferiority below 0, and what it is called above the plot."""
    text = f"margin {MINUS}{margin(size)}"
    name = note(text, "red", x=-size, y=1.0, yref="paper", yanchor="bottom", xanchor="right")
    return vertical(-size, "red", width=2), name


def note(text: str, token: str, **where: Any) -> dict[str, Any]:
    """Return a label without an arrow."""
    return {"text": text, "showarrow": False, "font": {"color": COLOURS[token], "size": 12}, "name": token, **where}
