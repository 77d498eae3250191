from __future__ import annotations

import math

import numpy as np
import pytest
from evidence_scenario import random_table

from scanwise.errors import ScanwiseError
from scanwise.evidence import (
    Interval,
    auc_with_covariance,
    logit_interval,
    normal_interval,
    patient_bootstrap,
    resampled_roc,
    simultaneous_intervals,
    wilson_interval,
)
from scanwise.evidence.intervals import auc_bootstrap_interval


def test_normal_interval_and_its_json():
    interval = normal_interval(0.1, 0.02, 0.9)
    assert interval.low == pytest.approx(0.1 - 1.6448536 * 0.02)
    assert interval.high == pytest.approx(0.1 + 1.6448536 * 0.02)
    assert Interval.from_dict(interval.to_dict()) == interval
    assert interval.reading() == ".100 (.067 to .133)"


def test_unknown_interval_becomes_null():
    unknown = Interval.unknown(0.95)
    assert unknown.to_dict() == {"value": None, "low": None, "high": None, "se": None, "level": 0.95}
    assert math.isnan(Interval.from_dict(unknown.to_dict()).low)
    assert unknown.reading() == "cannot be estimated"
    assert not unknown.known


def test_impossible_intervals_are_refused():
    with pytest.raises(ScanwiseError, match=r"level=1\.0"):
        normal_interval(0.1, 0.1, 1.0)
    with pytest.raises(ScanwiseError, match="from low to high"):
        Interval(0.5, 0.6, 0.4, 0.1, 0.95)


def test_logit_interval_by_hand_and_inside_the_unit_interval():
    interval = logit_interval(0.9, 0.03)
    centre, reach = math.log(9), 1.959964 * 0.03 / 0.09
    assert interval.low == pytest.approx(1 / (1 + math.exp(-(centre - reach))), rel=1e-6)
    assert interval.high == pytest.approx(1 / (1 + math.exp(-(centre + reach))), rel=1e-6)
    assert 0.9 < logit_interval(0.99, 0.005).low < 0.99 < logit_interval(0.99, 0.005).high < 1


def test_perfect_ranking_still_has_a_lower_limit():
    interval = logit_interval(1.0, 0.0, n_effective=20)
    assert interval.high == 1.0
    assert interval.low == pytest.approx(20 / (20 + 1.959964**2), rel=1e-6)


def test_wilson_interval_against_the_published_example():
    # Newcombe (1998), Statistics in Medicine 17:857-872, table I, method 3: 81 of 263
    interval = wilson_interval(81, 263)
    assert interval.low == pytest.approx(0.2553, abs=5e-5)
    assert interval.high == pytest.approx(0.3662, abs=5e-5)
    assert wilson_interval(0, 20).low == 0.0
    assert wilson_interval(0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert not wilson_interval(0, 0).known


def test_bootstrap_agrees_with_delong_and_is_repeatable():
    table = random_table(protocols=2, patients=201)

    def areas(scores, counts):
        return resampled_roc(scores, scores.protocols, counts, 0.1)[0]

    first = patient_bootstrap(table, areas, n_resamples=1500, seed=4)
    again = patient_bootstrap(table, areas, n_resamples=1500, seed=4)
    other = patient_bootstrap(table, areas, n_resamples=1500, seed=5)
    estimates = auc_with_covariance(table)
    assert first == again
    assert first != other
    for index in range(2):
        assert first[index].value == pytest.approx(estimates.value[index])
        assert first[index].se == pytest.approx(estimates.se[index], rel=0.1)


def test_bootstrap_wants_enough_resamples():
    with pytest.raises(ScanwiseError, match="n_resamples=20"):
        patient_bootstrap(random_table(), lambda table, counts: counts.T, n_resamples=20)


def test_bootstrap_interval_is_widened_on_the_logit_scale():
    draws = np.random.default_rng(0).normal(0.8, 0.03, size=4000)
    plain = auc_bootstrap_interval(0.8, draws, 0.95, widening=1.0, n_positive=40, n_negative=50)
    wide = auc_bootstrap_interval(0.8, draws, 0.95, widening=1.5, n_positive=40, n_negative=50)

    def logit(p):
        return math.log(p / (1 - p))

    assert logit(wide.high) - logit(0.8) == pytest.approx(1.5 * (logit(plain.high) - logit(0.8)))
    assert wide.se == pytest.approx(1.5 * plain.se)
    assert plain.low == pytest.approx(np.quantile(draws, 0.025), abs=1e-3)


def test_simultaneous_intervals_hold_single_ones_and_equal_them_for_one_difference():
    table = random_table(protocols=7, patients=150)
    estimates = auc_with_covariance(table)
    difference, se = estimates.difference_to("p3")
    together = simultaneous_intervals(estimates, "p3", seed=1)
    assert together[3] is None
    factors = []
    for index in (0, 1, 2, 4, 5, 6):
        interval = together[index]
        assert interval is not None
        factors.append((interval.high - difference[index]) / se[index])
    np.testing.assert_allclose(factors, factors[0])
    assert 1.97 < factors[0] < 2.638  # Bonferroni for six

    pair = simultaneous_intervals(auc_with_covariance(table, ["p0", "p3"]), "p3")[0]
    assert pair == normal_interval(difference[0], pair.se)
