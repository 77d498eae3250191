from __future__ import annotations

import numpy as np
import pytest

from scanwise.design import COST_AXES, Budget, Cost, amount
from scanwise.errors import ScanwiseError


def test_the_axes_keep_their_order():
    assert COST_AXES == ("minutes", "money", "msv", "contrast_ml", "visits")


def test_costs_add_per_axis():
    total = Cost(minutes=5, money=1.5, visits=1) + Cost(minutes=2, msv=0.25, contrast_ml=60)
    assert total == Cost(minutes=7, money=1.5, msv=0.25, contrast_ml=60, visits=1)
    assert sum([Cost(money=1), Cost(money=2)], Cost()) == Cost(money=3)


def test_a_cost_goes_to_an_array_and_a_dictionary_and_back():
    cost = Cost(1, 2, 3, 4, 5)
    np.testing.assert_array_equal(cost.to_array(), [1, 2, 3, 4, 5])
    assert Cost.from_array(cost.to_array()) == cost
    assert Cost(**cost.to_dict()) == cost
    assert [cost[axis] for axis in COST_AXES] == list(cost) == [1, 2, 3, 4, 5]
    assert {type(value) for value in cost} == {float}


def test_an_unknown_axis_is_refused_with_a_suggestion():
    with pytest.raises(ScanwiseError, match="did you mean 'money'"):
        Cost()["mony"]


@pytest.mark.parametrize("value", [-0.01, float("nan"), float("inf"), "5", None, True])
@pytest.mark.parametrize("axis", COST_AXES)
def test_a_cost_is_a_finite_number_from_zero(axis, value):
    with pytest.raises(ScanwiseError, match=f"finite number >= 0, but got {axis}="):
        Cost(**{axis: value})


def test_dominance_is_strict():
    cheap, dear, other = Cost(minutes=1, money=2), Cost(minutes=1, money=3), Cost(minutes=2, money=1)
    assert cheap.dominates(dear)
    assert not dear.dominates(cheap)
    assert not cheap.dominates(cheap)
    assert not cheap.dominates(other)
    assert not other.dominates(cheap)


def test_a_cost_reads_in_words():
    cost = Cost(minutes=7.5, money=1234.5, msv=3, contrast_ml=60, visits=2)
    assert cost.reading("CA$") == "CA$ 1,234.50, 7.5 min, 3 mSv, 60 mL contrast, 2 visits"
    assert Cost(money=2, visits=1).reading("€") == "€2.00, 1 visit"
    assert Cost().reading("€") == "nothing"


def test_a_budget_allows_what_no_limit_forbids():
    budget = Budget(money=100, visits=1)
    assert budget.limits == {"money": 100, "visits": 1}
    assert budget.allows(Cost(money=100, minutes=1e6, visits=1))
    assert not budget.allows(Cost(money=100.01))
    assert not budget.allows(Cost(visits=2))
    assert budget.violations(Cost(money=130)) == {"money": 30, "visits": -1}
    assert Budget().allows(Cost(1e9, 1e9, 1e9, 1e9, 1e9))
    assert not Budget(msv=0).allows(Cost(msv=0.1)), "zero is a limit, not the absence of one"


def test_a_sum_that_meets_the_limit_but_for_rounding_is_allowed():
    prices = [Cost(money=0.1)] * 3
    assert sum(prices, Cost()).money > 0.3
    assert Budget(money=0.3).allows(sum(prices, Cost()))


@pytest.mark.parametrize("limit", [-1, float("nan"), float("inf"), "100", True])
def test_a_limit_is_a_finite_number_from_zero(limit):
    with pytest.raises(ScanwiseError, match=r"but got budget\.money="):
        Budget(money=limit)


def test_a_budget_from_a_mapping():
    assert Budget.from_mapping({"money": 5, "msv": None}) == Budget(money=5)
    assert Budget(money=np.int64(5)).allows(Cost(money=5))
    with pytest.raises(ScanwiseError, match="did you mean 'minutes'"):
        Budget.from_mapping({"minuets": 5})


def test_a_budget_reads_in_words():
    assert Budget().reading("€") == "no limit"
    assert Budget(minutes=30, money=200, msv=5).reading("€") == "at most 30 min, €200.00, 5 mSv"


def test_amounts_are_written_for_people() -> None:
    words = [amount(axis, 1.0, "CA$") for axis in COST_AXES]

    assert words == ["1 min", "CA$ 1.00", "1 mSv", "1 mL contrast", "1 visit"]
    assert amount("money", 1234.5, "€") == "€1,234.50"
    assert amount("visits", 2.0) == "2 visits"
