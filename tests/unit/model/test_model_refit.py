from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from model_scenario import N_LEARN, N_NEW, TRAINER, auc, cross_entropy, make_patients
from sklearn.linear_model import LogisticRegression

from scanwise.design import Fold, Protocol
from scanwise.errors import ScanwiseError
from scanwise.model import RefitModel, RefitScorer

LEARN = np.arange(N_LEARN)
NEW = np.arange(N_LEARN, N_LEARN + N_NEW)
MARKER = Protocol({"marker": [1]})
BOTH = Protocol({"marker": [1], "exam": [1, 0, 1]})


def scorer_of(patients, menu, fold: Fold, tmp_path, **settings) -> RefitScorer:
    return RefitModel(**settings).fit(patients, menu, fold, seed=0, trainer=TRAINER, directory=tmp_path)


def golden_features(patients) -> np.ndarray:
    """Marker, pressure, pulse and width, as they stand."""
    exam = patients.values["exam"]
    return np.stack([exam[:, 0, 0], exam[:, 0, 1], exam[:, 2, 0], patients.values["marker"][:, 0, 0]], axis=1)


def golden(features: np.ndarray, label: np.ndarray, learn: np.ndarray, asked: np.ndarray, c: float) -> np.ndarray:
    """Standardise on `learn`, unknown = mean, one indicator per value that is unknown for someone who learns."""
    columns = []
    for value in features.T:
        z = (value - np.nanmean(value[learn])) / np.nanstd(value[learn])
        columns.append(np.where(np.isnan(z), 0.0, z))
    for value in features.T:
        if np.isnan(value[learn]).any():
            columns.append(np.isnan(value).astype(float))
    x = np.stack(columns, axis=1)
    return LogisticRegression(C=c, max_iter=2000).fit(x[learn], label[learn]).predict_proba(x[asked])[:, 1]


@pytest.mark.parametrize("c", [0.1, 3.0])
def test_it_is_a_logistic_regression_on_standardised_values(patients, menu, fold, tmp_path, c):
    scorer = scorer_of(patients, menu, fold, tmp_path, regularisation=(c,))
    features = golden_features(patients)
    np.testing.assert_allclose(
        scorer.score([MARKER, BOTH], NEW),
        [
            golden(features[:, 3:], patients.label, LEARN, NEW, c),
            golden(features, patients.label, LEARN, NEW, c),
        ],
        atol=1e-6,
    )


def test_patients_that_learn_are_scored_by_the_regression_that_left_their_part_out(patients, menu, fold, tmp_path):
    scorer = scorer_of(patients, menu, fold, tmp_path)
    features = golden_features(patients)
    expected = np.empty(N_LEARN)
    for part in range(3):
        out = LEARN[fold.inner == part]
        expected[out] = golden(features, patients.label, LEARN[fold.inner != part], out, 0.1)
    mixed = np.array([5, N_LEARN + 1, 0, 149, N_LEARN])
    new = golden(features, patients.label, LEARN, NEW, 0.1)
    np.testing.assert_allclose(scorer.score([BOTH], LEARN)[0], expected, atol=1e-6)
    np.testing.assert_allclose(
        scorer.score([BOTH], mixed)[0], [expected[5], new[1], expected[0], expected[149], new[0]], atol=1e-6
    )


def test_a_label_of_ones_own_does_not_count(patients, menu, fold, tmp_path):
    label = patients.label.copy()
    label[7] = 1 - label[7]
    before = scorer_of(patients, menu, fold, tmp_path).score([BOTH], np.array([7, 10]))[0]
    after = scorer_of(replace(patients, label=label), menu, fold, tmp_path).score([BOTH], np.array([7, 11]))[0]
    assert before[0] == after[0]


def test_a_holdout_without_inner_folds(patients, menu, tmp_path):
    fold = Fold(0, 0, LEARN, np.full(N_LEARN, -1), NEW[:200], NEW[200:])
    scorer = scorer_of(patients, menu, fold, tmp_path)
    expected = golden(golden_features(patients)[:, 3:], patients.label, LEARN, NEW, 0.1)
    np.testing.assert_allclose(scorer.score([MARKER], NEW)[0], expected, atol=1e-6)
    assert auc(patients.label[LEARN], scorer.score([MARKER], LEARN)[0]) > 0.8


