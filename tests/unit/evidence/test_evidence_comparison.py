from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from scanwise.errors import ScanwiseError
from scanwise.evidence import Comparison, compare, holm


def test_holm_by_hand():
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])
    np.testing.assert_allclose(holm([0.6, 0.9]), [1.0, 1.0])
    assert holm([]).shape == (0,)


def test_holm_refuses_what_is_no_probability():
    with pytest.raises(ScanwiseError, match="within 0 and 1"):
        holm([0.1, 1.2])


def test_tests_are_one_sided_and_the_verdict_follows():
    better, same, lower, worse, unclear = compare(
        [0.06, 0.0, -0.015, -0.08, -0.02], [0.01, 0.01, 0.005, 0.02, 0.02], margin=0.03
    )
    assert better.verdict == "better"
    assert same.verdict == "non-inferior"
    assert same.p_noninferior == pytest.approx(norm.sf(3.0))
    assert same.p_better == pytest.approx(0.5)
    # lower with certainty, and yet within what is accepted
    assert lower.difference.high < 0
    assert lower.verdict == "non-inferior"
    assert worse.verdict == "inferior"
    assert unclear.verdict == "undecided"


def test_better_is_adjusted_for_the_number_of_protocols():
    z = 2.1  # p = .018: enough alone, not enough among five
    alone = compare([z * 0.01], [0.01], margin=0.03)[0]
    among = compare([z * 0.01, 0, 0, 0, 0], [0.01] * 5, margin=0.03)[0]
    assert alone.verdict == "better"
    assert alone.p_better_adjusted == alone.p_better
    assert among.p_better_adjusted == pytest.approx(5 * alone.p_better)
    assert among.verdict == "non-inferior"


def test_inferior_means_the_upper_limit_is_below_minus_the_margin():
    at = -0.03 - norm.isf(0.025) * 0.01
    just, barely_not = compare([at - 1e-6, at + 1e-6], [0.01, 0.01], margin=0.03)
    assert just.verdict == "inferior"
    assert just.difference.high < -0.03
    assert barely_not.verdict == "undecided"


@pytest.mark.parametrize(
    ("difference", "p_better", "verdict"),
    [(0.0, 0.5, "non-inferior"), (0.01, 0.0, "better"), (-0.05, 1.0, "inferior")],
)
def test_without_spread_there_is_no_division(difference, p_better, verdict):
    comparison = compare([difference], [0.0], margin=0.03)[0]
    assert comparison.difference.se == 0.0
    assert comparison.difference.low == comparison.difference.high == difference
    assert comparison.p_better == p_better
    assert comparison.verdict == verdict


def test_round_trip():
    comparison = compare([0.01], [0.02], margin=0.05, alpha=0.05, level=0.9)[0]
    assert Comparison.from_dict(comparison.to_dict()) == comparison


@pytest.mark.parametrize("margin", [0, -0.01, float("nan"), True, "0.03", 1.0])
def test_margin_must_be_above_zero(margin):
    with pytest.raises(ScanwiseError, match="margin="):
        compare([0.0], [0.1], margin=margin)


@pytest.mark.parametrize("alpha", [0, 0.5, -1, True])
def test_alpha_must_be_one_sided(alpha):
    with pytest.raises(ScanwiseError, match="alpha="):
        compare([0.0], [0.1], margin=0.03, alpha=alpha)
