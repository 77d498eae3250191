from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from search_scenario import Objective, flat_value_of, make_flat_menu, make_menu, value_of

from scanwise.design import Budget, Protocol
from scanwise.errors import ScanwiseError
from scanwise.search import AutoSearch, LatticeSearch, OptunaSearch, SearchResult, SearchSpace

FREE = Budget()


def test_the_front_is_the_one_found_by_hand() -> None:
    space = SearchSpace(make_menu())
    found = LatticeSearch().run(space, objective=Objective(), budget=FREE)
    menu = space.menu
    assert len(found.protocols) == 128
    assert found.how == "exact lattice of 128 protocols"
    assert found.complete
    pairs = {protocol.key: (value_of(protocol), menu.price(protocol).money) for protocol in space.lattice()}
    expected = {
        key
        for key, (value, money) in pairs.items()
        if not any((v >= value and m <= money and (v, m) != (value, money)) for v, m in pairs.values())
    }
    assert {protocol.key for protocol in found.front_protocols} == expected
    money = found.costs[found.front, 1]
    assert (np.diff(money) > 0).all()
    assert found.front_protocols[0].key == "history=1"
    assert found.front_protocols[-1] == menu.everything()


def test_what_is_over_a_limit_is_never_scored() -> None:
    space = SearchSpace(make_menu())
    objective = Objective()
    budget = Budget(money=60.0, visits=0.0)
    found = LatticeSearch().run(space, objective=objective, budget=budget)
    affordable = [protocol.key for protocol in space.lattice() if budget.allows(space.menu.price(protocol))]
    assert objective.asked == affordable
    assert 0 < len(affordable) < 128
    assert found.how == f"exact lattice of 128 protocols, {128 - len(affordable)} over the limits not scored"
    assert found.complete


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        (5.0, r"contradicts 'mri', which is always acquired and takes 170"),  # alone it is too dear already
        (200.0, r"contradicts 'history \+ ecg \+ mri', which is always acquired and takes 204"),  # only together
    ],
)
def test_of_what_is_mandatory_the_part_that_breaks_a_limit_is_named(limit: float, words: str) -> None:
    space = SearchSpace(make_menu(), Protocol({"ecg": [1], "mri": [1] * 6}))
    for search in (LatticeSearch(), OptunaSearch(n_trials=3), AutoSearch()):
        with pytest.raises(ScanwiseError, match=words):
            search.check(space, budget=Budget(money=limit))


def test_a_limit_that_is_met_exactly_is_kept() -> None:
    space = SearchSpace(make_flat_menu(3))
    found = LatticeSearch().run(space, objective=Objective(flat_value_of), budget=Budget(money=6.0))
    assert len(found.protocols) == 8


def test_a_limit_and_what_it_contradicts_are_named() -> None:
    objective = Objective()
    words = (
        r"limits\.minutes=0\.5 contradicts 'history', which is always acquired and takes 1; "
        r"limits\.money=1 contradicts 'history', which is always acquired and takes 4"
    )
    with pytest.raises(ScanwiseError, match=words):
        LatticeSearch().run(SearchSpace(make_menu()), objective=objective, budget=Budget(minutes=0.5, money=1.0))
    assert objective.batches == []


def test_progress_tells_how_much_is_done_and_what_the_front_is() -> None:
    told: list[tuple[int, int, str]] = []
    found = LatticeSearch(batch_size=50).run(
        SearchSpace(make_menu()),
        objective=Objective(),
        budget=FREE,
        progress=lambda done, total, text: told.append((done, total, text)),
    )
    assert [(done, total) for done, total, _ in told] == [(50, 128), (100, 128), (128, 128)]
    assert told[-1][2] == f"{len(found.front)} on the front, hypervolume {found.history[-1]['hypervolume']:.2f}"


def test_the_history_never_falls_and_ends_with_the_mean_best_value_over_limits() -> None:
    space = SearchSpace(make_menu())
    found = LatticeSearch(batch_size=20).run(space, objective=Objective(), budget=FREE)
    volumes = [entry["hypervolume"] for entry in found.history]
    assert [entry["evaluated"] for entry in found.history] == [20, 40, 60, 80, 100, 120, 128]
    assert volumes == sorted(volumes)
    limits = (np.arange(20_000) + 0.5) / 20_000 * space.menu.price(space.menu.everything()).money
    best = [found.values[found.costs[:, 1] <= limit].max(initial=0.0) for limit in limits]
    assert volumes[-1] == pytest.approx(np.mean(best), abs=1e-4)


