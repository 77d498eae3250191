from __future__ import annotations

import numpy as np
import pytest

from scanwise.cohort import Cohort, Crossfit, Holdout, SiteSplit
from scanwise.errors import ScanwiseError


def make(n: int = 211, sites: tuple[str, ...] = ("north", "south", "west"), prevalence: float = 0.37) -> Cohort:
    rng = np.random.default_rng(11)
    label = (rng.random(n) < prevalence).astype(int)
    return Cohort("some", label=label, site=rng.choice(sites, n), data={"test": rng.normal(size=(n, 1, 1))})


def few(positives: int, n: int = 40) -> Cohort:
    label = [1] * positives + [0] * (n - positives)
    return Cohort("few", label=label, site=["one"] * n, data={"test": np.zeros((n, 1, 1))})


def fingerprint(folds) -> list[list[int]]:
    return [[*fold.learn, -1, *fold.inner, -1, *fold.tune, -1, *fold.test] for fold in folds]


SPLITS = [
    Holdout(),
    Crossfit(repeats=2, folds=4, inner=3),
    SiteSplit(learn=["north", "west"], judge=["south"], inner=3),
]


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.kind)
def test_equal_seeds_give_equal_folds_and_other_seeds_others(split):
    cohort = make()
    assert fingerprint(split.folds(cohort, 3)) == fingerprint(split.folds(cohort, 3))
    assert fingerprint(split.folds(cohort, 3)) != fingerprint(split.folds(cohort, 4))


@pytest.mark.parametrize("split", SPLITS, ids=lambda split: split.kind)
def test_nobody_who_judges_was_learned_from_or_looked_at(split):
    for fold in split.folds(make(), 0):
        assert not set(fold.test) & (set(fold.learn) | set(fold.tune))
        assert fold.learn.size
        assert fold.tune.size
        assert fold.test.size


def test_holdout_keeps_the_fractions_within_diagnosis_and_site():
    cohort = make(n=400)
    (fold,) = Holdout({"fit": 0.5, "tune": 0.2, "test": 0.3}).folds(cohort, 0)
    assert sorted([*fold.learn, *fold.tune, *fold.test]) == list(range(400))
    assert (fold.inner == -1).all()
    assert [len(fold.learn), len(fold.tune), len(fold.test)] == [200, 80, 120]
    for label in (0, 1):
        for site in cohort.sites:
            group = np.flatnonzero((cohort.label == label) & (cohort.site == site))
            for patients, share in ((fold.learn, 0.5), (fold.tune, 0.2), (fold.test, 0.3)):
                assert abs(np.isin(group, patients).sum() - share * len(group)) <= 2


def test_crossfit_lets_everyone_judge_once_per_repeat():
    cohort = make()
    folds = Crossfit(repeats=3, folds=5, inner=4).folds(cohort, 7)
    assert [fold.name for fold in folds[:6]] == ["r0f0", "r0f1", "r0f2", "r0f3", "r0f4", "r1f0"]
    for repeat in range(3):
        judged = np.concatenate([fold.test for fold in folds if fold.repeat == repeat])
        assert sorted(judged) == list(range(len(cohort)))
    for fold in folds:
        np.testing.assert_array_equal(fold.tune, fold.learn)
        assert sorted(set(fold.inner)) == [0, 1, 2, 3]
    assert fingerprint(folds[:5]) != fingerprint(folds[5:10])


def test_crossfit_is_balanced_to_within_one_patient():
    cohort = make()
    folds = Crossfit(folds=5, inner=3).folds(cohort, 0)

    def spread(groups, mask) -> int:
        counts = [int(mask[group].sum()) for group in groups]
        return max(counts) - min(counts)

    outer = [fold.test for fold in folds]
    inner = [folds[2].learn[folds[2].inner == index] for index in range(3)]
    for groups in (outer, inner):
        assert spread(groups, np.ones(len(cohort), dtype=bool)) <= 1
        for label in (0, 1):
            assert spread(groups, cohort.label == label) <= 1
            for site in cohort.sites:
                assert spread(groups, (cohort.label == label) & (cohort.site == site)) <= 1


def test_one_positive_per_site_still_reaches_every_fold():
    sites = [f"s{i}" for i in range(5)]
    cohort = Cohort("x", label=[1] * 5 + [0] * 25, site=sites * 6, data={"t": np.zeros((30, 1, 1))})
    for fold in Crossfit(folds=5, inner=4).folds(cohort, 0):
        assert cohort.label[fold.test].sum() == 1


