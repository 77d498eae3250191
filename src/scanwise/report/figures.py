"""The visual language of all figures: palette, template, and text that is safe inside Plotly.

Colours are given twice: as values, so that a figure looks right in a notebook, and as names in ``meta.tokens`` of a
trace (or ``name`` of a shape or annotation), so that the page can repaint it for light, dark and print.
"""

from __future__ import annotations

import json
from typing import Any

import plotly.graph_objects as go

from scanwise.report.card import plain

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
        "xaxis": {**_AXIS, "showgrid": False},
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


def spec(traces: list[go.Scatter], *, height: int, **layout: Any) -> dict[str, Any]:
    """Return plain, rounded Plotly JSON of a figure in our template; unknown properties are refused by Plotly."""
    figure = go.Figure(data=traces, layout={"template": TEMPLATE, "height": height, "autosize": True, **layout})
    found: dict[str, Any] = plain(json.loads(figure.to_json()))
    return found


def coloured(**tokens: str) -> dict[str, Any]:
    """Return the ``meta`` of a trace: property path with ``__`` for a dot, and the name of its colour."""
    return {"tokens": {path.replace("__", "."): name for path, name in tokens.items()}}


def shorten(text: Any, longest: int) -> str:
    """Return text on one line, cut with an ellipsis where it is longer."""
    line = " ".join(str(text).split())
    return line if len(line) <= longest else line[: longest - 1].rstrip() + "…"


def plot_text(text: Any, longest: int = 40) -> str:
    """Return text that Plotly shows as it is: no tags, one line, not too long."""
    blank = " " if str(text).endswith(" ") else ""
    line = shorten(text, longest) + blank
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


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


def note(text: str, token: str, **where: Any) -> dict[str, Any]:
    """Return a label without an arrow."""
    return {"text": text, "showarrow": False, "font": {"color": COLOURS[token], "size": 12}, "name": token, **where}