def test_three_objectives_keep_what_saves_time() -> None:
    search = LatticeSearch(objectives=["diagnosis", "money", "minutes"])
    space = SearchSpace(make_flat_menu(4))  # two cheap tests cost the money of a dear one, and twice the time
    found = search.run(space, objective=Objective(flat_value_of), budget=FREE)
    two = LatticeSearch().run(space, objective=Objective(flat_value_of), budget=FREE)
    assert found.objectives == ("diagnosis", "money", "minutes")
    assert set(two.front_protocols) < set(found.front_protocols)


def test_a_menu_without_money_is_searched_along_its_first_priced_axis() -> None:
    from search_scenario import Plain

    from scanwise.design import Menu, ShotTable, Whole

    menu = Menu([Plain("ct", ShotTable.build(["view"], msv=2.0), [Whole()])])
    found = LatticeSearch().run(SearchSpace(menu), objective=Objective(lambda protocol: 0.5), budget=FREE)
    assert found.objectives == ("diagnosis", "msv")
    assert [protocol.key for protocol in found.front_protocols] == ["nothing"]


def test_a_protocol_that_no_scheme_yields_cannot_be_enqueued() -> None:
    protocol = Protocol({"history": [1], "mri": [0, 1, 0, 0, 0, 0]})
    with pytest.raises(ScanwiseError, match="must be in the search space, but 'history=1 mri=0,1,0x4'"):
        LatticeSearch().run(SearchSpace(make_menu()), objective=Objective(), budget=FREE, enqueue=[protocol])


def test_a_misspelt_enqueued_modality_gets_a_suggestion() -> None:
    with pytest.raises(ScanwiseError, match="did you mean 'ecg'"):
        LatticeSearch().run(
            SearchSpace(make_menu()), objective=Objective(), budget=FREE, enqueue=[Protocol({"egc": [1]})]
        )


def test_current_practice_outside_the_space_is_left_out() -> None:
    space = SearchSpace(make_menu(), allowed=["ecg"])
    found = LatticeSearch().run(space, objective=Objective(), budget=FREE, enqueue=[space.menu.reference])
    assert [protocol.key for protocol in found.protocols] == ["history=1", "ecg=1 history=1"]


def test_a_lattice_that_is_too_large_is_refused() -> None:
    with pytest.raises(ScanwiseError, match="limited to 100 protocols"):
        LatticeSearch(max_protocols=100).run(SearchSpace(make_menu()), objective=Objective(), budget=FREE)


def test_one_protocol_that_fails_does_not_take_its_batch_along() -> None:
    def value(protocol: Protocol) -> float:
        if protocol.key == "ecg=1 history=1":
            raise RuntimeError("no patient had an ECG alone")
        return value_of(protocol)

    found = LatticeSearch().run(SearchSpace(make_menu()), objective=Objective(value), budget=FREE)
    assert len(found.protocols) == 127
    assert found.how == "exact lattice of 128 protocols, 1 could not be scored"
    assert not found.complete


def test_a_value_that_is_no_number_is_left_out() -> None:
    def value(protocol: Protocol) -> float:
        return float("nan") if "ecg" in protocol.modalities else value_of(protocol)

    found = LatticeSearch().run(SearchSpace(make_menu()), objective=Objective(value), budget=FREE)
    assert len(found.protocols) == 64
    assert np.isfinite(found.values).all()


def test_three_failures_in_a_row_end_the_search() -> None:
    def value(protocol: Protocol) -> float:
        raise RuntimeError("the model file is gone")

    objective = Objective(value)
    with pytest.raises(
        ScanwiseError, match=r"3 protocols in a row could not be scored.*RuntimeError: the model file is gone"
    ):
        LatticeSearch().run(SearchSpace(make_menu()), objective=objective, budget=FREE)
    assert len(objective.batches) == 4  # the batch, then three alone


