"""Lists with an "and", and sentences that begin with a capital."""

from __future__ import annotations

import pytest

from scanwise.design import capitalised, listed


@pytest.mark.parametrize(
    ("words", "text"), [(["T2W"], "T2W"), (["T2W", "DCE"], "T2W and DCE"), (["T1", "T2W", "DCE"], "T1, T2W and DCE")]
)
def test_words_are_listed(words, text):
    assert listed(words) == text


@pytest.mark.parametrize(("text", "found"), [("leave out T2W", "Leave out T2W"), ("", ""), ("DWI", "DWI")])
def test_sentences_begin_with_a_capital(text, found):
    assert capitalised(text) == found
