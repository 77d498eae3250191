"""The rule: cheapest non-inferior, else one standard error; ladders, ties, budgets, and what a rule must be."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from recommend_scenario import ALL_NEEDED, CT, ECG, EITHER, HISTORY, KEYS, REFERENCE, USELESS_CT, menu_of, tables
from scipy.stats import norm

from scanwise.design import Budget, Cost, Protocol
from scanwise.errors import ScanwiseError
from scanwise.evidence import ScoreTable, auc_with_covariance
from scanwise.recommend import Choice, Chooser, Rule
from scanwise.recommend.choose import nested_table, one_round


def chooser_of(worth, *, rule: Rule | None = None, menu=None, **changes) -> Chooser:
    menu = menu or menu_of()
    tune, _, _ = tables(worth, **changes)
    return Chooser(tune, {key: menu.price(Protocol.from_key(key)) for key in tune.protocols}, REFERENCE, rule or Rule())


def random_chooser(seed: int, rule: Rule | None = None) -> tuple[Chooser, ScoreTable, dict[str, Cost]]:
    """Eleven protocols of all qualities, with prices that often tie; p0 is the reference."""
    rng = np.random.default_rng(seed)
    label = (np.arange(90) % 3 == 0).astype(np.int64)
    quality = rng.uniform(0.2, 1.6, size=11)[:, None]
    odds = quality * label + rng.normal(size=90) * 0.6 + 0.5 * rng.normal(size=(11, 90))
    keys = tuple(f"p{row}" for row in range(11))
    table = ScoreTable.of_one_round(keys, 1 / (1 + np.exp(-odds)), label)
    money, minutes = rng.integers(1, 6, size=11), rng.integers(1, 4, size=11)
    costs = {key: Cost(money=float(a), minutes=float(b)) for key, a, b in zip(keys, money, minutes, strict=True)}
    return Chooser(table, costs, "p0", rule or Rule()), table, costs


def expected_pick(table: ScoreTable, costs: dict[str, Cost], budget: Budget, rule: Rule) -> Choice:
    """The rule as the docstring of `Rule` tells it, in the plainest words."""
    estimates = auc_with_covariance(table)
    auc = dict(zip(table.protocols, estimates.value, strict=True))
    affordable = [
        key for key in table.protocols if all(costs[key][axis] <= limit for axis, limit in budget.limits.items())
    ]
    if not affordable:
        return Choice(None, "nothing affordable")

    def difference(key: str, other: str) -> tuple[float, float]:
        values, errors = estimates.difference_to(other)
        return float(values[table.row(key)]), float(errors[table.row(key)])

    z = norm.ppf(1 - rule.alpha)
    good = []
    for key in affordable:
        value, error = difference(key, "p0")
        if key == "p0" or value - z * error > -rule.margin:
            good.append(key)
    status = "non-inferior" if good else "best affordable"
    if not good:
        best = max(affordable, key=lambda key: auc[key])
        for key in affordable:
            value, error = difference(key, best)
            if value >= -error:
                good.append(key)
    cheapest = min(good, key=lambda key: (costs[key].money, costs[key].minutes, -auc[key]))
    return Choice(cheapest, status)


def test_the_cheapest_non_inferior_is_picked():
    chooser = chooser_of(USELESS_CT)

    assert chooser.pick(Budget()) == Choice(ECG, "non-inferior")
    assert chooser.non_inferior_by_price() == [ECG, REFERENCE]


def test_dearer_than_the_reference_is_never_picked_without_limits():
    chooser = chooser_of(USELESS_CT, menu=menu_of({"ecg": 0.0, "ct": 0.0}))

    assert chooser.pick(Budget()).key == ECG, "ties with the reference in price, and takes less time"


def test_the_reference_is_non_inferior_to_itself_whatever_the_margin():
    chooser = chooser_of(ALL_NEEDED, rule=Rule(margin=1e-12))

    assert chooser.pick(Budget()) == Choice(REFERENCE, "non-inferior")
    assert chooser.non_inferior_by_price() == [REFERENCE]


def test_a_wider_margin_lets_more_in():
    narrow, wide = (chooser_of(ALL_NEEDED, rule=Rule(margin=margin)).non_inferior for margin in (0.03, 0.3))

    assert (wide >= narrow).all()
    assert wide.sum() > narrow.sum()


def one_se_chooser(loss: float) -> Chooser:
    """The reference is far better; `dear` is good; `cheap` is as good but for a loss of separation and some noise."""
    rng = np.random.default_rng(6)
    label = (np.arange(200) % 2).astype(np.int64)
    good = 1.0 * label + rng.normal(size=200)
    worse = good - loss * label + 0.2 * rng.normal(size=200)
    odds = np.stack([6.0 * label + rng.normal(size=200), good, worse])
    table = ScoreTable.of_one_round(("reference", "dear", "cheap"), 1 / (1 + np.exp(-odds)), label)
    costs = {"reference": Cost(money=100), "dear": Cost(money=20), "cheap": Cost(money=10)}
    return Chooser(table, costs, "reference", Rule())


@pytest.mark.parametrize(("loss", "picked"), [(0.02, "cheap"), (0.5, "dear")])
def test_one_standard_error_where_nothing_affordable_is_non_inferior(loss, picked):
    chooser = one_se_chooser(loss)
    _, dear, cheap = chooser.auc
    assert dear > cheap, "the dear one is the best affordable"

    assert chooser.pick(Budget(money=50)) == Choice(picked, "best affordable")


def test_nothing_affordable():
    chooser = chooser_of(ALL_NEEDED)

    assert chooser.pick(Budget(money=4.99)) == Choice(None, "nothing affordable")
    assert chooser.pick(Budget(visits=0)) == Choice(None, "nothing affordable")
    assert chooser.pick(Budget(money=5.0)).key == HISTORY, "a limit may be used up"


@pytest.mark.parametrize(
    ("budget", "picked"),
    [
        (Budget(), ECG),
        (Budget(minutes=9.9), HISTORY),
        (Budget(minutes=25.0, money=300.0), ECG),
        (Budget(money=300.0, minutes=30.0, msv=2.9), ECG),
        (Budget(money=300.0, minutes=9.0, msv=0.0), HISTORY),
        (Budget(money=4.0, minutes=100.0), None),
    ],
)
def test_budgets_on_several_axes(budget, picked):
    assert chooser_of(EITHER, redundant=True).pick(budget).key == picked


def test_the_primary_axis_decides_what_cheap_is():
    prices = menu_of({"ecg": 400.0})

    assert chooser_of(EITHER, redundant=True, menu=prices).pick(Budget()).key == CT
    assert chooser_of(EITHER, redundant=True, menu=prices, rule=Rule(primary="minutes")).pick(Budget()).key == ECG


def test_ties_are_broken_by_the_other_axes_then_by_auc():
    scores = np.stack([np.linspace(0.1, 0.9, 40)] * 4)
    label = (np.arange(40) >= 20).astype(np.int64)
    scores[3, [19, 20]] = scores[3, [20, 19]]  # one pair the wrong way round
    table = ScoreTable.of_one_round(("r", "a", "b", "c"), scores, label)

    def picked(**costs: Cost) -> str | None:
        return Chooser(table, {"r": Cost(money=9), **costs}, "r", Rule(margin=0.2)).pick(Budget()).key

    cheap = Cost(money=3, minutes=5, visits=1)
    assert picked(a=cheap, b=Cost(money=3, minutes=4, visits=2), c=cheap) == "b"
    assert picked(a=Cost(money=3, minutes=5, visits=2), b=Cost(money=3, minutes=5, msv=1, visits=1), c=cheap) == "c"
    assert picked(a=cheap, b=cheap, c=cheap) == "a", "equal to the last digit: the order of the table"
    assert picked(c=cheap, b=cheap, a=Cost(money=4)) == "b", "c costs the same and ranks a pair wrongly"
    nearly = Cost(money=3 + 1e-12, minutes=4, visits=1)
    assert picked(a=cheap, b=nearly, c=cheap) == "b", "rounding of a sum is no price difference"


def sequence_of(confirmed: str, *, reference_money: float = 9.0) -> str | None:
    """Pick among a (cheapest) to d, all good and the dearer the better; `confirmed` passes on other patients."""
    label = (np.arange(400) >= 200).astype(np.int64)
    rng = np.random.default_rng(0)
    base = rng.normal(size=400)
    odds = np.stack([base + quality * label for quality in (2.5, 2.0, 2.1, 2.2, 2.3)])
    keys = ("r", "a", "b", "c", "d")
    table = ScoreTable.of_one_round(keys, 1 / (1 + np.exp(-odds)), label)
    costs = {key: Cost(money=float(price)) for key, price in zip(keys, (reference_money, 1, 2, 3, 4), strict=True)}
    verdicts = {key: key in confirmed for key in keys}
    return Chooser(table, costs, "r", Rule(margin=0.2), verdicts).pick(Budget()).key


@pytest.mark.parametrize(
    ("confirmed", "picked"),
    [
        ("abcd", "a"),
        ("bcd", "b"),
        ("cd", "c"),
        ("ad", "d"),  # a passes, but after c has failed it does not count
        ("d", "d"),
        ("abc", "d"),  # the first one fails: nothing is confirmed, and that one is shown with its verdict
        ("", "d"),
    ],
)
def test_other_patients_judge_from_the_dearest_down_until_one_fails(confirmed, picked):
    assert sequence_of(confirmed) == picked


def test_what_is_dearer_than_today_is_not_in_the_sequence():
    assert sequence_of("ab", reference_money=2.5) == "a"
    assert sequence_of("cd", reference_money=0.5) == "r", "nothing is cheaper"


def test_false_claims_in_a_sequence_keep_the_level_of_one_test():
    rng = np.random.default_rng(1)
    claims = 0
    for _ in range(150):  # every protocol is inferior, and passes with the level of its test
        passed = "".join(key for key in "abcd" if rng.random() < 0.1)
        picked = sequence_of(passed)
        claims += picked in passed
    assert claims / 150 < 0.1 + 3 * np.sqrt(0.1 * 0.9 / 150)


@pytest.mark.parametrize("seed", range(12))
def test_the_pick_is_the_rule_in_plain_words(seed):
    chooser, table, costs = random_chooser(seed)
    budgets = [Budget(money=a, minutes=b) for a in (None, 0.5, 1, 2, 3, 4, 5) for b in (None, 1, 2)]

    assert [chooser.pick(budget) for budget in budgets] == [
        expected_pick(table, costs, budget, Rule()) for budget in budgets
    ]


def test_random_choosers_reach_every_status():
    statuses = {random_chooser(seed)[0].pick(Budget(money=m)).status for seed in range(12) for m in (0, 1, 2, 3, 5)}

    assert statuses == {"non-inferior", "best affordable", "nothing affordable"}


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("other", [{}, {"minutes": 2.0}, {"minutes": 2.0, "money": 1.0}])
def test_the_ladder_says_what_every_limit_picks(seed, other):
    chooser, _, _ = random_chooser(seed)
    steps = chooser.ladder(Budget.from_mapping(other))

    limits = [limit for limit, _ in steps]
    assert limits == sorted(set(limits))
    assert all(a != b for (_, a), (_, b) in itertools.pairwise(steps)), "every step changes something"
    statuses = [choice.status for _, choice in steps]
    assert statuses == sorted(statuses), "best affordable, then non-inferior, and never back"
    kept = {axis: limit for axis, limit in other.items() if axis != "money"}
    for money in np.arange(0.0, 7.0, 0.25):
        standing = [choice for limit, choice in steps if limit <= money]
        expected = standing[-1] if standing else Choice(None, "nothing affordable")
        assert chooser.pick(Budget.from_mapping({**kept, "money": money})) == expected


def test_the_ladder_of_a_known_study():
    assert chooser_of(ALL_NEEDED).ladder(Budget()) == [
        (5.0, Choice(HISTORY, "best affordable")),
        (55.0, Choice(ECG, "best affordable")),
        (205.0, Choice(CT, "best affordable")),
        (255.0, Choice(REFERENCE, "non-inferior")),
    ]
    assert chooser_of(ALL_NEEDED).ladder(Budget(visits=0)) == []


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("margin", 0.0, "margin=0.0"),
        ("margin", -0.03, "margin=-0.03"),
        ("margin", 1.0, "margin=1.0"),
        ("margin", float("nan"), "margin=nan"),
        ("alpha", 0.0, "alpha=0.0"),
        ("alpha", 0.5, "alpha=0.5"),
        ("level", 1.0, "level=1.0"),
        ("level", 0.0, "level=0.0"),
        ("specificity", 1.0, "specificity.*1.0"),
        ("specificity", 0.0, "specificity.*0.0"),
        ("thresholds", (0.1, 1.0), "threshold.*1.0"),
        ("thresholds", (0.0,), "threshold.*0.0"),
        ("n_resamples", 99, "n_resamples must be at least 100, but got 99"),
        ("primary", "mony", "primary cost must be one of .*'mony'"),
        ("seed", -1, "seed must be a whole number >= 0, but got -1"),
    ],
)
def test_a_rule_out_of_range(field, value, words):
    with pytest.raises(ScanwiseError, match=words):
        Rule(**{field: value})


def test_an_unknown_primary_cost_gets_a_suggestion():
    with pytest.raises(ScanwiseError) as caught:
        Rule(primary="mony")
    assert "money" in (caught.value.hint or "")


def test_a_rule_at_its_limits_and_in_words():
    rule = Rule(margin=0.001, alpha=0.49, level=0.5, thresholds=[0.2], n_resamples=100, primary="contrast_ml")

    assert rule.thresholds == (0.2,)
    for in_sequence in (True, False):
        words = rule.reading(in_sequence=in_sequence)
        assert "contrast ml" in words
        assert "0.001" in words
        assert "0.49" in words
        assert ("fixed-sequence" in words) == in_sequence


def small_test_table() -> ScoreTable:
    """Two rounds of two folds, seven patients, three protocols; every probability is a number of its own."""
    probability = np.arange(42, dtype=float).reshape(2, 3, 7) / 100
    stratum = np.array([[0, 0, 0, 1, 1, 1, 1], [1, 0, 1, 0, 1, 0, 0]])
    return ScoreTable(("r", "a", "b"), probability, stratum, np.array([0, 1, 0, 1, 0, 1, 1]), np.array(list("xxyyxyx")))


def test_nested_table_takes_in_every_fold_what_was_picked_without_it():
    table = nested_table(small_test_table(), ["a", "b", "r", "a"], [(0, 0), (0, 1), (1, 0), (1, 1)], "r", "procedure")

    assert table.protocols == ("procedure", "r")
    np.testing.assert_allclose(
        table.probability[:, 0],
        [
            [0.07, 0.08, 0.09, 0.17, 0.18, 0.19, 0.20],  # a on patients 0 to 2, b on 3 to 6
            [0.28, 0.22, 0.30, 0.24, 0.32, 0.26, 0.27],  # r on patients 1, 3, 5 and 6, a on the others
        ],
    )
    np.testing.assert_allclose(table.probability[:, 1], small_test_table().probability[:, 0])
    assert table.site.tolist() == list("xxyyxyx")


def test_one_round_keeps_the_patients_scored_in_it():
    probability = np.arange(30, dtype=float).reshape(2, 3, 5) / 100
    stratum = np.array([[0, -1, 1, 0, -1], [-1, 0, 0, 1, 1]])
    probability.transpose(0, 2, 1)[stratum < 0] = np.nan
    table = ScoreTable(("r", "a", "b"), probability, stratum, np.array([0, 1, 1, 1, 0]), np.array(list("vwxyz")))

    second = one_round(table, 1)

    assert second.n_rounds == 1
    np.testing.assert_allclose(
        second.probability[0], [[0.16, 0.17, 0.18, 0.19], [0.21, 0.22, 0.23, 0.24], [0.26, 0.27, 0.28, 0.29]]
    )
    assert second.stratum.tolist() == [[0, 0, 1, 1]]
    assert second.label.tolist() == [1, 1, 1, 0]
    assert second.site.tolist() == list("wxyz")


def test_protocols_of_the_scenario_are_what_they_say():
    tune, test, places = tables(ALL_NEEDED)
    menu = menu_of()

    assert [menu.price(Protocol.from_key(key)).money for key in KEYS] == [255.0, 5.0, 55.0, 205.0]
    assert tune.n_rounds == len(places) == 6
    for round_, (repeat, fold) in enumerate(places):
        assert not ((tune.stratum[round_] >= 0) & (test.stratum[repeat] == fold)).any()
