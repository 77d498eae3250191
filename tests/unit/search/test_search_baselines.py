from __future__ import annotations

import numpy as np
import pytest
from search_scenario import Objective, make_menu, value_of

from scanwise.design import Budget, Menu, Protocol, ShotTable, make_scheme
from scanwise.errors import ScanwiseError
from scanwise.modalities.panel import TestPanel
from scanwise.search import GreedySearch, SearchSpace, SeparateSearch, UniformSearch

FREE = Budget()
GAINS = {"a": np.array([0.5, 0.1, 0.3]), "b": np.array([0.4, 0.2])}


class Scan(TestPanel):
    """Shots that cost the same, in lengths and patterns of two schemes."""

    def __init__(self, name: str, n: int, seconds: float = 60.0, schemes: tuple[str, ...] = ("subset",)) -> None:
        super().__init__(name, shots={f"s{index}": {} for index in range(n)})
        self.shots = ShotTable.build([f"s{index}" for index in range(n)], seconds=seconds, money=1.0)
        self.schemes = tuple(make_scheme(scheme) for scheme in schemes)


def additive(protocols):
    return np.array([sum(float(GAINS[name] @ np.array(counts)) for name, counts in one.items()) for one in protocols])


@pytest.fixture
def menu() -> Menu:
    return Menu([Scan("a", 3), Scan("b", 2)])


def test_greedy_growth_takes_the_best_shot_next(menu):
    found = GreedySearch(by="shot", per_price=False).run(SearchSpace(menu), objective=additive, budget=FREE)

    best = {protocol.key for protocol in found.front_protocols}
    assert best == {"nothing", "a=1,0x2", "a=1,0x2 b=1,0", "a=1,0,1 b=1,0", "a=1,0,1 b=1x2", "a=1x3 b=1x2"}
    assert found.how == "greedy growth by shot, 5 steps"
    assert not found.complete


def test_greedy_growth_for_its_price_prefers_the_cheap():
    menu = Menu([Scan("a", 3, seconds=600.0), Scan("b", 2, seconds=60.0)])

    found = GreedySearch(by="shot", max_steps=2, objectives=("diagnosis", "minutes")).run(
        SearchSpace(menu), objective=additive, budget=FREE
    )

    assert "b=1x2" in {protocol.key for protocol in found.protocols}
    assert "a=1,0,1" not in {protocol.key for protocol in found.protocols}


def test_greedy_growth_stays_within_the_limits(menu):
    asked = []

    def noting(protocols):
        asked.extend(protocols)
        return additive(protocols)

    found = GreedySearch(by="shot").run(SearchSpace(menu), objective=noting, budget=Budget(minutes=2.0))

    assert max(menu.price(one).minutes for one in asked) <= 2
    assert Protocol({"a": [1, 0, 0], "b": [1, 0]}) in found.front_protocols


def test_greedy_growth_by_setting_reaches_the_best_protocol():
    space = SearchSpace(make_menu())

    found = GreedySearch(by="setting", look_ahead=None).run(space, objective=Objective(), budget=FREE)

    best = max(value_of(protocol) for protocol in space.lattice())
    assert max(found.values) == pytest.approx(best)


def test_uniform_shortening_shortens_all_alike():
    menu = Menu([Scan("a", 16, schemes=("equispaced", "subset")), Scan("b", 8, schemes=("low_resolution",))])

    def lines(protocols):
        return np.array([float(sum(one.total(name) for name in one.modalities)) for one in protocols])

    found = UniformSearch(shares=(0.25, 0.5, 1.0)).run(SearchSpace(menu), objective=lines, budget=FREE)

    lengths = [(one.total("a"), one.total("b")) for one in found.protocols]
    assert lengths == [(0, 0), (16, 8), (4, 2), (8, 4)]
    assert found.how == "all modalities shortened alike, 3 lengths"


def test_the_best_of_each_modality_alone_is_put_together(menu):
    found = SeparateSearch(shares=(0.5, 1.0)).run(SearchSpace(menu), objective=additive, budget=FREE)

    keys = [protocol.key for protocol in found.protocols]
    assert "a=1,0x2 b=1,0" in keys  # a third of a is all that fits into half of it
    assert "a=1x3 b=1x2" in keys


def test_a_modality_that_cannot_be_so_short_is_left_out_and_in_at_its_shortest(menu):
    found = SeparateSearch(shares=(0.4,)).run(SearchSpace(menu), objective=additive, budget=FREE)

    keys = [protocol.key for protocol in found.protocols]
    assert "a=1,0x2" in keys
    assert "a=1,0x2 b=1,0" in keys


def test_what_is_enqueued_is_scored_first(menu):
    odd = Protocol({"a": [0, 1, 0]})
    found = UniformSearch().run(SearchSpace(menu), objective=additive, budget=FREE, enqueue=[odd])
    assert odd in found.protocols[:3]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: UniformSearch(shares=()), "search.shares must be numbers above 0"),
        (lambda: SeparateSearch(shares=(0.5, 1.5)), "at most 1, but got"),
        (lambda: GreedySearch(by="line"), "search.by must be 'shot' or 'setting', but got 'line'"),
        (lambda: GreedySearch(look_ahead=0), "search.look_ahead must be a whole number >= 1"),
        (lambda: GreedySearch(objectives=("minutes",)), "the objectives must be 'diagnosis'"),
    ],
)
def test_bad_settings_are_named(make, words):
    with pytest.raises(ScanwiseError, match=words):
        make()
