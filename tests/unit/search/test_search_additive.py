from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from search_scenario import FirstN, Objective, Plain, flat_value_of, make_flat_menu, make_menu, value_of

from scanwise.design import Budget, Menu, Parameter, Protocol, ShotTable
from scanwise.search import LatticeSearch, OptunaSearch, SearchSpace, hypervolume
from scanwise.search import _additive as additive
from scanwise.search._additive import AdditiveStart, Staircase, fit_sum
from scanwise.search._scoring import Limits, Yardstick, starting_points

MONEY = ("diagnosis", "money")
THREE = ("diagnosis", "money", "minutes")
WORTH = np.array([0.02, 0.09, 0.01, 0.05, 0.0, 0.12, 0.03, 0.01, 0.07, 0.04])


def make_start(menu: Menu, objectives: tuple[str, ...] = MONEY, budget: Budget | None = None) -> AdditiveStart:
    space, limit = SearchSpace(menu), budget or Budget()
    first = [one for one in starting_points(space, ()) if limit.allows(menu.price(one))]
    return AdditiveStart(
        space, limits=Limits(space, limit), yardstick=Yardstick.build(objectives, menu, limit), first=first
    )


def scores_of(menu: Menu, value: Callable[[Protocol], float], budget: Budget | None = None) -> dict[str, float]:
    """Score what every search starts from."""
    first = starting_points(SearchSpace(menu), ())
    return {one.key: value(one) for one in first if (budget or Budget()).allows(menu.price(one))}


def proposals(start: AdditiveStart, scores: dict[str, float], n: int) -> list[Protocol]:
    """Return what is proposed in one batch."""
    start.learn(scores)
    running: list[str] = []
    for _ in range(n):
        found = start.propose({*scores, *running}, running)
        if found is None:
            break
        running.append(found.key)
    return [Protocol.from_key(key) for key in running]


def linear_value_of(protocol: Protocol) -> float:
    """Diagnosis value on the flat menu: tests add up."""
    return 0.5 + sum(float(WORTH[int(name.removeprefix("test"))]) for name in protocol.modalities)


# ---------------------------------------------------------------- the pieces


@pytest.mark.parametrize("n_costs", [1, 2])
def test_a_staircase_gains_what_the_hypervolume_gains(n_costs: int) -> None:
    rng = np.random.default_rng(n_costs)
    values, costs = rng.random(40), rng.integers(0, 12, size=(40, n_costs)) / 10.0  # ties, and some beyond the limit
    more_values, more_costs = 1.3 * rng.random(900), rng.integers(0, 24, size=(900, n_costs)) / 20.0
    reference, maximise = [0.0] + [1.0] * n_costs, (True, *(False for _ in range(n_costs)))

    def volume(*points: Any) -> float:
        return hypervolume(np.concatenate(points), reference, maximise)

    there = np.column_stack([values, costs])
    before = volume(there)
    wanted = np.array(
        [volume(there, [[value, *cost]]) - before for value, cost in zip(more_values, more_costs, strict=True)]
    )
    staircase = Staircase(values, costs)
    gains = staircase.gains(more_values, more_costs)
    assert staircase.volume == pytest.approx(before)
    assert gains.max() == pytest.approx(wanted.max())
    assert gains.argmax() == wanted.argmax()
    assert (gains <= wanted + 1e-12).all()
    assert np.count_nonzero(gains) > 100
    assert gains[gains > 0.0] == pytest.approx(wanted[gains > 0.0])


def test_a_staircase_without_points_is_the_reference() -> None:
    staircase = Staircase(np.empty(0), np.empty((0, 1)))
    assert staircase.volume == 0.0
    assert staircase.gains(np.array([0.5, 0.8]), np.array([[0.5], [1.0]])).tolist() == [0.25, 0.0]


def posterior(features: NDArray[np.float64], target: NDArray[np.float64], slope: float, noise: float) -> Any:
    """Mean of the weights in the space of the shots."""
    n = features.shape[1]
    precision = features.T @ features / noise + np.eye(n) / slope**2
    return np.linalg.solve(precision, features.T @ target / noise + np.full(n, slope) / slope**2)


@pytest.mark.parametrize("n", [3, 6, 30])  # fewer and more protocols than shots
def test_weights_are_those_of_the_posterior(n: int) -> None:
    rng = np.random.default_rng(3)
    features = (rng.random((n, 6)) < 0.5).astype(np.float64)
    target = features @ np.array([0.3, 0.1, 0.0, 0.2, 0.05, 0.1]) + 0.01 * rng.standard_normal(n)
    slope, noise = target.mean() / features.sum(axis=1).mean(), 0.05 * np.mean(target**2)
    fit = fit_sum(features, target)
    assert fit.weights == pytest.approx(np.maximum(posterior(features, target, slope, noise), 0.0))
    for row in range(n):
        others = np.arange(n) != row
        assert fit.left_out[row] == pytest.approx(
            features[row] @ posterior(features[others], target[others], slope, noise)
        )


