"""The one exception that reaches a user as a plain message (imports nothing, may be imported anywhere)."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScanwiseError(Exception):
    """Something the user can mend: what must hold, the offending value, and the cure.

    The command line prints it in two lines and leaves with exit code 2; nothing has been half-written.

    Parameters
    ----------
    message : what must hold and which value breaks it.
    hint : what to do about it, one sentence, or empty.
    """

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n  -> {self.hint}" if self.hint else self.message


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a hint naming the closest known names, or all of them where none is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.6)
    if close:
        return "did you mean " + " or ".join(repr(match) for match in close) + "?"
    return "known: " + ", ".join(names) if names else "nothing is known here"
