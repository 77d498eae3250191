from __future__ import annotations

import numpy as np
import pytest

from scanwise.design import Cost, Menu, Protocol, Setup, Subset, Whole
from scanwise.errors import ScanwiseError
from scanwise.modalities.panel import TestPanel

NAN = np.nan


def blood(**changes) -> TestPanel:
    shots = {"sodium": {"money": 1.5, "minutes": 2}, "lipids": {"setups": ["needle"]}, "free": None, **changes}
    return TestPanel("blood", shots)


def test_prices_become_a_shot_table():
    panel = blood(ct={"msv": 5, "contrast_ml": 60, "money": 80})
    assert panel.shots.names == ("sodium", "lipids", "free", "ct")
    np.testing.assert_array_equal(panel.shots.seconds, [120, 0, 0, 0])
    np.testing.assert_array_equal(panel.shots.money, [1.5, 0, 0, 80])
    np.testing.assert_array_equal(panel.shots.msv, [0, 0, 0, 5])
    np.testing.assert_array_equal(panel.shots.contrast_ml, [0, 0, 0, 60])
    assert panel.shots.setups == ((), ("needle",), (), ())
    assert panel.title == "blood"
    assert repr(panel) == "TestPanel('blood', 4 shots)"


def test_minutes_are_minutes_again_in_the_price():
    menu = Menu([blood()], [Setup("needle", Cost(minutes=5))])
    assert menu.price(Protocol({"blood": [1, 1, 0]})) == Cost(minutes=7, money=1.5)


def test_schemes_by_name():
    assert [type(scheme) for scheme in TestPanel("a", {"x": None}, schemes=["subset", "whole"]).schemes] == [
        Subset,
        Whole,
    ]
    with pytest.raises(ScanwiseError, match="did you mean 'subset'"):
        TestPanel("a", {"x": None}, schemes=["subsets"])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"mony": 1.0}, r"shot blood\.odd has an unknown key 'mony'\n  -> did you mean 'money'"),
        ({"money": -1.0}, "'odd' has money=-1"),
        ({"money": NAN}, "'odd' has money=nan"),
        ({"money": None}, r"price of shot blood\.odd must be a number, but money=None"),
        ({"money": "12"}, "must be a number, but money='12'"),
        ({"money": True}, "must be a number, but money=True"),
        ({"minutes": -1}, "'odd' has seconds=-60"),
        (
            {"setups": "needle"},
            r"set-ups of shot blood\.odd must be a list, but got 'needle'\n  -> write setups: \[needle\]",
        ),
        ({"setups": None}, "must be a list, but got None"),
        (12.5, r"shot blood\.odd needs a table of prices, but got 12\.5"),
    ],
)
def test_a_wrong_price_table_is_refused_and_the_shot_named(row, message):
    with pytest.raises(ScanwiseError, match=message):
        blood(odd=row)


def test_a_panel_needs_a_shot():
    with pytest.raises(ScanwiseError, match="at least one shot"):
        TestPanel("blood", {})


def test_what_is_measured_is_what_was_asked_and_done():
    panel = blood()
    data = np.array(
        [
            [[1.0, NAN], [2.0, 3.0], [4.0, NAN]],
            [[NAN, NAN], [5.0, NAN], [6.0, NAN]],  # sodium was not done
        ]
    )
    measured = panel.measure(data, np.array([1, 1, 0]), np.random.default_rng(0))
    np.testing.assert_array_equal(
        measured.data,
        [[[1.0, NAN], [2.0, 3.0], [NAN, NAN]], [[NAN, NAN], [5.0, NAN], [NAN, NAN]]],
    )
    np.testing.assert_array_equal(measured.counts, [[1, 1, 0], [0, 1, 0]])
    assert repr(measured) == "Measurement(data (2, 3, 2), counts (2, 3))"
