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
from scanwise.model import image_model as image_model_module
from scanwise.model import product as product_module
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
MANY = Product(
    Protocol(),
    {
        "marker": ((), (1,)),
        "shows": ((), *itertools.islice(itertools.product(range(1, 5), range(5), range(5)), 3, 99, 3)),
        "blind": ((), *itertools.islice(itertools.product(range(1, 5), range(5), range(5)), 1, 99, 3)),
    },
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
def test_a_few_combinations_of_images_are_all_read(reader_of_scans, product):
    assert isinstance(reader_of_scans, ProductScorer)
    table, seen = whole(reader_of_scans, product, SCANNED)
    assert seen == list(range(len(product)))
    expected = reader_of_scans.score(product.protocols(np.arange(len(product))), SCANNED)
    np.testing.assert_allclose(table, expected, atol=2e-6)


def test_many_combinations_of_images_are_interpolated_from_few(reader_of_scans, monkeypatch):
    everything = MANY.protocols(np.arange(len(MANY)))
    expected = reader_of_scans.score(everything, SCANNED)
    read = []
    logits = ImageScorer.logits

    def watched(self, protocols, patients):
        read.append(len(protocols))
        return logits(self, protocols, patients)

    monkeypatch.setattr(ImageScorer, "logits", watched)
    off = []
    for refine in (0, 3):
        read.clear()
        table, seen = whole(reader_of_scans, MANY, SCANNED, refine=refine)
        assert seen == list(range(len(MANY)))
        assert 16 * sum(MANY.shape) < sum(read) < len(MANY)
        off.append(float(np.sqrt(np.mean((table - expected) ** 2))))
    assert 1e-7 < off[1] < off[0] < 0.01  # .02 in the log odds per modality; a probability moves by a quarter at most


def test_images_are_exact_once_refined_far_enough(reader_of_scans):
    table, _ = whole(reader_of_scans, MANY, SCANNED, refine=60)
    some = np.arange(0, len(MANY), 7)
    np.testing.assert_allclose(table[some], reader_of_scans.score(MANY.protocols(some), SCANNED), atol=2e-6)


def test_patients_are_read_in_parts_where_their_evidence_is_too_much(reader_of_scans, monkeypatch):
    protocols = SCANS.protocols(np.arange(12))
    expected = reader_of_scans.score(protocols, SCANNED)
    monkeypatch.setattr(image_model_module, "_KEPT_BYTES", 200_000)
    np.testing.assert_allclose(reader_of_scans.score(protocols, SCANNED), expected, atol=1e-6)
    assert sum(one.nbytes for one in reader_of_scans._kept.values()) <= 200_000


def test_a_network_for_one_protocol_scores_no_product(tmp_path):
    model = make_image_model(steps=2, only="shows=1x2,2")
    scorer = model.fit(make_scans(), make_scan_menu(), make_scan_fold(), seed=0, trainer=TRAINER, directory=tmp_path)
    with pytest.raises(ScanwiseError, match="one protocol cannot score combinations"):
        next(scorer.score_product(SCANS, SCANNED))
