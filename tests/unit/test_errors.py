from __future__ import annotations

import pickle

import pytest

from scanwise.errors import ScanwiseError, did_you_mean


def test_the_text_is_the_invariant_and_below_it_the_cure():
    error = ScanwiseError("n must be above 0, but got -1", "leave it out")
    assert str(error) == "n must be above 0, but got -1\n  -> leave it out"
    assert (error.message, error.hint) == ("n must be above 0, but got -1", "leave it out")


def test_without_a_hint_there_is_one_line():
    assert str(ScanwiseError("nothing to do")) == "nothing to do"


def test_it_is_not_an_error_that_broad_handlers_of_values_catch():
    assert not issubclass(ScanwiseError, (ValueError, OSError, KeyError, RuntimeError))


def test_message_and_hint_travel_between_processes():
    error = pickle.loads(pickle.dumps(ScanwiseError("wrong", "mend it")))  # noqa: S301
    assert isinstance(error, ScanwiseError)
    assert (error.message, error.hint) == ("wrong", "mend it")


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("mony", ["money", "minutes"], "did you mean 'money'?"),
        ("t1", ["t1w", "t1c", "t2w", "ct"], "did you mean 't1w' or 't1c'?"),
        ("pet", ["money", "minutes"], "known: minutes, money"),
        ("pet", [], "nothing is known here"),
        ("money", iter(["minutes", "money"]), "did you mean 'money'?"),
    ],
)
def test_suggestions(name, known, hint):
    assert did_you_mean(name, known) == hint
