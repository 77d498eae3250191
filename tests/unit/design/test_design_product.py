"""Products of settings: numbered, priced and counted without listing them."""

from __future__ import annotations

import itertools

import numpy as np
from design_scenario import Plain, one

from scanwise.design import Cost, Menu, Product, Protocol, Setup, ShotTable

MENU = Menu(
    [
        one("history", money=4.0, seconds=60.0, setups=["visit"]),
        Plain(
            "blood", ShotTable.build(["a", "b", "c"], money=[3.0, 10.0, 5.0], setups=["needle", "visit"], max_count=2)
        ),
        one("ecg", seconds=600.0),
        Plain("ct", ShotTable.build(["x", "y"], msv=2.0, setups=["needle", "table"])),
    ],
    [Setup("needle", Cost(money=7.0)), Setup("table", Cost(minutes=9.0)), Setup("visit", Cost(visits=1.0))],
)
CHOICES = {"blood": ((), (1, 0, 0), (0, 2, 1)), "ct": ((1, 0), ()), "ecg": ((), (1,))}
PRODUCT = Product(Protocol({"history": [1]}), CHOICES)
ROWS = np.arange(12)


def listed() -> list[Protocol]:
    return [
        Protocol({"history": [1], **dict(zip(CHOICES, patterns, strict=True))})
        for patterns in itertools.product(*CHOICES.values())
    ]


def test_rows_are_numbered_as_by_itertools() -> None:
    assert PRODUCT.shape == (3, 2, 2)
    assert len(PRODUCT) == 12
    assert PRODUCT.protocols(ROWS) == listed()
    assert PRODUCT.protocols(np.array([7, 2])) == [listed()[7], listed()[2]]
    assert PRODUCT.settings(np.array([7])).tolist() == [[1, 1, 1]]
    assert PRODUCT.rows(PRODUCT.settings(ROWS)).tolist() == ROWS.tolist()


def test_prices_share_set_ups_as_those_of_listed_protocols_do() -> None:
    np.testing.assert_array_equal(PRODUCT.prices(MENU), MENU.price_many(listed()))
    assert PRODUCT.prices(MENU)[4].tolist() == [10.0, 14.0, 2.0, 0.0, 1.0]  # 4 + 3 + 7 once; 1 + 9 minutes


def test_a_menu_without_set_ups_is_priced() -> None:
    menu = Menu([one("a", money=2.0), one("b", money=3.0)])
    prices = Product(Protocol(), {"a": ((), (1,)), "b": ((), (1,))}).prices(menu)
    assert prices[:, 1].tolist() == [0.0, 3.0, 2.0, 5.0]


def test_counts_are_those_of_listed_protocols() -> None:
    some = np.array([11, 0, 5, 6])
    np.testing.assert_array_equal(PRODUCT.counts(MENU, some), MENU.matrix([listed()[row] for row in some]))


def test_nothing_to_choose_is_one_protocol() -> None:
    product = Product(Protocol({"ecg": [1]}), {})
    assert len(product) == 1
    assert product.protocols(np.array([0])) == [Protocol({"ecg": [1]})]
    np.testing.assert_array_equal(product.prices(MENU), MENU.price_many([Protocol({"ecg": [1]})]))
    np.testing.assert_array_equal(product.counts(MENU, np.array([0])), MENU.matrix([Protocol({"ecg": [1]})]))
