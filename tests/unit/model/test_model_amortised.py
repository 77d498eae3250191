"""The trained ensemble: what may and what may not change a score, honesty towards left-out patients, checkpoints."""

from __future__ import annotations

import errno
import os
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from model_scenario import (
    N_LEARN,
    N_NEW,
    TRAINER,
    auc,
    cross_entropy,
    every_protocol,
    keys,
    make_fold,
    make_menu,
    make_patients,
    sigmoid,
)

from scanwise.design import Fold, Menu, Protocol
from scanwise.errors import ScanwiseError
from scanwise.modalities.panel import TestPanel
from scanwise.model import AmortisedModel, NetworkScorer, Parts, TrainerSettings
from scanwise.model.amortised import _Batches

NEW = np.arange(N_LEARN, N_LEARN + N_NEW)
LEARN = np.arange(N_LEARN)
EVERYTHING = Protocol({"marker": [1], "exam": [1, 1, 1], "noise": [1]})
MARKER = Protocol({"marker": [1]})


# ---- what a score depends on


def test_probabilities_of_every_protocol_and_patient(trained):
    protocols = every_protocol()
    scores = trained.score(protocols, NEW)
    assert scores.shape == (32, N_NEW)
    assert scores.dtype == np.float64
    assert ((scores > 0) & (scores < 1)).all()
    assert trained.score([], NEW).shape == (0, N_NEW)
    assert trained.score(protocols, NEW[:0]).shape == (32, 0)


def test_many_protocols_at_once_are_as_one_by_one(trained):
    protocols = every_protocol()
    together = trained.score(protocols, NEW)
    alone = np.concatenate([trained.score([protocol], NEW) for protocol in protocols])
    np.testing.assert_allclose(together, alone, rtol=1e-5)


def test_chunks_of_protocols_make_no_difference(trained, monkeypatch):
    protocols = every_protocol()
    together = trained.score(protocols, NEW)
    monkeypatch.setattr("scanwise.model.amortised._CHUNK", 5 * N_NEW * 15)
    np.testing.assert_allclose(trained.score(protocols, NEW), together, rtol=1e-5)


def test_a_patient_is_scored_alike_in_any_company(trained):
    together = trained.score(every_protocol(), NEW)
    some = np.array([N_LEARN + 30, 4, N_LEARN + 2])
    np.testing.assert_allclose(trained.score(every_protocol(), some)[:, [0, 2]], together[:, [30, 2]], rtol=1e-5)


def test_the_score_is_the_calibrated_mean_logit_of_those_who_may_answer(trained, patients, menu, fold):
    protocols = [Protocol(), MARKER, EVERYTHING]
    asked = np.array([0, 1, 2, N_LEARN])
    counts = torch.as_tensor(menu.matrix(protocols))
    with torch.inference_mode():
        features = {
            "marker": torch.as_tensor(patients.values["marker"][asked, 0], dtype=torch.float32),
            "exam": torch.as_tensor(_exam_features(patients.values["exam"][asked]), dtype=torch.float32),
            "noise": torch.as_tensor(patients.values["noise"][asked, 0], dtype=torch.float32),
        }
        logits = trained.network(features, counts).double().numpy()  # members, protocols, patients
        log_temperature, shift = (trained.network.calibration @ trained.network.protocol_features(counts).T).numpy()
    # member m leaves inner fold m out; patient p is in inner fold p % 3; the last patient is new to all
    mean = np.stack([logits[0, :, 0], logits[1, :, 1], logits[2, :, 2], logits[:, :, 3].mean(axis=0)], axis=1)
    calibrated = mean / np.exp(log_temperature)[:, None] + shift[:, None]
    np.testing.assert_allclose(trained.score(protocols, asked), sigmoid(calibrated), rtol=1e-5)


def _exam_features(exam: np.ndarray) -> np.ndarray:
    grade = exam[:, 1, 0]
    levels = [np.where(np.isnan(grade), np.nan, grade == level) for level in (1, 2, 3)]
    return np.stack([exam[:, 0, 0], exam[:, 0, 1], *levels, exam[:, 2, 0]], axis=1)


