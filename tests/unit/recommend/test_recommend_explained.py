"""What parts are worth, whom a change concerns, and whose diagnosis changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from recommend_scenario import (
    ALL_NEEDED,
    CT,
    ECG,
    HISTORY,
    KEYS,
    QUICK,
    REFERENCE,
    USELESS_CT,
    expected_auc,
    menu_of,
    record_of,
    tables,
)

from scanwise.design import Budget
from scanwise.evidence import ScoreTable
from scanwise.recommend import Explained, recommend
from scanwise.recommend.explained import contributions, doubts, flips, groups, layout, pictures

PARTS = {"parts": ["ecg", "ct"], "groups": []}
NOBODY = np.zeros((0, 1), dtype=bool)


def explained(worth: dict[str, float], *, n: int = 4000, always: bool = True) -> Explained:
    keys = KEYS if always else ("ct=1 ecg=1", "ecg=1", "ct=1")
    known = {"history": 0.0, **worth}
    _, test, _ = tables(known, n=n, keys=keys, repeats=1, folds=1 + always)
    return Explained(PARTS, test, NOBODY)


def shapley_of(worth: dict[str, float]) -> dict[str, float]:
    value = {key: expected_auc(worth, key) for key in KEYS}
    return {
        name: 0.5 * (value[alone] - value[HISTORY] + value[REFERENCE] - value[without])
        for name, alone, without in (("ecg", ECG, CT), ("ct", CT, ECG))
    }


@pytest.mark.parametrize("worth", [USELESS_CT, ALL_NEEDED])
def test_the_interval_of_a_part_covers_what_it_is_worth(worth):
    found = contributions(explained(worth), menu_of(), QUICK)
    for part in found["parts"]:
        expected = shapley_of(worth)[part["modality"]]
        assert part["shapley"]["low"] < expected < part["shapley"]["high"]
        assert part["shapley"]["high"] - part["shapley"]["low"] < 0.05
    total = sum(part["shapley"]["value"] for part in found["parts"])
    assert total == pytest.approx(found["all"]["value"] - found["always"]["value"])


def test_a_useless_part_is_worth_nothing_first_and_last():
    found = {part["modality"]: part for part in contributions(explained(USELESS_CT), menu_of(), QUICK)["parts"]}
    for field in ("shapley", "alone", "last"):
        assert found["ct"][field]["low"] <= 0 <= found["ct"][field]["high"]
        assert found["ecg"][field]["low"] > 0.02


def test_parts_that_say_the_same_stand_in_for_each_other():
    _, test, _ = tables({"history": 0.8, "ecg": 1.2, "ct": 1.2}, n=2000, repeats=1, folds=2, redundant=True)
    (pair,) = contributions(Explained(PARTS, test, NOBODY), menu_of(), QUICK)["pairs"]
    assert pair["modalities"] == ["ecg", "ct"]
    assert pair["interaction"]["high"] < -0.03


def test_where_nothing_is_always_done_guessing_is_the_start():
    found = contributions(explained({"ecg": 1.0, "ct": 1.0}, always=False), menu_of(always=False), QUICK)
    # the menu's reference holds the history too, which is no part here: only the two parts are scored
    assert found["always"] == {"value": 0.5, "low": 0.5, "high": 0.5}


def test_reasons_where_it_cannot_be_told():
    assert "stage explain" in contributions(None, menu_of(), QUICK)["reason"]
    assert "too many" in contributions(Explained({"parts": ["a"] * 9}, None, NOBODY), menu_of(), QUICK)["reason"]
    one = Explained({"parts": ["ecg"]}, explained(ALL_NEEDED).subsets, NOBODY)
    assert "fewer than two" in contributions(one, menu_of(), QUICK)["reason"]


def test_a_group_whose_patients_lose_more_is_seen():
    _, test, _ = tables(ALL_NEEDED, n=3000, repeats=1, folds=1)
    worse = np.arange(3000) % 3 == 0
    rows = test.probability.copy()
    rows[:, test.row(ECG), worse] = np.random.default_rng(0).random(worse.sum())  # guessing, in this group alone
    table = ScoreTable(test.protocols, rows, test.stratum, test.label, test.site)
    few = np.zeros(3000, dtype=bool)
    few[:4] = True
    about = [{"group": "made up", "level": level, "lesion": False} for level in ("worse", "others", "few")]
    told = Explained({"parts": [], "groups": about}, None, np.stack([worse, ~worse, few]))
    found = groups(told, table, ECG, REFERENCE, QUICK)["groups"]
    assert found[0]["difference"]["high"] < found[1]["difference"]["low"]
    assert found[0]["n"] == 1000
    assert found[0]["auc"]["low"] < 0.5 < found[0]["auc"]["high"]
    assert found[2]["auc"] is None
    assert "fewer than" in found[2]["reason"]
    assert all(one["difference"] is None for one in groups(told, table, None, REFERENCE, QUICK)["groups"])


def by_hand() -> ScoreTable:
    """Six patients; the reference and one other protocol."""
    label = np.array([1, 1, 1, 0, 0, 0])
    today = [0.9, 0.2, 0.6, 0.1, 0.7, 0.2]
    other = [0.3, 0.6, 0.6, 0.8, 0.1, 0.2]
    rows = np.array([[today, other]])
    return ScoreTable((REFERENCE, ECG), rows, np.zeros((1, 6), dtype=int), label, np.full(6, "here"))


def test_changed_diagnoses_are_counted_both_ways():
    found = next(one for one in flips(by_hand(), ECG, REFERENCE, QUICK) if one.get("threshold") == 0.5)
    counts = {name: found[name] for name in ("found", "missed", "alarmed", "spared", "positive", "negative")}
    assert counts == {"found": 1, "missed": 1, "alarmed": 1, "spared": 1, "positive": 3, "negative": 3}
    assert (found["kept_positive"], found["kept_negative"]) == (1, 1)
    assert flips(by_hand(), REFERENCE, REFERENCE, QUICK) == []
    assert flips(by_hand(), None, REFERENCE, QUICK) == []


def test_at_a_fixed_specificity_false_alarms_do_not_exceed_it():
    _, test, _ = tables(ALL_NEEDED, n=1200, repeats=2, folds=3)
    first = flips(test, ECG, REFERENCE, QUICK)[0]
    allowed = (1 - first["specificity"]) * first["negative"]
    for one, other in (("alarmed", "spared"), ("spared", "alarmed")):
        both = first["negative"] - first["kept_negative"] - first["alarmed"] - first["spared"]
        assert both + first[one] <= allowed + 1e-9, other
    assert first["missed"] > first["found"]


def test_pictures_are_those_of_the_protocol_that_is_shown():
    taken: list[dict[str, Any]] = [{"key": ECG, "case": "lost"}, {"key": CT, "case": "lost"}]
    told = Explained({}, None, NOBODY, taken)
    assert pictures(told, CT, REFERENCE) == {"applicable": True, "patients": [taken[1]]}
    assert "stays" in pictures(told, REFERENCE, REFERENCE)["reason"]
    assert "no images" in pictures(Explained({}, None, NOBODY), CT, REFERENCE)["reason"]
    assert "stage explain" in pictures(None, CT, REFERENCE)["reason"]


def test_a_recommendation_carries_all_of_it():
    record = record_of(USELESS_CT, explained=explained(USELESS_CT, n=600))
    content = recommend(record, Budget(), QUICK).content
    assert content["decision"]["key"] == ECG
    assert [part["modality"] for part in content["contributions"]["parts"]] == ["ecg", "ct"]
    assert content["flips"][0]["specificity"] == QUICK.specificity
    assert content["layout"] == layout(menu_of())
    assert content["layout"]["ecg"]["kind"] == "shots"
    assert not recommend(record_of(USELESS_CT), Budget(), QUICK).content["contributions"]["applicable"]


def moved(gap: float, *, n: int = 400) -> Explained:
    """Two numbers: the first one makes CT useless by so much where it is higher, the second one does nothing."""
    rng = np.random.default_rng(0)
    label = np.arange(n) % 2
    noise = rng.standard_normal(n)
    sure = [1.5 * label + noise, 1.0 * label + noise]  # today, and without CT
    worse = [sure[0], (1.0 - gap) * label + noise]
    probability = 1 / (1 + np.exp(-np.array([sure, sure, worse, sure, sure])))
    where = [{"where": name, "low": 1.0, "value": 2.0, "high": 3.0} for name in ("a", "b")]
    about = {**PARTS, "doubts": {"protocols": [REFERENCE, ECG], "moved": where}}
    return Explained(about, None, NOBODY, (), {"probability": probability, "label": label})


def test_a_number_that_matters_moves_the_difference_and_another_one_does_not():
    found = doubts(moved(0.4), ECG, REFERENCE, QUICK)
    first, second = found["moved"]
    assert first["up"]["high"] < -0.02
    assert first["down"]["value"] == second["down"]["value"] == second["up"]["value"] == 0.0
    assert second["up"]["high"] == pytest.approx(0.0, abs=1e-12), "the same patients: nothing is left to chance"
    assert (found["n"], found["n_positive"]) == (400, 200)
    kept = doubts(moved(0.4), None, REFERENCE, QUICK)
    assert [one["up"]["value"] for one in kept["moved"]] == [0.0, 0.0], "today's protocol does not lose by it"


def test_why_no_number_was_moved_is_said():
    assert "stage=explain" in doubts(None, ECG, REFERENCE, QUICK)["reason"]
    assert "before this was looked at" in doubts(Explained(PARTS, None, NOBODY), ECG, REFERENCE, QUICK)["reason"]
    left_out = Explained({**PARTS, "doubts": {"reason": "it was left out"}}, None, NOBODY)
    assert doubts(left_out, ECG, REFERENCE, QUICK) == {"applicable": False, "reason": "it was left out"}
    stale = Explained(left_out.about, None, NOBODY, (), moved(0.4).moved)
    assert doubts(stale, ECG, REFERENCE, QUICK) == {"applicable": False, "reason": "it was left out"}
    assert "not among" in doubts(moved(0.0), CT, REFERENCE, QUICK)["reason"]
