"""The imaging network: it finds what can be found, in any set and length of scans, and is honest towards patients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_scenario import GRID, N_LEARN, N_NEW, Spot, make_image_model, make_scan_fold, make_scan_menu, make_scans
from model_scenario import TRAINER, auc

from scanwise.design import Fold, Menu, Product, Protocol
from scanwise.errors import ScanwiseError
from scanwise.modalities.panel import TestPanel
from scanwise.model import ImageModel, ImageNetwork, ImageScorer
from scanwise.model.image_model import Reader
from scanwise.model.image_network import ImageEncoder, PlaceHead

LEARN, NEW = np.arange(N_LEARN), np.arange(N_LEARN, N_LEARN + N_NEW)
SHOWS = Protocol({"shows": [1, 1, 2]})
SHORT = Protocol({"shows": [1, 0, 0]})
BLIND = Protocol({"blind": [1, 1, 2]})
MARKER = Protocol({"marker": [1]})
NOTHING = Protocol()
PROTOCOLS = [SHOWS, SHORT, BLIND, MARKER, SHOWS | MARKER, SHOWS | BLIND | MARKER, NOTHING]


@pytest.fixture(scope="module")
def scans():
    return make_scans()


@pytest.fixture(scope="module")
def menu() -> Menu:
    return make_scan_menu()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("images")


@pytest.fixture(scope="module")
def trained(scans, menu, folder):
    return make_image_model().fit(scans, menu, make_scan_fold(), seed=3, trainer=TRAINER, directory=folder)


@pytest.fixture(scope="module")
def scores(trained):
    return dict(zip(PROTOCOLS, trained.score(PROTOCOLS, NEW), strict=True))


# ---- what it learns


def test_it_finds_the_spot_and_knows_the_marker(scans, scores):
    found = {protocol: auc(scans.label[NEW], row) for protocol, row in scores.items()}
    assert found[SHOWS] > 0.9
    assert found[MARKER] == pytest.approx(0.76, abs=0.05)  # Phi(1 / sqrt 2)
    assert found[SHOWS | MARKER] > found[SHOWS] - 0.01
    assert found[SHORT] < found[SHOWS]
    assert abs(found[BLIND] - 0.5) < 0.08
    assert abs(found[SHOWS | BLIND | MARKER] - found[SHOWS | MARKER]) < 0.03


def test_without_any_measurement_everyone_is_alike(scores, scans):
    assert np.ptp(scores[NOTHING]) == 0
    assert scores[NOTHING][0] == pytest.approx(scans.label.mean(), abs=0.15)


def test_the_map_points_at_the_spot(trained, scans, menu):
    network = trained.networks[0]
    sick = NEW[scans.label[NEW] == 1]
    images = torch.as_tensor(scans.values["shows"][sick], dtype=torch.float32)
    sampling = torch.as_tensor(menu.modalities["shows"].sampling(np.array([1, 1, 2]))).expand(len(sick), 3)
    with torch.inference_mode():
        _, maps = network.head(network.encode_image("shows", images, sampling) + network.absent())
    where = maps[:, :, 0].argmax(1).numpy()
    cells = scans.drawn[sick, 0].reshape(len(sick), GRID[0], 2, GRID[1], 2).mean((2, 4)).reshape(len(sick), -1)
    assert np.mean(where == cells.argmax(1)) > 0.9


def test_permuted_labels_are_worth_nothing(menu, tmp_path):
    scans = make_scans(seed=1, shuffled=True)
    scorer = make_image_model(steps=60).fit(scans, menu, make_scan_fold(), seed=0, trainer=TRAINER, directory=tmp_path)
    found = auc(scans.label[NEW], scorer.score([SHOWS | BLIND | MARKER], NEW)[0])
    assert abs(found - 0.5) < 0.09  # 2.7 standard errors at 300 patients


def test_slopes_tell_what_shots_add(trained, scans):
    every = SHOWS | MARKER | Protocol({"blind": [1, 0, 0]})
    value, slopes = trained.slopes(every, NEW, np.random.default_rng(0))

    probability = trained.score([every], NEW)[0]
    likelihood = np.where(scans.label[NEW] == 1, np.log(probability), np.log(1 - probability)).mean()
    assert value == pytest.approx(likelihood, abs=0.05)
    assert {name: slope.shape for name, slope in slopes.items()} == {"shows": (3,), "blind": (3,), "marker": (1,)}
    assert (slopes["shows"] > 0).all()
    assert slopes["marker"] > 0
    assert np.abs(slopes["blind"]).max() < slopes["shows"].min()


def test_slopes_follow_from_the_seed_and_only_what_is_acquired_has_them(trained):
    first, again, other = (trained.slopes(SHORT, NEW[:20], np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert set(first[1]) == {"shows"}
    np.testing.assert_array_equal(first[1]["shows"], again[1]["shows"])
    assert first[0] != other[0]


def test_a_scan_without_slopes_is_refused_by_name(trained, monkeypatch):
    monkeypatch.delattr(Spot, "relaxed")
    with pytest.raises(ScanwiseError, match="'shows' says nothing of the slope"):
        trained.slopes(SHOWS, NEW[:5], np.random.default_rng(0))


def test_probabilities_are_calibrated_on_average(scores, scans):
    for protocol in (SHOWS, MARKER, SHOWS | MARKER):
        assert scores[protocol].mean() == pytest.approx(scans.label[NEW].mean(), abs=0.08)


# ---- what a score depends on


def test_a_score_does_not_depend_on_who_else_is_asked(trained, scores):
    some = NEW[[5, 200, 17]]
    alone = trained.score([SHOWS | MARKER], some)[0]
    np.testing.assert_allclose(alone, scores[SHOWS | MARKER][[5, 200, 17]], rtol=2e-3)


def test_an_absent_scan_is_not_looked_at(trained, scans, menu, scores):
    blank = scans.changed("blind", slice(None), 77.0)
    other = scorer_of(trained, blank, menu)
    np.testing.assert_array_equal(other.score([SHOWS], NEW)[0], scores[SHOWS])


def scorer_of(trained: ImageScorer, data, menu: Menu) -> ImageScorer:
    """Return the same networks looking at other data."""
    return ImageScorer(trained.networks, Reader(data, menu), trained._parts, trained._seed)


def test_a_scan_that_a_patient_lacks_is_as_if_it_was_not_asked_for(trained, scans, menu, scores):
    missing = scans.changed("shows", NEW[:10], np.nan)
    found = scorer_of(trained, missing, menu).score([SHOWS | MARKER], NEW)[0]
    log_temperature, shift = (
        trained.networks[0].calibration.double().numpy()
        @ trained._reader.about(trained._reader.menu.matrix([SHOWS | MARKER])).T
    )
    uncalibrated = (np.log(found[:10] / (1 - found[:10])) - shift[0]) * np.exp(log_temperature[0])
    np.testing.assert_allclose(uncalibrated, trained.logits([MARKER], NEW[:10])[0], atol=1e-4)
    np.testing.assert_allclose(found[10:], scores[SHOWS | MARKER][10:], rtol=2e-3)


def test_evidence_is_measured_once_per_setting(trained, monkeypatch):
    trained.score([SHOWS, SHOWS | MARKER, BLIND], NEW)
    calls = []
    monkeypatch.setattr(Spot, "measure", lambda self, *rest: calls.append(self.name))
    trained.score([SHOWS | BLIND | MARKER, SHOWS | BLIND], NEW)
    assert calls == []


def test_a_protocol_is_scored_alike_whoever_else_is_asked_for(trained, scores):
    """To the last bit, or workers would not find what one process finds."""
    many = list(scores)
    together = dict(zip(many, trained.score(many, NEW), strict=True))
    backwards = dict(zip(many[::-1], trained.score(many[::-1], NEW), strict=True))
    for protocol in many:
        np.testing.assert_array_equal(trained.score([protocol], NEW)[0], together[protocol])
        np.testing.assert_array_equal(backwards[protocol], together[protocol])


def test_what_scans_keep_while_they_are_scored_can_be_used_with_gradients(scans, menu, trained, folder, monkeypatch):
    fresh = make_image_model().load(scans, menu, make_scan_fold(), seed=3, directory=folder)
    modes = []
    images_of = Reader.images_of

    def watched(self, *arguments):
        modes.append(torch.is_inference_mode_enabled())
        return images_of(self, *arguments)

    monkeypatch.setattr(Reader, "images_of", watched)
    fresh.score([SHOWS], NEW)
    product = Product(Protocol(), {"shows": ((), (1, 0, 0), (4, 4, 4)), "blind": ((), (0, 2, 0))})
    list(fresh.score_product(product, NEW, wanted=product.settings(np.arange(6)).all(axis=1)))
    assert modes
    assert not any(modes)


def test_the_same_seed_gives_the_same_network(scans, menu, tmp_path):
    model = make_image_model(steps=12)
    first, second, other = (
        model.fit(scans, menu, make_scan_fold(), seed=seed, trainer=TRAINER, directory=tmp_path / str(index))
        for index, seed in enumerate([4, 4, 5])
    )
    np.testing.assert_array_equal(first.score(PROTOCOLS, NEW), second.score(PROTOCOLS, NEW))
    assert not np.array_equal(first.score([SHOWS], NEW), other.score([SHOWS], NEW))


# ---- who learned from whom


def test_patients_that_were_learned_from_are_not_scored(trained):
    kept = trained._parts.learn[trained._parts.part != trained._parts.leaves_out[0]]
    with pytest.raises(ScanwiseError, match="learned from by every network"):
        trained.score([SHOWS], kept[:3])


def test_inner_folds_are_left_out_in_turn(scans, menu, tmp_path):
    learn = LEARN[:60]
    fold = Fold(0, 0, learn, learn % 2, learn, NEW)
    scorer = make_image_model(steps=8).fit(scans, menu, fold, seed=0, trainer=TRAINER, directory=tmp_path)
    assert len(scorer.networks) == 2
    assert scorer.score([SHOWS], learn).shape == (1, 60)
    with torch.inference_mode():
        single = [
            scorer_of(scorer, scans, menu)._logits_of(member, network, [SHOWS], NEW[:20])
            for member, network in enumerate(scorer.networks)
        ]
    np.testing.assert_allclose(scorer.logits([SHOWS], NEW[:20]), np.mean(single, axis=0), atol=1e-6)


# ---- checkpoints


def test_a_checkpoint_gives_the_same_scores(trained, scans, menu, folder, scores):
    loaded = make_image_model().load(scans, menu, make_scan_fold(), seed=3, directory=folder)
    np.testing.assert_array_equal(loaded.score(PROTOCOLS, NEW), np.stack(list(scores.values())))


def test_a_damaged_or_missing_checkpoint_is_told(scans, menu, tmp_path):
    with pytest.raises(ScanwiseError, match="no checkpoint for fold r0f0"):
        make_image_model().load(scans, menu, make_scan_fold(), seed=3, directory=tmp_path)
    (tmp_path / "network-0.ckpt").write_bytes(b"torn")
    with pytest.raises(ScanwiseError, match="the checkpoint of fold r0f0 is damaged"):
        make_image_model().load(scans, menu, make_scan_fold(), seed=3, directory=tmp_path)


# ---- the specialist


def test_a_specialist_reads_its_protocol_and_no_other(scans, menu, tmp_path):
    model = make_image_model(only=SHORT.key, steps=150)
    scorer = model.fit(scans, menu, make_scan_fold(), seed=0, trainer=TRAINER, directory=tmp_path)
    assert auc(scans.label[NEW], scorer.score([SHORT], NEW)[0]) > 0.75
    assert set(scorer.networks[0].images) == {"shows"}
    with pytest.raises(ScanwiseError, match="this network reads 'shows=1,0x2' alone, but was asked for 'marker=1'"):
        scorer.score([MARKER], NEW)


# ---- building blocks


def test_matrices_of_any_multiple_of_the_grid_land_on_it():
    for factor in (1, 2, 3, 4, 6, 8, 9):
        matrix = (GRID[0] * factor, GRID[1] * factor)
        encoder = ImageEncoder(channels=2, matrix=matrix, n_shots=5, grid=GRID, width=8, n_blocks=2, n_evidence=3)
        assert encoder(torch.zeros(4, 2, *matrix), torch.ones(4, 5)).shape == (4, 24, 3)


@pytest.mark.parametrize("matrix", [(8, 18), (9, 12), (20, 30)])
def test_other_matrices_are_refused(matrix):
    with pytest.raises(ScanwiseError, match=r"matrix"):
        ImageEncoder(channels=1, matrix=matrix, n_shots=1, grid=GRID, width=8, n_blocks=1, n_evidence=3)


def test_pooling_is_the_log_sum_exp_of_the_places():
    torch.manual_seed(0)
    head = PlaceHead(n_evidence=3, n_hidden=5, n_targets=2, n_places=24)
    evidence = torch.randn(7, 24, 3)
    with torch.inference_mode():
        logits, maps = head(evidence)
    expected = np.log(np.exp(maps.double().numpy()).sum(1))
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-6)


def test_absent_images_add_a_constant(menu):
    network = ImageNetwork(
        panels={"marker": {"n_shots": 1, "shot": [0]}},
        images={"shows": {"channels": 1, "matrix": [8, 12], "n_shots": 3}},
        n_targets=1,
        grid=GRID,
        width=8,
        n_blocks=1,
        n_evidence=6,
        n_hidden=12,
        map_weight=1.0,
        learning_rate=0.01,
        weight_decay=0.0,
        steps=10,
        seed=0,
    )
    assert network.absent().shape == (6,)
    unknown = network.encode_panel("marker", torch.full((3, 1), torch.nan), torch.ones(1, 1))
    assert torch.equal(unknown, torch.zeros(3, 6))


# ---- bad input


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": 0}, "model.steps must be above 0, but got 0"),
        ({"subsets_per_step": 2}, "model.subsets_per_step must be at least 3, but got 2"),
        ({"usual": 1.5}, "model.usual must be in"),
    ],
)
def test_settings_are_checked(changes, message):
    with pytest.raises(ScanwiseError, match=message):
        ImageModel(**changes)


def test_a_menu_without_images_is_refused(scans, tmp_path):
    menu = Menu([TestPanel("marker", {"marker": {"money": 5.0}})])
    with pytest.raises(ScanwiseError, match="at least one imaging modality"):
        make_image_model().fit(scans, menu, make_scan_fold(), seed=0, trainer=TRAINER, directory=tmp_path)