@pytest.mark.parametrize("value", [1e6, np.nan])
@pytest.mark.parametrize(
    ("modality", "where", "protocol"),
    [
        ("noise", np.s_[:], Protocol({"marker": [1], "exam": [1, 1, 1]})),
        ("marker", np.s_[:], Protocol({"exam": [1, 0, 1], "noise": [1]})),
        ("exam", np.s_[:, 1], Protocol({"marker": [1], "exam": [1, 0, 1]})),
        ("exam", np.s_[:, [0, 2]], Protocol({"exam": [0, 1, 0]})),
        ("exam", np.s_[:], Protocol()),
    ],
)
def test_a_shot_that_is_not_taken_cannot_influence_the_score(
    trained, patients, menu, fold, modality, where, protocol, value
):
    changed = patients.changed(modality, where, value)
    other = NetworkScorer(trained.network, changed, menu, _parts(patients, fold))
    np.testing.assert_array_equal(other.score([protocol], NEW), trained.score([protocol], NEW))
    assert (other.score([EVERYTHING], NEW) != trained.score([EVERYTHING], NEW)).any(), "taken, it does"


def test_a_test_that_was_not_done_counts_as_not_asked_for(trained, patients, menu, fold):
    """The evidence is exactly that of the protocol without it; only the calibration is the protocol's own."""
    lacking = replace(patients.changed("noise", np.s_[:], np.nan).changed("exam", np.s_[:, 0], np.nan))
    scorer = NetworkScorer(trained.network, lacking, menu, _parts(patients, fold))
    asked, done = EVERYTHING, Protocol({"marker": [1], "exam": [0, 1, 1]})
    logit = np.log(scorer.score([asked, done], NEW))
    logit -= np.log1p(-np.exp(logit))
    about = trained.network.protocol_features(torch.as_tensor(menu.matrix([asked, done])))
    log_temperature, shift = (trained.network.calibration @ about.T).double().numpy()
    with_it, without = (logit - shift[:, None]) * np.exp(log_temperature)[:, None]
    np.testing.assert_allclose(with_it, without, rtol=0, atol=1e-6)
    assert without.std() > 0.5


def test_the_values_of_other_patients_do_not_matter(trained, patients, menu, fold):
    others = patients.changed("marker", np.s_[N_LEARN + 1 :], 1e5)
    scorer = NetworkScorer(trained.network, others, menu, _parts(patients, fold))
    np.testing.assert_array_equal(scorer.score(every_protocol(), NEW[:1]), trained.score(every_protocol(), NEW[:1]))


def _parts(patients, fold: Fold) -> Parts:
    return Parts.of(fold, patients.label, members_per_part=1, seed=1)


# ---- seeds


def quick(patients, seed: int, tmp_path, **changes) -> NetworkScorer:
    model = AmortisedModel(**{"steps": 12, "n_evidence": 3, "n_hidden": 2, **changes})
    directory = tmp_path / str(seed)
    return model.fit(patients, make_menu(), make_fold(), seed=seed, trainer=TRAINER, directory=directory)


@pytest.mark.parametrize("changes", [{}, {"batch_size": 40, "protocols_per_step": 8}], ids=["all at once", "drawn"])
def test_the_same_seed_gives_the_same_scores(patients, tmp_path, changes):
    protocols = every_protocol()
    first = quick(patients, 3, tmp_path, **changes).score(protocols, NEW)
    torch.manual_seed(99)
    _ = torch.randn(3)  # the state of the global generator is none of its business
    np.testing.assert_array_equal(quick(patients, 3, tmp_path, **changes).score(protocols, NEW), first)
    other = quick(patients, 4, tmp_path, **changes).score(protocols, NEW)
    assert np.abs(other - first).max() > 1e-3


def test_training_leaves_the_global_generators_alone(patients, tmp_path):
    before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    quick(patients, 0, tmp_path)
    assert torch.equal(torch.get_rng_state(), before[0])
    np.testing.assert_array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002


def test_more_members_per_inner_fold(patients, tmp_path):
    scorer = quick(patients, 0, tmp_path, members=2)
    assert scorer.network.head.bias.shape == (6,)
    assert np.isfinite(scorer.score([EVERYTHING], np.arange(N_LEARN + 3))).all()


# ---- honesty and worth


def test_learning_works_on_new_patients(trained, patients):
    scores = dict(zip(keys(every_protocol()), trained.score(every_protocol(), NEW), strict=True))
    worth = {key: auc(patients.label[NEW], score) for key, score in scores.items()}
    # binormal: Phi(1.8 / sqrt 2) = .898 for the marker, Phi(.8 / sqrt 2) = .714 for the pressure
    assert worth[MARKER.key] == pytest.approx(0.898, abs=0.04)
    assert worth["exam=1,0x2"] > 0.6
    assert worth[Protocol({"marker": [1], "exam": [1, 0, 0]}).key] > worth[MARKER.key] - 0.005
    assert worth["nothing"] == 0.5, "who is not examined is like everyone else"


