from __future__ import annotations

import numpy as np
import pytest

from scanwise.design import Fold
from scanwise.errors import ScanwiseError


def fold(learn: list[int], inner: list[int], tune: list[int], test: list[int]) -> Fold:
    return Fold(2, 3, *(np.array(part, dtype=np.int64) for part in (learn, inner, tune, test)))


def test_a_holdout_and_a_crossfit_fold():
    assert fold([0, 1, 2], [-1, -1, -1], [3], [4, 5]).name == "r2f3"
    assert repr(fold([0, 1, 2], [0, 1, 0], [0, 1, 2], [4, 5])) == "Fold(r2f3: learn 3, tune 3, test 2)"


@pytest.mark.parametrize(
    ("learn", "inner", "tune", "test", "message"),
    [
        ([0, 1, 2], [0, 1, 0], [0, 1, 2], [2, 3], "1 judging patients are also in the learning or searching part"),
        ([0, 1], [-1, -1], [2, 3], [2, 3], "2 judging patients are also in the learning or searching part"),
        ([0, 1, 2], [-1, -1, -1], [2, 3], [4], "look at 1 patients that every network learned from"),
        ([0, 1, 2], [0, -1, 1], [0, 1], [4], "look at 1 patients that every network learned from"),
        ([0, 1, 2], [0, 1], [3], [4], "one inner fold per learning patient"),
        ([0, 1, 1], [0, 1, 0], [0], [4], "a patient is in `learn` twice"),
        ([0, 1], [-1, -1], [2, 2], [4], "a patient is in `tune` twice"),
        ([0, 1], [-1, -1], [2], [4, 4], "a patient is in `test` twice"),
    ],
)
def test_a_leak_is_refused(learn, inner, tune, test, message):
    with pytest.raises(ScanwiseError, match=message):
        fold(learn, inner, tune, test)
