from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from scanwise.design import Budget, Cost, Menu, Protocol, Setup, ShotTable, make_scheme
from scanwise.errors import ScanwiseError
from scanwise.modalities.panel import TestPanel
from scanwise.search import LearnedSearch, SearchSpace
from scanwise.search.learned import Learner, Pricing

GAINS = np.array([0.9, 0.1, 0.7, 0.3, 0.5, 0.2, 0.8, 0.4])


class Lines(TestPanel):
    """Eight shots, any set of them; in trains where asked for."""

    def __init__(self, name: str, *, money: Sequence[float] | float = 1.0, train: int = 1, setups=(), most: int = 1):
        super().__init__(name, shots={f"s{index}": {} for index in range(8)})
        what = {"train_length": np.full(8, train)} if train > 1 else {}
        self.shots = ShotTable.build(
            [f"s{index}" for index in range(8)], money=money, setups=setups, max_count=most, what=what
        )
        self.schemes = (make_scheme("subset"),)


class Additive:
    """Every shot adds its gain; slopes are exact. Tests: the objective of a network with additive evidence."""

    def __init__(self, gains: dict[str, np.ndarray], value: Callable[[np.ndarray], float] | None = None) -> None:
        self.gains = gains
        self.drawn: list[Protocol] = []

    def __call__(self, protocols: Sequence[Protocol]) -> np.ndarray:
        return np.array(
            [sum(float(self.gains[name] @ np.array(counts)) for name, counts in one.items()) for one in protocols]
        )

    def slopes(self, protocol: Protocol, rng: np.random.Generator) -> tuple[float, dict[str, np.ndarray]]:
        self.drawn.append(protocol)
        noise = {name: 0.1 * rng.normal(size=8) for name in protocol.modalities}
        return float(self([protocol])[0]), {name: self.gains[name] + noise[name] for name in protocol.modalities}


def best(gains: np.ndarray, n: int) -> tuple[int, ...]:
    return tuple(int(rank < n) for rank in np.argsort(np.argsort(-gains)))


@pytest.mark.parametrize("relaxation", ["bernoulli", "gumbel"])
def test_the_shots_that_add_most_are_learned_at_every_budget(relaxation):
    menu = Menu([Lines("lines")])

    found = LearnedSearch(relaxation=relaxation, levels=3, starts=0, steps=150).run(
        SearchSpace(menu), objective=Additive({"lines": GAINS}), budget=Budget(), seed=1
    )

    learned = {protocol.counts("lines") for protocol in found.protocols}
    assert {best(GAINS, 2), best(GAINS, 4), best(GAINS, 6)} <= learned


def test_what_adds_most_for_its_price_is_learned():
    price = np.array([6.0, 0.25, 2.0, 1.0, 0.5, 1.0, 4.0, 2.0])
    menu = Menu([Lines("lines", money=price)])

    found = LearnedSearch(levels=1, starts=0, steps=200, swaps=0).run(
        SearchSpace(menu), objective=Additive({"lines": GAINS}), budget=Budget(money=9.0), seed=0
    )

    ratio = GAINS / price
    chosen = np.array(found.protocols[-1].counts("lines"))
    assert chosen @ price <= 4.5
    assert ratio[chosen == 1].min() > np.sort(ratio[chosen == 0])[-2]


def test_a_set_up_that_does_not_pay_is_not_bought():
    setups = [Setup("cheap", cost=Cost(money=0.5)), Setup("dear", cost=Cost(money=20.0))]
    menu = Menu([Lines("a", setups=["dear"]), Lines("b", setups=["cheap"])], setups)
    gains = {"a": GAINS + 0.1, "b": GAINS}

    found = LearnedSearch(levels=1, starts=0, steps=200, swaps=0).run(
        SearchSpace(menu), objective=Additive(gains), budget=Budget(money=17.0), seed=0
    )

    last = found.protocols[-1]
    assert not last.counts("a")
    assert sum(last.counts("b")) >= 6


def test_lines_come_in_whole_trains_within_the_budget():
    menu = Menu([Lines("lines", train=4)])

    found = LearnedSearch(levels=4, starts=0, steps=60).run(
        SearchSpace(menu), objective=Additive({"lines": GAINS}), budget=Budget(), seed=0
    )

    learned = [sum(protocol.counts("lines")) for protocol in found.protocols]
    assert set(learned) <= {0, 4, 8}
    assert 4 in learned


def test_what_a_start_leaves_out_stays_out_and_what_is_mandatory_stays():
    menu = Menu([Lines("a"), Lines("b")], always=Protocol({"a": [1, 0, 0, 0, 0, 0, 0, 0]}))
    space = SearchSpace(menu)
    price = Pricing(menu, "money")
    least = menu.matrix([space.mandatory])[0]
    start = menu.matrix([Protocol({"a": [1] * 8})])[0]
    most = np.ones(16, dtype=np.int64)

    learner = Learner(menu, price, most, least, 5.0, start, LearnedSearch())
    for _ in range(80):
        learner.step(Additive({"a": GAINS[::-1].copy(), "b": 10 * GAINS}), np.random.default_rng(0))

    assert not learner.rounded().counts("b")
    assert learner.rounded().counts("a")[0] == 1
    assert menu.price(learner.rounded()).money <= 5


