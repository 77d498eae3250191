from __future__ import annotations

import itertools

import numpy as np
import pytest
from policy_scenario import history, with_age

from scanwise.errors import ScanwiseError
from scanwise.evidence import auc
from scanwise.policy import AheadPolicy, History, Workup, examine, examine_learners, make_policy, outlook, walk

WEIGHTS = np.geomspace(2e-3, 0.1, 8)


def test_states_and_prices_are_those_of_the_menu() -> None:
    workup = Workup(with_age())
    assert workup.shape == (2, 2, 2, 2)
    assert [track.modality for track in workup.tracks] == ["pointer", "left", "right", "useless"]
    everything = workup.of(with_age().everything())
    assert everything == workup.n_states - 1
    assert workup.price("money")[everything] == 1 + 2 + 2 + 2 + 3  # the visit is paid once
    both = workup.of(with_age().protocol("left", "right"))
    assert workup.price("money")[both] == 6.0
    for state in range(workup.n_states):
        assert workup.of(workup.protocols[state]) == state
        for step, after in enumerate(workup.after[state]):
            if after >= 0:
                assert workup.protocols[after].covers(workup.protocols[state])
                assert workup.levels[after, workup.steps[step].track] == workup.steps[step].rung


def test_one_looks_first_where_to_look() -> None:
    """The pointer tells nothing by itself: who looks one step ahead never takes it."""
    examined = history(400, 5)
    ahead = make_policy("ahead").fit(history(), axis="money", weights=WEIGHTS, seed=0)
    myopic = make_policy("myopic").fit(history(), axis="money", weights=WEIGHTS, seed=0)
    clever, greedy = (walk(guide, examined.shown, 0.012) for guide in (ahead, myopic))
    assert (clever.steps[:, 0] == 0).all()
    assert not (greedy.steps == 0).any()
    right = 1 + (examined.values[0][:, 0] > 0)
    assert (clever.steps[:, 1] == right).mean() > 0.95
    assert not (clever.steps == 3).any()  # nobody pays for what is useless
    found = [auc(examined.label, examined.probability[one.state, np.arange(400)]) for one in (clever, greedy)]
    assert found[0] > found[1] + 0.1


def test_the_dearer_the_less_is_done() -> None:
    examined = history(400, 5)
    guide = make_policy("ahead").fit(history(), axis="money", weights=WEIGHTS, seed=0)
    paid = [examined.workup.price("money")[walk(guide, examined.shown, weight).state].mean() for weight in WEIGHTS]
    assert all(one >= two - 0.05 for one, two in itertools.pairwise(paid))
    assert paid[0] > 4
    assert paid[-1] < 1


def test_learning_patients_are_examined_by_what_was_learned_from_others() -> None:
    learners = history()
    found = examine_learners(AheadPolicy(), learners, axis="money", weights=WEIGHTS, seed=0)
    guide = AheadPolicy().fit(learners, axis="money", weights=WEIGHTS, seed=0)
    own = examine(guide, learners.shown, WEIGHTS, seed=0)
    assert found.state.shape == own.state.shape == (len(WEIGHTS), 600)
    assert (found.state != own.state).any()
    assert np.isfinite(found.probability).all()


def test_the_outlook_covers_what_comes() -> None:
    learners, examined = history(2000), history(200, 9)
    step, inside = 1, []  # left
    after = examined.probability[examined.workup.after[0, step]]
    for patient in range(200):
        low, high = outlook(examined.workup, examined.shown.of(np.array([patient])), learners.shown, 0)[0][step]
        inside.append(low - 1e-9 <= after[patient] <= high + 1e-9)
    assert 0.7 < np.mean(inside) < 0.9


def test_bad_input_is_refused() -> None:
    examined = history(100, 1)
    workup, probability, label = examined.workup, examined.probability, examined.label
    with pytest.raises(ScanwiseError, match="one diagnosis"):
        History(workup, probability, np.ones(100, dtype=np.int64))
    with pytest.raises(ScanwiseError, match="shape"):
        History(workup, probability[:-1], label)
    with pytest.raises(ScanwiseError, match="everything was acquired"):
        History(workup, np.where(np.arange(100) == 3, np.nan, probability), label)
    guide = make_policy("ahead").fit(history(), axis="money", weights=WEIGHTS, seed=0)
    with pytest.raises(ScanwiseError, match="must end"):
        walk(guide, examined.shown, 0.1, stops=False)
    with pytest.raises(ScanwiseError, match="budget must pay"):
        walk(guide, examined.shown, 0.1, start=3, budget=1.0)
    with pytest.raises(ScanwiseError, match="did you mean"):
        make_policy("ahed")
    with pytest.raises(ScanwiseError, match="nothing to decide"):
        Workup(with_age(), without=["pointer", "left", "right", "useless"])
    with pytest.raises(ScanwiseError, match="no modality"):
        Workup(with_age(), without=["middle"])