def test_repeats_do_not_change_with_their_number():
    cohort = make()
    one, three = (Crossfit(repeats=repeats, folds=3).folds(cohort, 5) for repeats in (1, 3))
    assert fingerprint(one) == fingerprint(three[:3])


def test_inner_folds_are_not_the_outer_ones_again():
    cohort = make()
    first, second, *_ = Crossfit(folds=5, inner=4).folds(cohort, 0)
    shared = np.intersect1d(first.learn, second.learn)
    inner = [fold.inner[np.isin(fold.learn, shared)] for fold in (first, second)]
    assert np.mean(inner[0] == inner[1]) < 0.5


def test_site_split_learns_and_judges_elsewhere():
    cohort = make()
    (fold,) = SiteSplit(learn=["north", "west"], judge=["south"], inner=3).folds(cohort, 0)
    assert set(cohort.site[fold.learn]) == {"north", "west"}
    assert set(cohort.site[fold.test]) == {"south"}
    np.testing.assert_array_equal(fold.tune, fold.learn)
    assert sorted(set(fold.inner)) == [0, 1, 2]


def test_too_many_folds_for_a_class_say_how_many_are_possible():
    with pytest.raises(
        ScanwiseError, match=r"4 patients with label 1 among all patients cannot fill folds=5\n.*at most 4"
    ):
        Crossfit(folds=5).folds(few(positives=4), 0)


def test_too_many_inner_folds_for_a_class_say_how_many_are_possible():
    with pytest.raises(ScanwiseError, match=r"4 patients with label 1 outside fold 0 cannot fill inner=5\n.*at most 4"):
        Crossfit(folds=5, inner=5).folds(few(positives=5), 0)


def test_too_many_inner_folds_at_the_learning_sites():
    cohort = Cohort("x", label=[1, 0, 0, 0, 1, 0], site=["a"] * 4 + ["b"] * 2, data={"t": np.zeros((6, 1, 1))})
    with pytest.raises(ScanwiseError, match=r"1 patients with label 1 at a cannot fill inner=2\n.*no cross-fitting"):
        SiteSplit(learn=["a"], judge=["b"], inner=2).folds(cohort, 0)


def test_a_judging_site_with_one_class_is_an_error():
    cohort = Cohort("x", label=[1, 0, 1, 0, 1, 1], site=["a"] * 4 + ["b"] * 2, data={"t": np.zeros((6, 1, 1))})
    with pytest.raises(ScanwiseError, match="but b has only label 1"):
        SiteSplit(learn=["a"], judge=["b"], inner=2).folds(cohort, 0)


def test_a_holdout_part_with_one_class_is_an_error():
    with pytest.raises(ScanwiseError, match="the 'tune' part has only label 0"):
        Holdout().folds(few(positives=1), 0)


def test_an_unknown_site_is_an_error_with_a_suggestion():
    with pytest.raises(ScanwiseError, match=r"site 'nort' is empty.*\n.*'north'"):
        SiteSplit(learn=["nort"], judge=["south"]).folds(make(), 0)


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda: Holdout({"fit": 0.5, "tune": 0.2, "test": 0.2}), "sum to 1"),
        (lambda: Holdout({"fit": 1.0, "tune": 0.0, "test": 0.0}), "above 0"),
        (lambda: Holdout({"fit": 0.8, "test": 0.2}), "above 0"),
        (lambda: Holdout({"fit": 0.6, "tune": 0.2, "tset": 0.2}), "no part 'tset'\n.*'test'"),
        (lambda: Crossfit(folds=1), "`folds` of a split must be a whole number >= 2, but got 1"),
        (lambda: Crossfit(repeats=0), "`repeats`"),
        (lambda: Crossfit(inner=True), "`inner`"),
        (lambda: SiteSplit(learn=["a"], judge=["a", "b"]), "'a' does both"),
        (lambda: SiteSplit(learn=[], judge=["b"]), "at least one site must learn"),
        (lambda: SiteSplit(learn=["a"], judge="b"), "at least one site must judge"),
    ],
)
def test_bad_splits_are_refused(build, match):
    with pytest.raises(ScanwiseError, match=match):
        build()


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (SPLITS[0], "60 % of the patients are learned from, the search looks at 20 %, and 20 % judge"),
        (SPLITS[1], "4-fold cross-fitting, 2 times"),
        (SPLITS[2], "Learned and searched at north, west (3-fold in turn), judged at south."),
    ],
)
def test_splits_say_what_they_do(split, words):
    assert words in split.describe()