def test_no_weight_is_negative() -> None:
    weights = fit_sum(np.eye(3), np.array([0.3, -0.2, 0.1])).weights
    assert weights[1] == 0.0
    assert weights[0] > weights[2] > 0.0


def test_what_adds_nothing_on_average_has_no_weight() -> None:
    assert fit_sum(np.eye(2), np.array([0.1, -0.2])).weights.tolist() == [0.0, 0.0]
    assert fit_sum(np.zeros((1, 2)), np.zeros(1)).weights.tolist() == [0.0, 0.0]
    assert fit_sum(np.empty((1, 0)), np.zeros(1)).weights.tolist() == []


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_what_adds_up_is_found_out(power: float) -> None:
    menu = make_flat_menu(10)

    def value(protocol: Protocol) -> float:
        return 0.5 + (linear_value_of(protocol) - 0.5) ** (1.0 / power)

    start = make_start(menu)
    start.learn(scores_of(menu, value))  # each test alone, and all of them
    assert start._power == power
    both = [Protocol({"test1": [1], "test5": [1]}), Protocol({"test3": [1], "test8": [1], "test9": [1]})]
    assert start._expected(start._features_of(both)) == pytest.approx([value(one) for one in both], abs=0.05)


# ---------------------------------------------------------------- what is proposed


def test_the_first_proposal_is_nearly_the_best_there_is() -> None:
    menu = make_flat_menu(10)
    scores = scores_of(menu, linear_value_of)
    exact = LatticeSearch().run(SearchSpace(menu), objective=Objective(linear_value_of), budget=Budget())
    yardstick = Yardstick.build(MONEY, menu, Budget())
    there = [Protocol.from_key(key) for key in scores]
    volumes = [
        yardstick.hypervolume(np.array([*scores.values(), value]), menu.price_many([*there, protocol]))
        for protocol, value in zip(exact.protocols, exact.values, strict=True)
    ]
    (first,) = proposals(make_start(menu), scores, 1)
    assert volumes[list(exact.protocols).index(first)] > 0.98 * max(volumes)
    assert 3 < len(first.modalities) < 9


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_sum_is_found_with_few_evaluations(sampler: str) -> None:
    space = SearchSpace(make_flat_menu(10))
    exact = LatticeSearch().run(space, objective=Objective(linear_value_of), budget=Budget())
    whole = exact.history[-1]["hypervolume"]

    def share(name: str) -> float:
        search = OptunaSearch(sampler=name, n_trials=24, batch_size=4)
        found = search.run(space, objective=Objective(linear_value_of), budget=Budget(), seed=1)
        return found.history[-1]["hypervolume"] / whole

    assert share(sampler) > 0.99
    assert share("random") < 0.92


def test_proposals_are_new_and_within_the_limits() -> None:
    budget = Budget(money=120.0, visits=0.0)
    menu = make_menu()
    scores = scores_of(menu, value_of, budget)
    found = proposals(make_start(menu, budget=budget), scores, 20)
    assert found
    assert all(budget.allows(menu.price(one)) for one in found)
    assert len({*scores, *(one.key for one in found)}) == len(scores) + len(found)


@pytest.mark.parametrize("objectives", [THREE, ("money", "diagnosis")])
def test_objectives_may_be_three_and_in_any_order(objectives: tuple[str, ...]) -> None:
    menu = make_menu()
    found = proposals(make_start(menu, objectives), scores_of(menu, value_of), 8)
    assert len(found) > 3
    if objectives != THREE:
        assert found == proposals(make_start(menu), scores_of(menu, value_of), 8)


def test_values_below_zero_only_have_to_be_better_when_higher() -> None:
    menu = make_flat_menu(10)
    found = proposals(make_start(menu), scores_of(menu, lambda one: linear_value_of(one) - 3.0), 6)
    assert len(found) == 6
    assert all(len(one.modalities) > 1 for one in found)


def test_the_same_was_scored_the_same_is_proposed() -> None:
    menu = make_menu()
    scores = scores_of(menu, value_of)
    used = make_start(menu)
    proposals(used, {key: 1.0 - value for key, value in scores.items()}, 5)  # all it learned before is forgotten
    start = make_start(menu)
    assert proposals(used, scores, 12) == proposals(start, scores, 12)
    whole = proposals(start, scores, 6)
    keys = [one.key for one in whole]
    for at in range(6):  # whoever asks in the middle of a batch, and in whatever order it is told what is running
        later = make_start(menu)
        later.learn(scores)
        assert later.propose({*scores, *keys[:at]}, set(keys[:at])) == whole[at]