def test_no_score_at_all_is_an_error_with_the_reason() -> None:
    with pytest.raises(ScanwiseError, match=r"not one protocol could be scored.*the value is nan"):
        LatticeSearch().run(SearchSpace(make_menu()), objective=Objective(lambda protocol: float("nan")), budget=FREE)


def test_an_objective_of_the_wrong_shape_is_reported() -> None:
    with pytest.raises(ScanwiseError, match=r"must return shape \(1,\), but returned \(1, 2\)"):
        LatticeSearch().run(
            SearchSpace(make_menu()), objective=lambda protocols: np.zeros((len(protocols), 2)), budget=FREE
        )


def test_auto_says_which_search_it_used() -> None:
    space = SearchSpace(make_menu())
    small = AutoSearch().run(space, objective=Objective(), budget=FREE, seed=1, directory=None)
    large = AutoSearch(max_lattice=127, n_trials=9, sampler="random").run(
        space, objective=Objective(), budget=FREE, seed=1, directory=None
    )
    assert small.how == "exact lattice of 128 protocols"
    assert large.how.startswith("Optuna (random), 9 trials: ")
    assert not large.complete


def test_a_result_survives_json() -> None:
    found = LatticeSearch().run(SearchSpace(make_menu()), objective=Objective(), budget=Budget(money=150.0))
    again = SearchResult.from_dict(json.loads(json.dumps(found.to_dict())))
    assert again.to_dict() == found.to_dict()
    assert again.protocols == found.protocols
    np.testing.assert_array_equal(again.costs, found.costs)
    np.testing.assert_array_equal(again.front, found.front)
    assert repr(again) == repr(found)
    assert "on the front of diagnosis, money" in repr(found)


def test_a_result_of_another_version_is_refused() -> None:
    plain = (
        LatticeSearch().run(SearchSpace(make_flat_menu(2)), objective=Objective(flat_value_of), budget=FREE).to_dict()
    )
    with pytest.raises(ScanwiseError, match="schema_version 1"):
        SearchResult.from_dict({**plain, "schema_version": 2})


def test_a_front_of_rows_that_do_not_exist_is_refused() -> None:
    plain = (
        LatticeSearch().run(SearchSpace(make_flat_menu(2)), objective=Objective(flat_value_of), budget=FREE).to_dict()
    )
    with pytest.raises(ScanwiseError, match="must be rows of the 4 protocols"):
        SearchResult.from_dict({**plain, "front": [4]})


def test_lengths_that_differ_are_refused() -> None:
    plain = (
        LatticeSearch().run(SearchSpace(make_flat_menu(2)), objective=Objective(flat_value_of), budget=FREE).to_dict()
    )
    with pytest.raises(ScanwiseError, match="4 protocols need costs"):
        SearchResult.from_dict({**plain, "values": [0.5, 0.6]})


@pytest.mark.parametrize(
    ("objectives", "message"),
    [
        (["diagnosis", "mony"], "did you mean 'money'"),
        (["money", "minutes"], "must be 'diagnosis' and one or two cost axes"),
        (["diagnosis"], "must be 'diagnosis' and one or two cost axes"),
        (["diagnosis", "money", "money"], "each once"),
        (["diagnosis", "money", "minutes", "visits"], "easier to search under"),
        ("diagnosis", "must be a list"),
    ],
)
def test_wrong_objectives_are_refused(objectives: Any, message: str) -> None:
    with pytest.raises(ScanwiseError, match=message):
        LatticeSearch(objectives=objectives)


def test_an_objective_that_is_not_priced_is_refused() -> None:
    search = LatticeSearch(objectives=["diagnosis", "msv"])
    with pytest.raises(ScanwiseError, match="'msv' is nothing on this menu"):
        search.run(SearchSpace(make_menu()), objective=Objective(), budget=FREE)


@pytest.mark.parametrize("value", [0, -3, 2.5, True, "many"])
def test_numbers_of_protocols_must_be_positive_whole_numbers(value: Any) -> None:
    with pytest.raises(ScanwiseError, match=r"search.max_protocols must be a whole number >= 1"):
        LatticeSearch(max_protocols=value)
