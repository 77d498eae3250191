"""Where evidence is normal the best decisions are known: information, worth, and what is lost all told."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm

from scanwise.design import Menu
from scanwise.modalities.panel import TestPanel
from scanwise.policy import BinormalPolicy, History, Workup, examine, expected_loss, make_policy
from scanwise.policy.binormal import _GRID, _expected, _information

PRIOR = 0.3
INFORMATION = {"first": 0.8, "second": 2.0}
WEIGHTS = np.geomspace(5e-3, 0.1, 7)


def staged(n: int, seed: int) -> History:
    """Return patients with two tests, for 1 and 4, whose log odds are normal and add up."""
    menu = Menu(
        [
            TestPanel("history", {"taken": {}}),
            TestPanel("first", {"value": {"money": 1.0}}),
            TestPanel("second", {"value": {"money": 4.0}}),
        ],
        always=None,
    )
    workup = Workup(Menu(menu.modalities.values(), always=menu.protocol("history")))
    rng = np.random.default_rng(seed)
    label = (rng.random(n) < PRIOR).astype(np.int64)
    says = {
        name: (2 * label - 1) * information / 2 + np.sqrt(information) * rng.normal(size=n)
        for name, information in INFORMATION.items()
    }
    names = [track.modality for track in workup.tracks]
    odds = [
        logit(PRIOR) + sum((level * says[name] for name, level in zip(names, levels, strict=True)), np.zeros(n))
        for levels in workup.levels.tolist()
    ]
    return History(workup, expit(np.stack(odds)), label)


@pytest.mark.parametrize("measure", ["log_loss", "brier", "error"])
def test_the_information_of_every_state_is_found(measure: str) -> None:
    history = staged(20_000, 0)
    added = history.workup.levels @ np.array([INFORMATION[track.modality] for track in history.workup.tracks])
    np.testing.assert_allclose(_information(history, measure), added, rtol=0.12, atol=0.05)


@pytest.mark.parametrize("information", [0.01, 0.5, 6.0])
def test_what_is_expected_is_the_integral_over_both_diagnoses(information: float) -> None:
    lost = np.minimum(0.2, expected_loss(_GRID, "log_loss"))
    found = _expected(lost, information)
    for at in (40, 92, 110):
        p = expit(_GRID[at])
        odds = np.linspace(-1, 1, 100_001) * 9 * information**0.5 + _GRID[at]
        ill, well = (norm.pdf(odds, _GRID[at] + sign * information / 2, information**0.5) for sign in (1, -1))
        wanted = np.trapezoid(np.interp(odds, _GRID, lost) * (p * ill + (1 - p) * well), odds)
        assert found[at] == pytest.approx(wanted, abs=1e-6)


def test_less_is_lost_all_told_than_by_any_fixed_protocol() -> None:
    learned, judged = staged(400, 1), staged(20_000, 2)
    price = judged.workup.price("money")
    guide = BinormalPolicy().fit(learned, axis="money", weights=WEIGHTS, seed=0)
    found = examine(guide, judged.shown, WEIGHTS, seed=0)
    lost = ((found.probability - judged.label) ** 2).mean(axis=1) + WEIGHTS * price[found.state].mean(axis=1)
    fixed = ((judged.probability - judged.label) ** 2).mean(axis=1) + WEIGHTS[:, None] * price
    assert (lost < fixed.min(axis=1) + 1e-3).all()
    assert (fixed.min(axis=1) - lost).max() > 0.005


def test_few_patients_are_enough() -> None:
    """With 80 patients to learn from, less is lost all told than with regressions."""
    judged = staged(5_000, 3)
    price = judged.workup.price("money")
    lost: dict[str, list[float]] = {"binormal": [], "ahead": []}
    for seed in range(8):
        for name, each in lost.items():
            guide = make_policy(name).fit(staged(80, 10 + seed), axis="money", weights=WEIGHTS, seed=0)
            found = examine(guide, judged.shown, WEIGHTS[2:4], seed=0)
            spent = price[found.state].mean(axis=1)
            each.append(float((((found.probability - judged.label) ** 2).mean(axis=1) + WEIGHTS[2:4] * spent).mean()))
    assert np.mean(lost["binormal"]) < np.mean(lost["ahead"])
