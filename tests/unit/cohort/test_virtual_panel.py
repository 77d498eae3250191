from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm, rankdata

from scanwise.cohort import VirtualPanel
from scanwise.design import Menu
from scanwise.errors import ScanwiseError
from scanwise.modalities.panel import TestPanel

TESTS = {
    "good": {"missing": 0.2, "shots": {"a": {"loadings": [0.9, 0.0], "mean": 10.0, "sd": 3.0, "unit": "mm"}}},
    "twin": {"shots": {"a": {"loadings": [0.8, 0.3]}, "b": {"loadings": [0.0, 0.7], "missing": 0.5}}},
    "useless": {"shots": {"u": {"loadings": [0.0, 0.0], "cuts": [-0.5, 0.5]}}},
}


def panel(**changes) -> VirtualPanel:
    arguments = {"name": "virtual", "tests": TESTS, "separation": [1.2, 0.5], "n": 300, "seed": 5, "prevalence": 0.3}
    return VirtualPanel(**{**arguments, "sites": {"x": 0.7, "y": 0.3}, **changes})


def auc(label, value) -> float:
    done = ~np.isnan(value)
    label, ranks = label[done], rankdata(value[done])
    positive = int(label.sum())
    return (ranks[label == 1].sum() - positive * (positive + 1) / 2) / (positive * (len(label) - positive))


def column(cohort, modality, shot=0):
    return cohort.data(modality, np.arange(len(cohort)))[:, shot, 0]


def test_a_patient_does_not_depend_on_how_many_there_are():
    small, large = panel(n=37).load(), panel(n=300).load()
    np.testing.assert_array_equal(small.label, large.label[:37])
    assert small.site.tolist() == large.site[:37].tolist()
    for modality in TESTS:
        np.testing.assert_array_equal(small.data(modality, np.arange(37)), large.data(modality, np.arange(37)))


def test_seeds_decide():
    assert panel().load().fingerprint == panel().load().fingerprint
    assert panel(seed=6).load().fingerprint != panel().load().fingerprint


def test_auc_is_that_of_the_binormal_model():
    cohort = panel(n=20_000).load()
    # distance of the classes in standard deviations: loadings . separation = 0.9 * 1.2, and 0.8 * 1.2 + 0.3 * 0.5
    assert auc(cohort.label, column(cohort, "good")) == pytest.approx(norm.cdf(1.08 / np.sqrt(2)), abs=0.012)
    assert auc(cohort.label, column(cohort, "twin")) == pytest.approx(norm.cdf(1.11 / np.sqrt(2)), abs=0.012)
    assert auc(cohort.label, column(cohort, "useless")) == pytest.approx(0.5, abs=0.012)


def test_shares_scale_and_correlation_are_as_told():
    cohort = panel(n=20_000).load()
    assert cohort.label.mean() == pytest.approx(0.3, abs=0.012)
    assert (cohort.site == "x").mean() == pytest.approx(0.7, abs=0.012)
    good, twin = column(cohort, "good"), column(cohort, "twin")
    assert np.isnan(good).mean() == pytest.approx(0.2, abs=0.012)
    assert np.isnan(column(cohort, "twin", 1)).mean() == pytest.approx(0.5, abs=0.012)
    well = (cohort.label == 0) & ~np.isnan(good)
    assert good[well].mean() == pytest.approx(10.0, abs=0.1)
    assert good[well].std() == pytest.approx(3.0, abs=0.1)
    assert np.corrcoef(good[well], twin[well])[0, 1] == pytest.approx(0.9 * 0.8, abs=0.02)
    codes = column(cohort, "useless")
    assert cohort.columns("useless")[0].levels == (0.0, 1.0, 2.0)
    shares = [np.mean(codes == code) for code in (0.0, 1.0, 2.0)]
    np.testing.assert_allclose(shares, [norm.cdf(-0.5), 1 - 2 * norm.cdf(-0.5), norm.cdf(-0.5)], atol=0.012)


@pytest.mark.parametrize("changes", [{"separation": [0.0, 0.0]}, {"label_shuffled": True}], ids=["apart 0", "shuffled"])
def test_null_cohorts_know_nothing(changes):
    cohort = panel(n=20_000, **changes).load()
    for modality in TESTS:
        assert auc(cohort.label, column(cohort, modality)) == pytest.approx(0.5, abs=0.015)


def test_shuffling_keeps_the_labels_and_the_data():
    plain, shuffled = panel().load(), panel(label_shuffled=True).load()
    assert plain.label.sum() == shuffled.label.sum()
    assert (plain.label != shuffled.label).any()
    np.testing.assert_array_equal(column(plain, "good"), column(shuffled, "good"))


def test_the_menu_sets_the_order_and_titles():
    menu = Menu([TestPanel("twin", {"b": {}, "a": {}}, title="The twin"), TestPanel("good", {"a": {}})])
    plain, cohort = panel().load(), panel().load(menu)
    assert cohort.modalities == ("twin", "good")
    assert cohort.shots("twin") == ("b", "a")
    np.testing.assert_array_equal(column(cohort, "twin", 1), column(plain, "twin", 0))
    assert cohort.describe()["missing"][0]["title"] == "The twin"


def test_a_menu_it_cannot_serve_is_an_error():
    menu = Menu([TestPanel("god", {"a": {}})])
    with pytest.raises(ScanwiseError, match=r"menu offers 'god'.*\n.*'good'"):
        panel().load(menu)


def test_it_is_labelled_virtual_whatever_the_texts_say():
    assert panel(about={"virtual": False, "title": "T"}).load().describe()["virtual"] is True


def shot(**rule):
    return {"t": {"shots": {"s": {"loadings": [0.1, 0.1], **rule}}}}


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"tests": {}}, "at least one test"),
        ({"tests": {"t": {"shots": {}}}}, "at least one shot"),
        ({"tests": {"t": {"shot": {}}}}, "unknown key 'shot'\n.*'shots'"),
        ({"tests": shot(loading=[0.1])}, "unknown key 'loading'\n.*'loadings'"),
        ({"tests": shot(loadings=[0.1])}, "loadings of t.s must be 2 numbers"),
        ({"tests": shot(loadings=[0.9, 0.9])}, "sum of squares <= 1"),
        ({"tests": shot(sd=0)}, "sd > 0"),
        ({"tests": shot(cuts=[1, 0])}, "ascending cuts"),
        ({"tests": shot(missing=1.0)}, r"missing share of shot t.s must be in \[0, 1\)"),
        ({"prevalence": 1.0}, "prevalence must be between 0 and 1"),
        ({"n": 1}, "`n` of a virtual cohort"),
        ({"seed": -1}, "`seed` of a virtual cohort"),
        ({"sites": {"x": 0.5}}, "shares of the sites"),
    ],
)
def test_bad_panels_are_refused(changes, match):
    with pytest.raises(ScanwiseError, match=match):
        panel(**changes)