def test_a_useless_modality_adds_nothing(trained, patients):
    noise = Protocol({"noise": [1]})
    for protocol in (MARKER, Protocol({"marker": [1], "exam": [1, 1, 1]})):
        without, with_it = trained.score([protocol, protocol | noise], NEW)
        assert abs(auc(patients.label[NEW], with_it) - auc(patients.label[NEW], without)) < 0.01
    assert auc(patients.label[NEW], trained.score([noise], NEW)[0]) == pytest.approx(0.5, abs=0.08)


def test_patients_left_out_are_judged_as_new_ones_are(trained, patients):
    out, new = trained.score([EVERYTHING], LEARN)[0], trained.score([EVERYTHING], NEW)[0]
    assert auc(patients.label[LEARN], out) == pytest.approx(auc(patients.label[NEW], new), abs=0.08)


def test_permuted_labels_teach_nothing(menu, tmp_path):
    """On patients left out the AUC is about .5; the same networks shine on patients they learned from."""
    fold = make_fold(60, 1)
    honest, dishonest = [], []
    for seed in range(6):
        patients = make_patients(61, seed=seed)
        shuffled = np.random.default_rng(seed).permutation(patients.label)
        patients = replace(patients, label=shuffled)
        model = AmortisedModel(steps=60, n_evidence=4, n_hidden=4, prior_precision=0.1)
        scorer = model.fit(patients, menu, fold, seed=seed, trainer=TRAINER, directory=tmp_path / str(seed))
        nobody_learned = Parts(np.array([1000]), np.array([0]), np.arange(3))
        cheat = NetworkScorer(scorer.network, patients, menu, nobody_learned)
        honest.append(auc(shuffled[:60], scorer.score([EVERYTHING], np.arange(60))[0]))
        dishonest.append(auc(shuffled[:60], cheat.score([EVERYTHING], np.arange(60))[0]))
    assert np.mean(honest) == pytest.approx(0.5, abs=0.1)
    assert np.mean(dishonest) > 0.75


def test_the_label_of_a_patient_left_out_is_not_used(patients, menu, fold, tmp_path):
    """Turning the labels of one inner fold round leaves the network that left it out as it was, bit by bit."""
    model = AmortisedModel(steps=5, n_evidence=3, n_hidden=2)
    turned = replace(
        patients, label=np.where((np.arange(len(patients.label)) % 3) == 1, 1 - patients.label, patients.label)
    )
    first, second = (
        model.fit(data, menu, fold, seed=0, trainer=TRAINER, directory=tmp_path / name)
        for name, data in (("as_is", patients), ("turned", turned))
    )
    for name, value in first.network.named_parameters():
        other = dict(second.network.named_parameters())[name]
        assert torch.equal(value[1], other[1]), name
    assert not torch.equal(first.network.head.readout[0], second.network.head.readout[0])


def test_the_calibration_does_not_worsen_what_was_left_out(patients, menu, fold, tmp_path):
    model = AmortisedModel(steps=200, n_evidence=8, n_hidden=16, prior_precision=0.001)  # far too sure of itself
    scorer = model.fit(patients, menu, fold, seed=0, trainer=TRAINER, directory=tmp_path)
    label = patients.label
    calibrated = {name: scorer.score(every_protocol(), rows) for name, rows in (("out", LEARN), ("new", NEW))}
    assert scorer.network.calibration.abs().max() > 0.05
    scorer.network.calibration.zero_()
    raw = {name: scorer.score(every_protocol(), rows) for name, rows in (("out", LEARN), ("new", NEW))}
    assert cross_entropy(label[LEARN], calibrated["out"]) < cross_entropy(label[LEARN], raw["out"])
    assert cross_entropy(label[NEW], calibrated["new"]) < cross_entropy(label[NEW], raw["new"])
    order = [np.argsort(np.argsort(scores["new"], axis=1), axis=1) for scores in (raw, calibrated)]
    assert (order[0] == order[1]).mean() > 0.99, "the ranking of patients stays"


