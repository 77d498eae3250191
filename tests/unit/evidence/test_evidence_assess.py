from __future__ import annotations

import json
import time

import numpy as np
import pytest
from evidence_scenario import random_table

from scanwise.errors import ScanwiseError
from scanwise.evidence import Assessment, ScoreTable, assess, assess_all, auc_with_covariance


def test_assessments_come_in_order_and_survive_json():
    table = random_table(rounds=3, protocols=4, patients=120, folds=3)
    results = assess_all(table, ["p2", "p0", "p3"], "p0", margin=0.03, n_resamples=200, thresholds=[0.2, 0.4])
    assert [result.key for result in results] == ["p2", "p0", "p3"]
    for result in results:
        text = json.dumps(result.to_dict(), allow_nan=False)
        again = Assessment.from_dict(json.loads(text))
        assert again.to_dict() == result.to_dict()
        assert again == result
    first = results[0]
    assert (first.n, first.n_positive) == (120, int(table.label.sum()))
    assert first.auc.value == pytest.approx(auc_with_covariance(table).value[2])
    assert first.auc_bootstrap.value == pytest.approx(first.auc.value)
    assert first.auc_bootstrap.low == pytest.approx(first.auc.low, abs=0.03)
    assert [point.threshold for point in first.net_benefit] == [0.2, 0.4]
    assert len(first.roc) == 101
    assert [site.site for site in first.sites] == ["north", "south"]


def test_the_reference_is_not_compared_with_itself():
    table = random_table(rounds=3, protocols=3, patients=120, folds=3)
    reference = assess(table, "p1", "p1", margin=0.03, n_resamples=200)
    assert reference.versus_reference is None
    assert reference.simultaneous is None
    assert reference.sites[0].difference is None
    assert reference.sites[0].auc is not None


def test_the_list_decides_the_adjustment_and_the_reference_is_not_counted():
    table = random_table(protocols=4, patients=120)
    alone = assess(table, "p2", "p0", margin=0.03, n_resamples=200)
    among = assess_all(table, table.protocols, "p0", margin=0.03, n_resamples=200)
    assert alone.versus_reference.p_better_adjusted == alone.versus_reference.p_better
    p = [result.versus_reference.p_better for result in among[1:]]
    assert min(result.versus_reference.p_better_adjusted for result in among[1:]) == pytest.approx(min(1, 3 * min(p)))
    width = among[2].simultaneous.high - among[2].simultaneous.low
    assert width > alone.simultaneous.high - alone.simultaneous.low


def test_identical_scores_are_non_inferior_without_a_warning():
    table = random_table(rounds=2, protocols=2, patients=90, folds=3)
    twin = ScoreTable(("twin",), table.probability[:, :1], table.stratum, table.label, table.site)
    result = assess(table.extend(twin), "twin", "p0", margin=0.03, n_resamples=200)
    difference = result.versus_reference.difference
    assert (difference.value, difference.low, difference.high, difference.se) == (0.0, 0.0, 0.0, 0.0)
    assert result.versus_reference.verdict == "non-inferior"
    assert (result.simultaneous.low, result.simultaneous.high) == (0.0, 0.0)


def test_sites_too_small_to_judge_say_why():
    table = random_table(protocols=2, patients=90)
    site = table.site.copy()
    site[np.flatnonzero(table.label == 1)[:2]] = "tiny"
    site[np.flatnonzero(table.label == 0)[:7]] = "tiny"
    result = assess(
        ScoreTable(table.protocols, table.probability, table.stratum, table.label, site),
        "p1",
        "p0",
        margin=0.03,
        n_resamples=200,
    )
    tiny = result.sites[-1]
    assert (tiny.site, tiny.n, tiny.n_positive) == ("tiny", 9, 2)
    assert tiny.auc is None
    assert tiny.difference is None
    assert "2 positive and 7 negative" in tiny.reason
    assert result.sites[0].reason == ""
    assert result.sites[0].difference.low < result.sites[0].difference.high


def test_site_scattered_over_folds_is_not_judged():
    table = random_table(protocols=2, patients=90)
    positive, negative = np.flatnonzero(table.label == 1), np.flatnonzero(table.label == 0)
    stratum = np.zeros((1, 90), dtype=int)
    site = np.full(90, "large    ")
    site[positive[:6]] = site[negative[:6]] = "scattered"
    stratum[0, positive[:6]], stratum[0, negative[:6]] = 1, 2
    scattered = ScoreTable(table.protocols, table.probability, stratum, table.label, site)
    result = assess(scattered, "p1", "p0", margin=0.03, n_resamples=200)
    assert "so many folds" in result.sites[1].reason


def test_constant_scores_are_assessed():
    table = random_table(rounds=2, protocols=1, patients=90, folds=3)
    flat = ScoreTable(("flat",), np.full_like(table.probability, 0.3), table.stratum, table.label, table.site)
    result = assess(table.extend(flat), "flat", "p0", margin=0.03, n_resamples=200)
    assert result.auc.value == result.auc_bootstrap.value == 0.5
    assert not result.calibration.slope.known
    assert result.to_dict()["calibration"]["slope"]["value"] is None
    assert result.versus_reference.verdict == "inferior"
    assert result.sensitivity.value.value == 0.0


def test_perfect_scores_are_assessed():
    table = random_table(protocols=1, patients=90)
    sure = ScoreTable(("sure",), table.label[None, None].astype(float), table.stratum, table.label, table.site)
    result = assess(table.extend(sure), "sure", "p0", margin=0.03, n_resamples=200)
    assert result.auc.value == 1.0
    assert result.auc.low < 0.95
    assert result.auc_bootstrap.low == result.auc.low
    assert result.log_loss.value == pytest.approx(1e-7, rel=1e-3)
    assert result.versus_reference.verdict == "better"


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"margin": 0.0}, "margin=0.0"),
        ({"alpha": 0.7}, "alpha=0.7"),
        ({"level": 95}, "level=95"),
        ({"specificity": 1.0}, "specificity lies between"),
        ({"thresholds": [0.2, 0.0]}, "threshold lies between"),
        ({"n_resamples": 10}, "n_resamples=10"),
        ({"keys": []}, "at least one"),
        ({"keys": ["p1", "p1"]}, "different protocols"),
        ({"keys": ["p9"]}, "no scores for the protocol 'p9'"),
        ({"reference": "p9"}, "no scores for the protocol 'p9'"),
    ],
)
def test_rules_out_of_range_are_refused(changed, message):
    arguments = {"keys": ["p1"], "reference": "p0", "margin": 0.03, **changed}
    with pytest.raises(ScanwiseError, match=message):
        assess_all(random_table(), **arguments)


def test_a_short_list_is_assessed_in_seconds():
    table = random_table(rounds=5, protocols=20, patients=300, folds=5)
    started = time.process_time()
    assess_all(table, table.protocols, "p0", margin=0.03, n_resamples=2000)
    assert time.process_time() - started < 6.0  # measured 0.7 s; leaves room for a slow or busy machine
