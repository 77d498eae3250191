"""What holds for every registered policy."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from scanwise.errors import ScanwiseError
from scanwise.policy import Guide, History, make_policy, policies, walk

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit" / "policy"))
from policy_scenario import history

WEIGHTS = np.geomspace(1e-3, 0.3, 6)

every_policy = pytest.mark.parametrize("name", sorted(policies()))


def learned(name: str, seed: int = 0, learners: History | None = None) -> Guide:
    return make_policy(name).fit(learners or history(), axis="money", weights=WEIGHTS, seed=seed)


@every_policy
@pytest.mark.parametrize("budget", [0.0, 4.0, 5.5, 100.0])
def test_the_budget_is_never_exceeded(name: str, budget: float) -> None:
    examined = history(200, 1)
    for stops in (True, False):
        found = walk(learned(name), examined.shown, WEIGHTS[0], budget=budget, stops=stops)
        assert (examined.workup.price("money")[found.state] <= budget + 1e-9).all()


@every_policy
def test_nothing_is_acquired_twice(name: str) -> None:
    examined = history(200, 1)
    found = walk(learned(name), examined.shown, WEIGHTS[0], budget=100.0, stops=False)
    for steps in found.steps.tolist():
        tracks = [examined.workup.steps[step].track for step in steps if step >= 0]
        assert len(set(tracks)) == len(tracks)  # every track has one rung here
    assert (found.depth == len(examined.workup.tracks)).all()


@every_policy
def test_the_same_seed_gives_the_same_examinations(name: str) -> None:
    examined = history(100, 1)
    one, two = (walk(learned(name), examined.shown, WEIGHTS[1], seed=3, budget=7.0) for _ in range(2))
    np.testing.assert_array_equal(one.steps, two.steps)


@every_policy
def test_the_diagnosis_is_never_read(name: str) -> None:
    """Shuffling the diagnoses of those who are examined changes nothing: there is no way by which they get there."""
    guide, examined = learned(name), history(100, 1)
    before = walk(guide, examined.shown, WEIGHTS[1], budget=9.0)
    np.random.default_rng(0).shuffle(examined.label)
    after = walk(guide, examined.shown, WEIGHTS[1], budget=9.0)
    np.testing.assert_array_equal(before.steps, after.steps)


@every_policy
def test_what_was_not_acquired_is_never_looked_at(name: str) -> None:
    guide, examined = learned(name), history(50, 1)
    workup = examined.workup
    for state in range(workup.n_states):
        told = guide.worth(state, examined.shown.until(workup, state), WEIGHTS[1], np.random.default_rng(0))
        assert not np.isnan(told).any()
        open_ = workup.after[state] >= 0
        assert np.isneginf(told[:, ~open_]).all()
        np.testing.assert_array_equal(told, guide.worth(state, examined.shown, WEIGHTS[1], np.random.default_rng(0)))


@every_policy
def test_what_was_learned_survives_a_file(name: str) -> None:
    guide = learned(name)
    examined = history(50, 1)
    again = make_policy(name).read(examined.workup, "money", guide.arrays())
    for weight in WEIGHTS[::2]:
        one, two = (walk(which, examined.shown, weight, budget=9.0) for which in (guide, again))
        assert (one.state == two.state).mean() > 0.97  # single precision


@every_policy
def test_settings_are_checked(name: str) -> None:
    kind = policies()[name]
    with pytest.raises(ScanwiseError, match="measure"):
        kind(measure="hope")
    for field in dataclasses.fields(kind):
        if field.name in ("n", "sharpness"):
            with pytest.raises(ScanwiseError, match=field.name):
                kind(**{field.name: 0})