def test_the_calibration_is_the_best_there_is(trained):
    protocols = every_protocol()
    found = trained.fit_calibration(protocols)
    label = trained._data.label[LEARN]
    logits = trained._logits(protocols, LEARN)
    about = trained.network.protocol_features(torch.as_tensor(trained._menu.matrix(protocols))).double().numpy()

    def loss(value: np.ndarray) -> float:
        log_temperature, shift = value @ about.T
        probability = sigmoid(logits / np.exp(log_temperature)[:, None] + shift[:, None])
        return cross_entropy(label, probability) + 2.0 / (2 * N_LEARN) * float(np.sum(value**2))

    best = loss(found.double().numpy())
    rng = np.random.default_rng(0)
    for _ in range(30):
        assert loss(found.double().numpy() + 0.05 * rng.normal(size=tuple(found.shape))) > best
    torch.testing.assert_close(trained.network.calibration, found, rtol=1e-3, atol=1e-3)


# ---- checkpoints


def test_a_checkpoint_is_plain_weights(trained, folder):
    content = torch.load(folder / "network.ckpt", weights_only=True)
    assert {"state_dict", "hyper_parameters"} <= set(content)
    assert "optimizer_states" not in content
    assert torch.equal(content["state_dict"]["calibration"], trained.network.calibration)
    assert sorted(path.name for path in folder.iterdir()) == ["network.ckpt"], "nothing else is left there"


def test_a_loaded_checkpoint_gives_the_same_scores(trained, patients, menu, fold, model, folder):
    loaded = model.load(patients, menu, fold, seed=1, directory=folder)
    asked = np.arange(0, N_LEARN + N_NEW, 7)
    np.testing.assert_array_equal(loaded.score(every_protocol(), asked), trained.score(every_protocol(), asked))


def test_a_missing_checkpoint_is_named(patients, menu, fold, model, tmp_path):
    with pytest.raises(ScanwiseError, match="no checkpoint for fold r0f1\n  -> run stage=fit first"):
        model.load(patients, menu, fold, seed=1, directory=tmp_path)


@pytest.mark.parametrize("keep", [0, 100, 4000, -10])
def test_a_damaged_checkpoint_is_named(trained, folder, patients, menu, fold, model, tmp_path, keep):
    (tmp_path / "network.ckpt").write_bytes((folder / "network.ckpt").read_bytes()[:keep])
    with pytest.raises(ScanwiseError, match="checkpoint of fold r0f1 is damaged"):
        model.load(patients, menu, fold, seed=1, directory=tmp_path)


def test_a_checkpoint_that_holds_python_objects_is_not_opened(patients, menu, fold, model, tmp_path):
    torch.save({"state_dict": {}, "anything": TestPanel("a", {"x": None})}, tmp_path / "network.ckpt")
    with pytest.raises(ScanwiseError, match="damaged"):
        model.load(patients, menu, fold, seed=1, directory=tmp_path)