def test_without_the_least_protocol_there_is_nothing_to_count_from() -> None:
    menu = make_menu()
    scores = scores_of(menu, value_of)
    del scores["history=1"]
    assert proposals(make_start(menu), scores, 3) == []
    assert proposals(make_start(menu), {}, 3) == []


def test_a_modality_that_could_not_be_scored_is_as_good_as_the_others() -> None:
    menu = make_flat_menu(10)
    scores = scores_of(menu, linear_value_of)
    del scores["test5=1"]
    start = make_start(menu)
    start.learn(scores)
    found = start.propose({*scores, "test5=1"}, ())
    assert found is not None
    assert found.key not in {*scores, "test5=1"}


def test_a_sum_that_promises_in_vain_is_given_up() -> None:
    menu = make_flat_menu(10)
    start = make_start(menu)
    scores = scores_of(menu, linear_value_of)
    n_first = len(scores)
    pairs = [one for one in SearchSpace(menu).lattice() if len(one.modalities) == 2]
    in_vain = {one.key: max(scores[f"{name}=1"] for name in one.modalities) for one in pairs[:n_first]}
    (*others, last) = in_vain
    for key in others:
        scores[key] = in_vain[key]
    assert proposals(start, scores, 1)
    scores[last] = in_vain[last]
    assert proposals(start, scores, 1) == []
    assert proposals(start, scores_of(menu, linear_value_of), 1) == []  # for good
    assert proposals(make_start(menu), scores_of(menu, linear_value_of), 1)


def test_a_large_lattice_is_narrowed_to_modalities_on_or_off(monkeypatch: pytest.MonkeyPatch) -> None:
    menu = make_menu()
    space = SearchSpace(menu)
    scores = scores_of(menu, value_of)
    scores.pop(menu.reference.key)
    monkeypatch.setattr(additive, "MAX_CANDIDATES", 8)
    found = proposals(make_start(menu), scores, 9)
    assert found
    for one in found:
        assert all(one.counts(name) in ((), space.alone(name).counts(name)) for name in space.optional)
    monkeypatch.setattr(additive, "MAX_CANDIDATES", 7)
    assert proposals(make_start(menu), scores, 9) == []


def test_fewer_averages_than_were_scored_promise_a_share_of_it_and_more_no_more() -> None:
    class Averaged(FirstN):
        """Two, four, or six averages of all shots."""

        def parameters(self, shots: ShotTable) -> tuple[Parameter, ...]:
            return (Parameter("n", low=1, high=len(shots), integer=True), Parameter("averages", choices=(4, 2, 6)))

        def settings(self, shots: ShotTable) -> Any:
            for averages in (4, 2, 6):
                yield {"n": len(shots), "averages": averages}

    shots = ShotTable.build(["a", "b"], money=1.0, max_count=6)
    menu = Menu([Plain("dwi", shots, [Averaged()]), *make_flat_menu(2).modalities.values()])
    start = make_start(menu)
    rows = start._features_of([Protocol({"dwi": [n, n]}) for n in (2, 4, 6)])
    assert rows[:, :2] == pytest.approx(np.array([[0.5, 0.5], [1.0, 1.0], [1.0, 1.0]]) / 2**0.5)


# ---------------------------------------------------------------- in a search


def test_chance_is_left_to_itself_and_so_is_a_sampler_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    def asked(sampler: str, additive_start: bool = True) -> list[str]:
        objective = Objective(flat_value_of)
        OptunaSearch(sampler=sampler, n_trials=30, batch_size=4, additive_start=additive_start).run(
            SearchSpace(make_flat_menu(8)), objective=objective, budget=Budget(), seed=5
        )
        return objective.asked

    before = {sampler: asked(sampler) for sampler in ("random", "tpe")}
    by_itself = asked("tpe", additive_start=False)
    monkeypatch.setattr(AdditiveStart, "propose", lambda *_: None)
    assert asked("random") == before["random"]
    assert asked("tpe") != before["tpe"]
    assert asked("tpe") == by_itself


@pytest.mark.parametrize("broken", ["history=1", "ecg=1 history=1"])
def test_a_search_goes_on_where_a_start_could_not_be_scored(broken: str) -> None:
    def value(protocol: Protocol) -> float:
        return float("nan") if protocol.key == broken else value_of(protocol)

    found = OptunaSearch(n_trials=24, batch_size=4).run(
        SearchSpace(make_menu()), objective=Objective(value), budget=Budget(), seed=2
    )
    assert len(found.protocols) > 12
    assert broken not in {one.key for one in found.protocols}
