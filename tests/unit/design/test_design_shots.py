from __future__ import annotations

import numpy as np
import pytest

from scanwise.design import COST_AXES, Cost, Setup, ShotTable
from scanwise.errors import ScanwiseError


def test_one_price_holds_for_every_shot():
    table = ShotTable.build(["a", "b", "c"], seconds=90, money=[1, 2, 3], setups=["needle"], max_count=4)
    assert len(table) == 3
    assert table.setups == (("needle",),) * 3
    np.testing.assert_array_equal(table.max_count, [4, 4, 4])
    unit = dict(zip(COST_AXES, table.unit_costs.T, strict=True))
    np.testing.assert_array_equal(unit["minutes"], [1.5, 1.5, 1.5])
    np.testing.assert_array_equal(unit["money"], [1, 2, 3])
    np.testing.assert_array_equal(unit["msv"] + unit["contrast_ml"] + unit["visits"], [0, 0, 0])


def test_set_ups_per_shot():
    assert ShotTable.build(["a", "b"], setups=[["x", "y"], []]).setups == (("x", "y"), ())
    assert ShotTable.build(["a", "b"], setups=[[], ["x"]]).setups == ((), ("x",))
    assert ShotTable.build(["a", "b"]).setups == ((), ())


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_names_are_there_and_unique(names):
    with pytest.raises(ScanwiseError, match="at least one shot and unique names"):
        ShotTable.build(names)


@pytest.mark.parametrize("column", ["seconds", "money", "msv", "contrast_ml"])
@pytest.mark.parametrize("price", [-1.0, float("nan"), float("inf")])
def test_a_price_is_a_finite_number_from_zero_and_the_shot_is_named(column, price):
    with pytest.raises(ScanwiseError, match=f"'b' has {column}="):
        ShotTable.build(["a", "b"], **{column: [1.0, price]})


@pytest.mark.parametrize("column", ["seconds", "money", "msv", "contrast_ml"])
def test_one_price_per_shot(column):
    with pytest.raises(ScanwiseError, match=rf"{column} must have one value per shot \(2\)"):
        ShotTable.build(["a", "b"], **{column: [1.0, 2.0, 3.0]})


@pytest.mark.parametrize("wrong", [{"max_count": [1, 0]}, {"max_count": [1]}, {"setups": [["x"]]}])
def test_set_ups_and_maxima_fit_the_shots(wrong):
    with pytest.raises(ScanwiseError, match="2 set-up lists and 2 maxima >= 1"):
        ShotTable.build(["a", "b"], **wrong)


def test_what_describes_every_shot():
    table = ShotTable.build(["a", "b"], what={"angle": np.array([0.0, 90.0])})
    np.testing.assert_array_equal(table.what["angle"], [0.0, 90.0])
    with pytest.raises(ScanwiseError, match=r"what\['angle'\] must describe 2 shots, but describes 3"):
        ShotTable.build(["a", "b"], what={"angle": np.zeros(3)})


def test_repr_is_one_line():
    assert repr(ShotTable.build(["a", "b"])) == "ShotTable(2 shots: a, b)"
    assert repr(ShotTable.build([f"k{i}" for i in range(256)])).count("\n") == 0


def test_the_label_of_a_set_up():
    assert Setup("blood_draw", Cost(money=2)).label == "blood draw"
    assert Setup("blood_draw", Cost(money=2), title="venepuncture").label == "venepuncture"