def test_a_full_disk_leaves_the_old_checkpoint(patients, menu, fold, trained, folder, model, tmp_path, monkeypatch):
    shutil.copy(folder / "network.ckpt", tmp_path)

    def full(source: object, target: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(ScanwiseError, match=r"checkpoint of fold r0f1 could not be written to .*: .*No space left"):
        replace(model, steps=2).fit(patients, menu, fold, seed=0, trainer=TRAINER, directory=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["network.ckpt"]
    assert (tmp_path / "network.ckpt").read_bytes() == (folder / "network.ckpt").read_bytes()


# ---- batches, settings, progress


def batches_of(menu: Menu, **changes) -> list[list[Protocol]]:
    """The protocols of every training step."""
    settings = AmortisedModel(steps=6, **changes)
    batches = _Batches(features={}, label=torch.zeros(9), learns=torch.ones(2, 9), menu=menu, settings=settings, seed=3)
    steps = [batch["counts"].numpy() for batch in batches]
    names = [(name, menu.columns(name)) for name in menu.modalities]
    return [[Protocol({name: row[where] for name, where in names}) for row in counts] for counts in steps]


def test_a_small_lattice_is_decoded_whole_in_every_step():
    menu = Menu([TestPanel(name, {"x": None}) for name in ("a", "b", "c")], always=Protocol({"a": [1]}))
    expected = {"a=1", "a=1 b=1", "a=1 c=1", "a=1 b=1 c=1"}
    for protocols in batches_of(menu, protocols_per_step=4):
        assert set(keys(protocols)) == expected
        assert len(protocols) == 4


@pytest.mark.parametrize("protocols_per_step", [4, 5, 9, 16])
def test_the_sandwich_holds_everything_the_least_and_current_practice(protocols_per_step):
    menu = Menu(
        [TestPanel(f"test{index}", {"x": None, "y": None}, schemes=["subset"]) for index in range(5)],
        always=Protocol({"test0": [1, 0]}),
        reference=Protocol({"test1": [1, 1], "test3": [0, 1]}),
    )
    steps = batches_of(menu, protocols_per_step=protocols_per_step)
    for protocols in steps:
        assert len(protocols) == protocols_per_step
        assert {menu.everything(), menu.always, menu.reference} <= set(protocols)
        assert all(protocol.covers(menu.always) for protocol in protocols)
    if protocols_per_step > 8:
        assert all(menu.protocol(f"test{index}") in steps[0] for index in range(1, 5)), "each alone"
    assert len({tuple(keys(protocols)) for protocols in steps}) > 1, "the others are drawn anew"


def test_batches_are_drawn_without_repetition():
    settings = AmortisedModel(steps=4, batch_size=6)
    batches = list(
        _Batches(
            features={"a": torch.arange(9.0)[:, None]},
            label=torch.arange(9),
            learns=torch.arange(18.0).reshape(2, 9),
            menu=Menu([TestPanel("a", {"x": None})]),
            settings=settings,
            seed=0,
        )
    )
    assert len(batches) == 4
    for batch in batches:
        rows = batch["label"].tolist()
        assert len(set(rows)) == 6
        assert batch["features"]["a"][:, 0].tolist() == rows
        assert batch["learns"].tolist() == [rows, [9 + row for row in rows]]
        assert batch["n_learn"] == 9.0
    assert len({tuple(batch["label"].tolist()) for batch in batches}) > 1


@pytest.mark.parametrize(
    "name", ["n_evidence", "n_hidden", "prior_precision", "learning_rate", "steps", "members", "batch_size"]
)
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_sizes_are_above_zero(name, value):
    with pytest.raises(ScanwiseError, match=rf"model\.{name} must be above 0, but got"):
        AmortisedModel(**{name: value})


def test_a_sandwich_needs_three_slices_and_a_filling():
    AmortisedModel(protocols_per_step=4)
    with pytest.raises(ScanwiseError, match=r"model\.protocols_per_step must be at least 4, but got 3"):
        AmortisedModel(protocols_per_step=3)


def test_the_methods_text_names_the_numbers():
    text = AmortisedModel(n_evidence=7, n_hidden=5, steps=33, members=2, protocols_per_step=21).describe()
    for words in ("7 values", "5 hidden units", "33 steps", "21 protocols", "2 times"):
        assert words in text
    assert "fold out once," in AmortisedModel(members=1).describe()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"accelerator": "tpu"}, r"trainer\.accelerator must be one of .*, but got 'tpu'"),
        ({"devices": 0}, r"trainer\.devices must be at least 1, but got 0"),
        ({"threads": 0}, r"trainer\.threads must be at least 1, but got 0"),
    ],
)
def test_trainer_settings_are_checked(settings, message):
    with pytest.raises(ScanwiseError, match=message):
        TrainerSettings(**settings)


def test_progress_is_told_up_to_the_end(patients, menu, fold, tmp_path, capfd):
    told = []
    model = AmortisedModel(steps=7, n_evidence=2, n_hidden=2)
    trainer = replace(TRAINER, log=True)
    model.fit(
        patients, menu, fold, seed=0, trainer=trainer, directory=tmp_path, progress=lambda *news: told.append(news)
    )
    assert [done for done, _, _ in told] == [1, 2, 3, 4, 5, 6, 7]
    assert {total for _, total, _ in told} == {7}
    assert told[-1][2].startswith("loss 0.")
    assert "loss" in (tmp_path / "metrics.csv").read_text().splitlines()[0]
    assert capfd.readouterr() == ("", ""), "and nothing is printed"


@pytest.mark.slow
def test_two_processes_train_together(patients, menu, fold, tmp_path):
    trainer = TrainerSettings(devices=2, strategy="ddp_spawn", threads=1, log=False)
    model = AmortisedModel(steps=40, n_evidence=4, n_hidden=3, batch_size=100, protocols_per_step=8)
    scorer = model.fit(patients, menu, fold, seed=2, trainer=trainer, directory=tmp_path)
    scores = scorer.score(every_protocol(), NEW)
    assert np.isfinite(scores).all()
    assert auc(patients.label[NEW], scores[keys(every_protocol()).index(MARKER.key)]) > 0.8
    loaded = model.load(patients, menu, fold, seed=2, directory=tmp_path)
    np.testing.assert_array_equal(loaded.score(every_protocol(), NEW), scores)
