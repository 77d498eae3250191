"""Large lattices: fused from single settings, checked against protocols scored one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from search_scenario import Objective, make_menu, value_of

from scanwise.artifacts import read_arrays
from scanwise.design import Budget, Product, Protocol
from scanwise.errors import ScanwiseError
from scanwise.search import AutoSearch, LatticeSearch, ProductObjective, SearchResult, SearchSpace, hypervolume
from scanwise.search import _fused as fused_module

FREE = Budget()


class Fused(Objective):
    """Also scores products, off by `error`, which every refinement makes ten times smaller."""

    def __init__(self, value: Any = value_of, *, error: float = 0.0, noise: float = 0.02, per_block: int = 30) -> None:
        super().__init__(value)
        self.error = error
        self.standard_error = noise
        self.per_block = per_block
        self.refined: list[int] = []
        self.fused: list[int] = []

    def of_product(
        self, product: Product, *, wanted: NDArray[np.bool_], refine: int
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float64]]]:
        self.refined.append(refine)
        rows = np.flatnonzero(wanted)
        off = self.error * 0.1**refine * np.random.default_rng(1).normal(size=len(product))
        for start in range(0, len(rows), self.per_block):
            block = rows[start : start + self.per_block]
            self.fused += block.tolist()
            yield block, np.array([self.value(one) for one in product.protocols(block)]) + off[block]

    def noise(self, protocols: Sequence[Protocol]) -> NDArray[np.float64]:
        return np.full(len(protocols) - 1, self.standard_error)


def fuse(objective: Objective, *, budget: Budget = FREE, keep: int = 20, **options: Any) -> SearchResult:
    space = SearchSpace(make_menu(), fusible=True)
    return LatticeSearch(max_protocols=100, keep=keep).run(space, objective=objective, budget=budget, **options)


def one_by_one(**options: Any) -> SearchResult:
    return LatticeSearch().run(SearchSpace(make_menu()), objective=Objective(), **{"budget": FREE, **options})


def test_the_front_is_that_of_the_same_lattice_scored_one_by_one() -> None:
    objective = Fused()
    assert isinstance(objective, ProductObjective)
    found, expected = fuse(objective), one_by_one()
    assert [protocol.key for protocol in found.front_protocols] == [one.key for one in expected.front_protocols]
    np.testing.assert_allclose(found.values[found.front], expected.values[expected.front])
    np.testing.assert_array_equal(found.costs[found.front], expected.costs[expected.front])
    assert found.n_scored == 128
    assert found.complete
    assert found.how == (
        f"exact lattice of 128 protocols, fused from single settings; the {len(found.protocols)} on or nearest to the "
        "front scored one by one"
    )
    assert objective.refined == [0]
    assert sorted(objective.fused) == list(range(128))
    assert found.history == (
        {"evaluated": 128, "hypervolume": pytest.approx(expected.history[-1]["hypervolume"], abs=1e-12)},
    )


def test_what_is_nearest_to_the_front_is_listed_with_what_every_search_looks_at() -> None:
    space = SearchSpace(make_menu())
    everything = one_by_one()
    wanted = Protocol({"history": [1], "blood": [0, 0, 1]})
    found = fuse(Fused(), keep=30, enqueue=[wanted])
    listed = set(found.protocols)
    assert {wanted, space.menu.reference, space.mandatory, *(space.alone(name) for name in space.optional)} <= listed
    money, value = everything.costs[:, 1], everything.values
    below = np.array([value[money <= one].max() for one in money]) - value
    nearest = np.sort(below)[:30]
    chosen = [one for one, distance in zip(everything.protocols, below, strict=True) if distance < nearest[-1]]
    assert set(chosen) <= listed
    assert 30 <= len(listed) <= 30 + 7


def test_the_whole_front_is_listed_however_few_are_kept() -> None:
    found, expected = fuse(Fused(), keep=3), one_by_one()
    assert len(expected.front) > 6
    assert found.front_protocols == expected.front_protocols


def test_values_that_are_off_are_told_and_the_front_is_exact() -> None:
    found, expected = fuse(Fused(error=1e-3)), one_by_one()
    assert not found.how.startswith("exact")
    assert "values off by 0.0009 (root mean square; largest 0.003) in 128 protocols scored one by one" in found.how
    assert "where the standard error of a difference is 0.02" in found.how
    exact = dict(zip(expected.protocols, expected.values, strict=True))
    np.testing.assert_allclose(found.values, [exact[protocol] for protocol in found.protocols])
    assert found.complete


def test_what_is_not_well_below_the_noise_is_refined() -> None:
    objective = Fused(error=0.5)
    found = fuse(objective)
    assert objective.refined == [0, 1, 2]  # .5, .05, .005 of .02
    assert "values off by 0.005" in found.how


def test_only_some_are_checked_where_there_are_many(monkeypatch) -> None:
    monkeypatch.setattr(fused_module, "_CHECKED", 20)
    objective = Fused(error=0.2)
    found = fuse(objective)
    assert objective.refined == [0, 1, 2]
    assert len(objective.fused) == 3 * 128
    assert found.n_scored == 128
    assert "20 protocols scored one by one" in found.how


def test_a_model_that_does_not_get_better_is_refused() -> None:
    with pytest.raises(ScanwiseError, match=r"cannot be fused from single settings: values off by 9e-07"):
        fuse(Fused(error=1e5, noise=1e-9))


def test_what_is_over_a_limit_is_neither_fused_nor_listed(tmp_path: Path) -> None:
    space = SearchSpace(make_menu())
    budget = Budget(money=120.0)
    objective = Fused()
    found = fuse(objective, budget=budget, directory=tmp_path)
    affordable = [row for row, one in enumerate(space.lattice()) if budget.allows(space.menu.price(one))]
    assert 0 < len(affordable) < 128
    assert sorted(objective.fused) == affordable
    assert found.n_scored == len(affordable)
    assert (found.costs[:, 1] <= 120.0).all()
    assert f"{128 - len(affordable)} over the limits not scored" in found.how
    assert np.flatnonzero(np.isfinite(read_arrays(tmp_path / "lattice.npz")["values"])).tolist() == affordable


def test_the_values_of_all_protocols_are_kept_as_arrays(tmp_path: Path) -> None:
    space = SearchSpace(make_menu())
    fuse(Fused(), directory=tmp_path)
    kept = read_arrays(tmp_path / "lattice.npz")
    lattice = list(space.lattice())
    np.testing.assert_allclose(kept["values"], [value_of(protocol) for protocol in lattice])
    np.testing.assert_array_equal(kept["costs"], space.menu.price_many(lattice))
    assert kept["fixed"] == "history=1"
    assert kept["modalities"].tolist() == ["blood", "ecg", "mri"]
    row = 77
    at = np.unravel_index(row, [len(kept[f"settings_{name}"]) for name in kept["modalities"]])
    counts = {
        name: kept[f"settings_{name}"][index] for name, index in zip(kept["modalities"].tolist(), at, strict=True)
    }
    assert Protocol({"history": [1], **counts}) == lattice[row]


def test_failures_of_single_protocols_are_counted() -> None:
    def value(protocol: Protocol) -> float:
        return float("nan") if "ecg" in protocol.modalities else value_of(protocol)

    found = fuse(Fused(value))
    assert found.n_scored == 64
    assert not found.complete
    assert "64 could not be scored" in found.how
    assert not any("ecg" in protocol.modalities for protocol in found.protocols)


def test_no_value_at_all_is_an_error() -> None:
    with pytest.raises(ScanwiseError, match="not one of the protocols of the lattice could be scored"):
        fuse(Fused(lambda protocol: float("nan")))


def test_progress_rises_to_the_number_of_protocols() -> None:
    told: list[tuple[int, int, str]] = []
    found = fuse(Fused(), progress=lambda done, total, text: told.append((done, total, text)))
    assert [done for done, _, _ in told] == [30, 60, 90, 120, 127, 128]
    assert {total for _, total, _ in told} == {128}
    assert told[-1][2].startswith(f"{len(found.front)} on the front, hypervolume 0.")


def test_a_result_remembers_how_many_were_scored() -> None:
    found = fuse(Fused(), keep=10)
    again = SearchResult.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.n_scored == 128
    assert len(again.protocols) < 128
    old = {key: value for key, value in found.to_dict().items() if key != "n_scored"}
    assert SearchResult.from_dict(old).n_scored == len(found.protocols)


def test_three_objectives_have_the_front_of_the_lattice() -> None:
    space = SearchSpace(make_menu(), fusible=True)
    axes = ["diagnosis", "money", "minutes"]
    found = LatticeSearch(max_protocols=100, keep=20, objectives=axes).run(space, objective=Fused(), budget=FREE)
    expected = LatticeSearch(objectives=axes).run(space, objective=Objective(), budget=FREE)
    assert set(found.front_protocols) == set(expected.front_protocols)

    def volume(result: SearchResult) -> float:
        points = np.column_stack([result.values, result.costs[:, 1], result.costs[:, 0]])[result.front]
        return hypervolume(points, [0.0, 1000.0, 1000.0], [True, False, False])

    assert volume(found) == pytest.approx(volume(expected))


def test_auto_fuses_only_where_the_model_can() -> None:
    space, plain = SearchSpace(make_menu(), fusible=True), SearchSpace(make_menu())
    auto = AutoSearch(max_lattice=100, n_trials=9, sampler="random")
    assert "fused from single settings" in auto.run(space, objective=Fused(), budget=FREE).how
    assert auto.run(plain, objective=Objective(), budget=FREE).how.startswith("Optuna (random), 9 trials")
    small = AutoSearch(max_lattice=100, max_product=127, n_trials=9, sampler="random")
    assert small.run(space, objective=Fused(), budget=FREE).how.startswith("Optuna (random), 9 trials")
    assert AutoSearch().run(space, objective=Fused(), budget=FREE).how == "exact lattice of 128 protocols"


def test_a_fused_lattice_is_the_work_of_one_process() -> None:
    auto = AutoSearch(max_lattice=100)
    assert not auto.is_shared(SearchSpace(make_menu(), fusible=True))
    assert auto.is_shared(SearchSpace(make_menu()))


def test_a_lattice_that_is_too_large_is_refused_before_any_work_with_the_limit_that_counts() -> None:
    search = LatticeSearch(max_protocols=100, max_product=127)
    for space, message in (
        (SearchSpace(make_menu(), fusible=True), r"limited to 127 protocols(.|\n)*search\.max_product"),
        (SearchSpace(make_menu()), r"limited to 100 protocols(.|\n)*search\.max_protocols"),
    ):
        with pytest.raises(ScanwiseError, match=message):
            search.check(space, budget=FREE)


def test_an_objective_that_scores_no_products_is_refused() -> None:
    with pytest.raises(ScanwiseError, match="more than 100 protocols needs an objective that scores products"):
        fuse(Objective())
