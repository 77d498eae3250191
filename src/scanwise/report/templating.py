"""Templates, and how data are put into a page."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from scanwise.report.card import plain


@cache
def environment() -> Environment:
    """Return the templates of the report; every text is escaped, a name that is not given is an error."""
    return Environment(
        loader=PackageLoader("scanwise.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def source(name: str) -> str:
    """Return a file of the templates as it is: a style sheet, a script."""
    loader = environment().loader
    assert loader is not None  # noqa: S101 - for mypy
    return loader.get_source(environment(), name)[0]


def embedded(value: Any) -> str:
    """Return JSON that no text can break out of a script element with."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text
