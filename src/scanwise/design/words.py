"""Words for people: lists with an "and", sentences that begin with a capital."""

from __future__ import annotations

from collections.abc import Sequence


def listed(words: Sequence[str]) -> str:
    """Return words as a list: ``"T2W"``, ``"T2W and DCE"``, ``"T1, T2W and DCE"``."""
    return words[0] if len(words) == 1 else ", ".join(words[:-1]) + " and " + words[-1]


def capitalised(text: str) -> str:
    """Return text with a capital at its beginning, the rest as it is: ``"pH of blood"`` becomes ``"PH of blood"``."""
    return text[:1].upper() + text[1:]