def test_averages_are_learned_as_numbers():
    menu = Menu([Lines("dwi", most=5)])
    price = Pricing(menu, "money")
    least, most = np.zeros(8, dtype=np.int64), np.full(8, 5)

    class Roots(Additive):
        """Signal averaging: the n-th average adds less than the one before."""

        def slopes(self, protocol, rng):
            counts = np.array(protocol.counts("dwi"))
            return 1.0, {"dwi": GAINS / np.sqrt(counts + 0.5)}

    learner = Learner(menu, price, most, least, 16.0, None, LearnedSearch(learning_rate=0.05))
    rng = np.random.default_rng(0)
    for _ in range(400):
        learner.step(Roots({"dwi": GAINS}), rng)

    counts = np.array(learner.rounded().counts("dwi"))
    assert 14 <= counts.sum() <= 16
    assert (counts[GAINS > 0.6] >= 3).all()
    assert (counts[GAINS < 0.25] <= 1).all()


def test_shots_that_only_cost_together_can_be_taken_away():
    setups = [Setup(f"until{index}", cost=Cost(money=1.0)) for index in range(8)]
    names = [setup.name for setup in setups]
    frames = Lines(
        "frames", money=0.0, setups=[names[: index + 1] for index in range(8)]
    )  # time is paid up to the last
    menu = Menu([frames], setups)

    found = LearnedSearch(levels=3, starts=0, steps=10).run(
        SearchSpace(menu), objective=Additive({"frames": GAINS}), budget=Budget(), seed=0
    )

    prices = [menu.price(protocol).money for protocol in found.protocols]
    assert any(0 < price <= 6 for price in prices)


def test_the_expected_price_is_that_of_many_draws():
    setups = [Setup("one", cost=Cost(money=3.0)), Setup("both", cost=Cost(money=7.0))]
    first = Lines("a", money=np.arange(8.0), setups=[["one", "both"], *[["both"]] * 7])
    menu = Menu([first, Lines("b", most=4, setups=["both"])], setups)
    price = Pricing(menu, "money")
    rng = np.random.default_rng(3)
    mean = np.concatenate([rng.uniform(0, 0.3, 8), rng.uniform(0, 0.1, 8)])

    expected, slope = price.expected(mean)

    drawn = [price.of(np.floor(mean + rng.random(16))) for _ in range(40_000)]
    assert expected == pytest.approx(np.mean(drawn), abs=4 * np.std(drawn) / 200)
    for shot in range(16):
        step = np.zeros(16)
        step[shot] = 1e-4
        rise = (price.expected(mean + step)[0] - price.expected(mean - step)[0]) / 2e-4
        assert slope[shot] == pytest.approx(rise, rel=1e-6)


def test_the_same_seed_learns_the_same():
    menu = Menu([Lines("lines")])
    runs = [
        LearnedSearch(levels=2, starts=1, steps=20).run(
            SearchSpace(menu), objective=Additive({"lines": GAINS}), budget=Budget(), seed=seed
        )
        for seed in (5, 5)
    ]
    assert runs[0].to_dict() == runs[1].to_dict()


def test_a_model_without_slopes_is_refused():
    menu = Menu([Lines("lines")])
    with pytest.raises(ScanwiseError, match="says what every shot adds, and this one does not"):
        LearnedSearch().run(SearchSpace(menu), objective=lambda protocols: np.zeros(len(protocols)), budget=Budget())


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"relaxation": "gumble"}, "must be one of"),
        ({"steps": 0}, "search.steps must be a whole number above 0, but got 0"),
        ({"levels": 2.5}, "search.levels"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
    ],
)
def test_bad_settings_are_named(setting, words):
    with pytest.raises(ScanwiseError, match=words):
        LearnedSearch(**setting)


def test_budgets_may_be_named():
    menu = Menu([Lines("lines")])

    found = LearnedSearch(budgets=[3.0, 7.0], starts=0, steps=60, swaps=0).run(
        SearchSpace(menu), objective=Additive({"lines": GAINS}), budget=Budget(), seed=1
    )

    learned = [protocol for protocol in found.protocols if 0 < sum(protocol.counts("lines")) < 8]
    assert sorted(menu.price(protocol)["money"] for protocol in learned) == [3.0, 7.0]
    assert "2 budgets of money" in found.how


def test_swaps_mend_what_learning_missed():
    """One step of learning leaves nearly equal chances; swaps lead from there to the best pattern."""
    menu = Menu([Lines("lines")])

    def learned(swaps: int) -> float:
        return max(
            Additive({"lines": GAINS})([protocol])[0]
            for protocol in LearnedSearch(budgets=[4.0], starts=0, steps=1, swaps=swaps)
            .run(SearchSpace(menu), objective=Additive({"lines": GAINS}), budget=Budget(money=4.0), seed=2)
            .protocols
        )

    assert learned(8) == pytest.approx(np.sort(GAINS)[-4:].sum())
    assert learned(0) < learned(8)


def test_swaps_that_promise_most_are_scored_first():
    """The slopes of a sum are right, so the first lot holds the best swap; all are scored only where none is better."""
    menu, asked = Menu([Lines("lines")]), []

    class Counted(Additive):
        def __call__(self, protocols):
            asked.append(len(protocols))
            return super().__call__(protocols)

    worst = Protocol({"lines": (np.argsort(np.argsort(GAINS)) < 4).astype(int)})
    LearnedSearch(budgets=[4.0], starts=1, steps=1, swaps=8, tried=4).run(
        SearchSpace(menu),
        objective=Counted({"lines": GAINS}),
        budget=Budget(money=4.0),
        seed=2,
        enqueue=[worst],
    )

    assert max(asked[2:]) <= 4
    assert sum(asked) < 60  # four swaps of a lot each and one round of 16, twice: all at once would be 160


def test_budgets_of_nothing_are_refused():
    with pytest.raises(ScanwiseError, match="above 0"):
        LearnedSearch(budgets=[0.0])
