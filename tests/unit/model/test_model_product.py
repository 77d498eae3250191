"""Whole products of settings: scored as one by one, whatever they are built from."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from image_scenario import N_LEARN, N_NEW, make_image_model, make_scan_fold, make_scan_menu, make_scans
from model_scenario import N_LEARN as N_TESTED
from model_scenario import N_NEW as N_UNTESTED
from model_scenario import TRAINER, every_protocol

from scanwise.design import Product, ProductScorer, Protocol
from scanwise.errors import ScanwiseError
from scanwise.model import ImageScorer
from scanwise.model import image_product as image_product_module
from scanwise.model import product as product_module
from scanwise.model.image_product import pilot_rows, places_that_matter
from scanwise.model.product import Part, in_threads, product_logits

TESTS = Product(
    Protocol(),
    {
        "marker": ((), (1,)),
        "exam": ((), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 0, 1), (1, 1, 0), (1, 1, 1)),
        "noise": ((), (1,)),
    },
)
NEW = np.arange(N_TESTED, N_TESTED + N_UNTESTED)
ALL = np.arange(N_TESTED + N_UNTESTED)


def whole(scorer, product, patients, **options):
    """Return the table that `score_product` yields in pieces, and the rows it yielded."""
    table = np.full((len(product), len(patients)), np.nan)
    seen = []
    for rows, probability in scorer.score_product(product, patients, **options):
        table[rows] = probability
        seen += rows.tolist()
    assert len(set(seen)) == len(seen)
    return table, sorted(seen)


# ---- the sums


def test_sums_run_over_all_combinations_whatever_the_block(monkeypatch):
    rng = np.random.default_rng(0)
    shape, rows, width = (2, 3, 1, 4, 5), 3, 2
    tables = [(torch.as_tensor(rng.normal(size=(n, rows, width))).float(),) for n in shape]
    base = (torch.as_tensor(rng.normal(size=(rows, width))).float(),)
    part = Part(np.array([4, 0, 2]), np.array([1.0, 0.5, 2.0]), base, tuple(tables), lambda sums: sums.prod(-1))
    expected = np.zeros((120, 5))
    for row, settings in enumerate(itertools.product(*map(range, shape))):
        total = base[0] + sum(table[0][setting] for table, setting in zip(tables, settings, strict=True))
        expected[row, [4, 0, 2]] = total.prod(-1).numpy() * [1.0, 0.5, 2.0]
    wanted = rng.random(120) < 0.3
    wanted[40:80] = False
    for values, at_once in ((4_000_000, 8_000), (1, 1), (200, 7)):
        monkeypatch.setattr(product_module, "_VALUES", values)
        monkeypatch.setattr(product_module, "_ROWS", at_once)
        found = list(product_logits(shape, [part], 5))
        np.testing.assert_array_equal(np.concatenate([rows for rows, _ in found]), np.arange(120))
        np.testing.assert_allclose(np.concatenate([logits for _, logits in found]), expected, rtol=1e-5, atol=1e-6)
        some = list(product_logits(shape, [part, part], 5, wanted))
        np.testing.assert_array_equal(np.concatenate([rows for rows, _ in some]), np.flatnonzero(wanted))
        np.testing.assert_allclose(
            np.concatenate([logits for _, logits in some]), 2 * expected[wanted], rtol=1e-5, atol=1e-6
        )


def test_a_product_without_a_choice_is_its_base():
    part = Part(np.array([0, 1]), np.ones(2), (torch.tensor([[1.0], [2.0]]),), (), lambda sums: sums[..., 0])
    ((rows, logits),) = product_logits((), [part], 2)
    assert rows.tolist() == [0]
    assert logits.tolist() == [[1.0, 2.0]]


def test_threads_leave_the_number_of_threads_of_torch_alone():
    before = torch.get_num_threads()
    assert in_threads(lambda n: (n, torch.get_num_threads()), [1, 2, 3]) == [(1, 1), (2, 1), (3, 1)]
    assert torch.get_num_threads() == before


# ---- tests


def test_a_network_of_tests_scores_a_product_exactly(trained):
    assert isinstance(trained, ProductScorer)
    table, seen = whole(trained, TESTS, ALL)  # learning patients too: each is read by the networks that left it out
    assert seen == list(range(32))
    protocols = TESTS.protocols(np.arange(32))
    assert protocols == every_protocol()
    np.testing.assert_allclose(table, trained.score(protocols, ALL), atol=2e-7)


def test_what_is_fixed_is_part_of_every_protocol(trained):
    product = Product(Protocol({"exam": [1, 0, 1]}), {"noise": ((1,), ()), "marker": ((), (1,))})
    table, _ = whole(trained, product, NEW)
    expected = [Protocol({"exam": [1, 0, 1], "marker": [m], "noise": [n]}) for n in (1, 0) for m in (0, 1)]
    np.testing.assert_allclose(table, trained.score(expected, NEW), atol=2e-7)


def test_only_what_is_wanted_is_scored(trained):
    wanted = np.zeros(32, dtype=bool)
    wanted[[3, 17, 30]] = True
    table, seen = whole(trained, TESTS, NEW, wanted=wanted)
    assert seen == [3, 17, 30]
    np.testing.assert_allclose(table[seen], trained.score(TESTS.protocols(np.array(seen)), NEW), atol=2e-7)


# ---- images

SCANS = Product(
    Protocol({"marker": [1]}),
    {"shows": ((), (1, 0, 0), (1, 1, 2), (4, 4, 4)), "blind": ((), (1, 1, 1), (0, 2, 0))},
)
SCANNED = np.arange(N_LEARN, N_LEARN + N_NEW)


@pytest.fixture(scope="module")
def reader_of_scans(tmp_path_factory) -> ImageScorer:
    where = tmp_path_factory.mktemp("images")
    scans, menu = make_scans(), make_scan_menu()
    return make_image_model(members=2, steps=80).fit(
        scans, menu, make_scan_fold(), seed=3, trainer=TRAINER, directory=where
    )


@pytest.mark.parametrize(
    "product", [SCANS, Product(Protocol({"blind": [1, 1, 1]}), {"marker": ((), (1,)), "shows": ((), (1, 0, 0))})]
)
def test_images_are_read_exactly_where_all_places_are_kept(reader_of_scans, product):
    assert isinstance(reader_of_scans, ProductScorer)
    table, seen = whole(reader_of_scans, product, SCANNED, refine=40)
    assert seen == list(range(len(product)))
    expected = reader_of_scans.score(product.protocols(np.arange(len(product))), SCANNED)
    np.testing.assert_allclose(table, expected, atol=2e-6)


def test_images_are_read_nearly_exactly_at_the_places_that_matter(reader_of_scans, monkeypatch):
    monkeypatch.setattr(image_product_module, "_STEP", 1)
    kept = []
    of_network = image_product_module.places_that_matter

    def watched(maps, tolerance):
        places = of_network(maps, tolerance)
        kept.append(places.needed.numpy())
        return places

    monkeypatch.setattr(image_product_module, "places_that_matter", watched)
    table, seen = whole(reader_of_scans, SCANS, SCANNED)
    assert seen == list(range(12))
    needed = np.concatenate(kept)
    assert len(needed) == 2 * N_NEW  # both networks read all of them
    assert needed.min() < 24  # of 4 x 6 places
    expected = reader_of_scans.score(SCANS.protocols(np.arange(12)), SCANNED)
    off = np.abs(table - expected)
    assert off.max() > 1e-9, "places were left out"
    assert np.sqrt(np.mean(off**2)) < 0.12 / 4  # a log odds moves a probability by a quarter at most
    few = (SCANS.settings(np.arange(12)) > 0).sum(1) < 2
    np.testing.assert_allclose(table[few], expected[few], atol=1e-12)


def test_a_network_for_one_protocol_scores_no_product(tmp_path):
    model = make_image_model(steps=2, only="shows=1x2,2")
    scorer = model.fit(make_scans(), make_scan_menu(), make_scan_fold(), seed=0, trainer=TRAINER, directory=tmp_path)
    with pytest.raises(ScanwiseError, match="one protocol cannot score combinations"):
        next(scorer.score_product(SCANS, SCANNED))


def test_places_are_kept_until_the_log_sum_exp_can_be_told(monkeypatch):
    monkeypatch.setattr(image_product_module, "_STEP", 1)
    rng = np.random.default_rng(0)
    lesion = rng.normal(0, 2, size=(200, 1))  # as large as its protocol shows it
    alike = np.concatenate([lesion, lesion - 2, np.full((200, 2), -12.0)], axis=1)  # the first tells the second
    other = np.concatenate([lesion, rng.normal(0, 2, size=(200, 1)), np.full((200, 2), -12.0)], axis=1)
    maps = torch.as_tensor(np.stack([alike, other], axis=1), dtype=torch.float32)  # protocols, patients, places
    places = places_that_matter(maps, tolerance=0.1)
    assert places.needed.tolist() == [1, 2]
    assert places.order[0, 0] == 0
    assert set(places.order[1, :2].tolist()) == {0, 1}
    whole = torch.logsumexp(maps, dim=2)
    for patient, n in enumerate([1, 2]):
        kept = torch.logsumexp(maps[:, patient, places.order[patient, :n]], dim=1)
        told = places.slope[patient] * kept + places.offset[patient]
        assert (told - whole[:, patient]).square().mean().sqrt() < 0.1
    everything = places_that_matter(maps, tolerance=1e-6)
    assert everything.needed.tolist() == [4, 4]
    assert everything.slope.tolist() == [1, 1]
    assert everything.offset.tolist() == [0, 0]
    assert places_that_matter(maps[:2], tolerance=1.0).needed.tolist() == [4, 4]  # too few protocols to fit a line


def test_pilot_protocols_are_among_those_that_may_be_drawn():
    product = Product(Protocol(), {"a": ((), *[(n,) for n in range(1, 12)]), "b": ((), *[(n,) for n in range(1, 40)])})
    several = (product.settings(np.arange(480)) > 0).all(1)
    rows = pilot_rows(product, several)
    assert len(set(rows.tolist())) == 192
    assert several[rows].all()
    few = np.arange(480) == 77
    assert pilot_rows(product, few).tolist() == [77]