def test_the_penalty_is_chosen_on_patients_left_out(menu, tmp_path):
    patients = make_patients(60 + N_NEW, seed=3)
    learn = np.arange(60)
    fold = Fold(0, 0, learn, learn % 4, learn, np.arange(60, 60 + N_NEW))
    grid = (1e-4, 0.1, 1e4)
    everything = menu.everything()
    single = {c: scorer_of(patients, menu, fold, tmp_path, regularisation=(c,)) for c in grid}
    losses = {
        c: cross_entropy(patients.label[learn], scorer.score([everything], learn)) for c, scorer in single.items()
    }
    best = min(losses, key=losses.__getitem__)
    assert sorted(losses.values())[1] - losses[best] > 1e-3, "the choice is a clear one"
    for order in (grid, grid[::-1]):
        chosen = scorer_of(patients, menu, fold, tmp_path, regularisation=order)
        for asked in (learn, fold.test):
            np.testing.assert_allclose(chosen.score([everything], asked), single[best].score([everything], asked))


def test_unknown_is_marked_only_where_it_happens_among_those_who_learn(patients, menu, fold, tmp_path, monkeypatch):
    widths = []
    really = LogisticRegression.fit

    def fit(self, x, y):
        widths.append(x.shape[1])
        return really(self, x, y)

    monkeypatch.setattr(LogisticRegression, "fit", fit)
    scorer = scorer_of(patients.changed("marker", np.s_[N_LEARN:], np.nan), menu, fold, tmp_path)
    scores = scorer.score([MARKER, Protocol({"exam": [1, 0, 0]})], NEW)
    assert widths == [1, 2 + 2], "the marker is known to all who learn; pressure and pulse are not"
    assert np.ptp(scores[0]) == 0.0, "an unknown value counts as the mean"
    assert np.isfinite(scores).all()


def test_without_any_test_everyone_has_the_prevalence(patients, menu, fold, tmp_path):
    scorer = scorer_of(patients, menu, fold, tmp_path)
    np.testing.assert_allclose(scorer.score([Protocol()], NEW)[0], patients.label[LEARN].mean())
    part = fold.inner[4]
    expected = patients.label[LEARN[fold.inner != part]].mean()
    np.testing.assert_allclose(scorer.score([Protocol()], np.array([4]))[0], expected)
    assert scorer.score([], NEW).shape == (0, N_NEW)


def test_a_value_known_to_nobody_or_always_the_same_is_no_trouble(patients, menu, fold, tmp_path):
    constant = patients.changed("noise", np.s_[:], 0.1).changed("exam", np.s_[:, 2], np.nan)
    scores = scorer_of(constant, menu, fold, tmp_path).score([menu.everything(), BOTH], NEW)
    assert np.isfinite(scores).all()
    assert auc(patients.label[NEW], scores[0]) > 0.8


def test_values_count_whatever_their_unit(patients, menu, fold, tmp_path):
    tiny = patients.changed("marker", np.s_[:], 1e-14 * patients.values["marker"])
    np.testing.assert_allclose(
        scorer_of(tiny, menu, fold, tmp_path).score([BOTH], NEW),
        scorer_of(patients, menu, fold, tmp_path).score([BOTH], NEW),
        rtol=1e-6,
    )


def test_a_shot_that_is_not_taken_cannot_influence_the_score(patients, menu, fold, tmp_path):
    changed = patients.changed("exam", np.s_[:, 1], np.nan).changed("noise", np.s_[:], 1e6)
    np.testing.assert_array_equal(
        scorer_of(changed, menu, fold, tmp_path).score([BOTH], NEW),
        scorer_of(patients, menu, fold, tmp_path).score([BOTH], NEW),
    )


def test_what_was_prepared_can_be_loaded(patients, menu, fold, tmp_path):
    model = RefitModel(regularisation=(0.1, 1.0))
    told = []
    fitted = model.fit(
        patients, menu, fold, seed=0, trainer=TRAINER, directory=tmp_path, progress=lambda *news: told.append(news)
    )
    loaded = model.load(patients, menu, fold, seed=0, directory=tmp_path)
    np.testing.assert_array_equal(loaded.score([BOTH], NEW), fitted.score([BOTH], NEW))
    assert told == [(1, 1, "trained when scored")]
    with pytest.raises(ScanwiseError, match=r"no file 'refit\.json'"):
        model.load(patients, menu, fold, seed=0, directory=tmp_path / "elsewhere")


@pytest.mark.parametrize("penalties", [(), (0.0,), (1.0, -1.0), (float("nan"),), 0.0])
def test_penalties_are_above_zero(penalties):
    with pytest.raises(ScanwiseError, match=r"model\.regularisation must be one or more numbers above 0"):
        RefitModel(regularisation=penalties)


def test_penalties_may_be_a_list_or_one_number():
    assert RefitModel(regularisation=[0.1, 1]).regularisation == (0.1, 1.0)
    assert RefitModel(regularisation=0.5).regularisation == (0.5,)
    assert "C = 0.1, 1" in RefitModel(regularisation=(0.1, 1)).describe()
