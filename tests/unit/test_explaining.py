"""Subsets, groups and pictures that a report shows of judging patients."""

from __future__ import annotations

import base64
import struct
import zlib
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scanwise.design import Fold, Menu, Protocol, parts_of_today, subsets_of_today
from scanwise.evidence import ScoreTable
from scanwise.explaining import as_many_of_both, groups_of, pictures_of, score_moved, score_subsets
from scanwise.modalities.panel import TestPanel
from scanwise.modalities.turbo_spin_echo import TurboSpinEcho

N = 40
LABEL = np.arange(N) % 2


def panel(name: str) -> TestPanel:
    return TestPanel(name, {f"{name}_value": {"money": 1.0}})


def menu() -> Menu:
    """History is always done; a marker that is not part of today's protocol is on offer."""
    tests = [panel("history"), panel("blood"), panel("ecg"), panel("marker")]
    today = Protocol({name: [1] for name in ("history", "blood", "ecg")})
    return Menu(tests, (), always=Protocol({"history": [1]}), reference=today)


def test_subsets_count_up_by_the_bits_of_the_parts():
    assert parts_of_today(menu()) == ("blood", "ecg")
    found = [set(protocol.modalities) for protocol in subsets_of_today(menu(), parts_of_today(menu()))]
    assert found == [{"history"}, {"history", "blood"}, {"history", "ecg"}, {"history", "blood", "ecg"}]


class Counting:
    """Says how many modalities a protocol has; refuses one without any."""

    def score(self, protocols: Any, patients: Any) -> np.ndarray:
        assert all(protocol.modalities for protocol in protocols)
        return np.array([[len(one.modalities) / 10] * len(patients) for one in protocols])


@pytest.mark.parametrize("always", [True, False])
def test_every_subset_is_scored_on_the_judging_patients_of_every_fold(always):
    offered = menu() if always else Menu([panel("blood"), panel("ecg")], ())
    halves = (np.arange(0, N, 2), np.arange(1, N, 2))
    rows = np.arange(N)
    folds = [
        Fold(
            repeat=0,
            index=index,
            learn=np.setdiff1d(rows, half),
            tune=np.setdiff1d(rows, half),
            test=half,
            inner=np.zeros(N - len(half), dtype=int),
        )
        for index, half in enumerate(halves)
    ]
    stratum = np.where(np.isin(rows, halves[0]), 0, 1)[None]
    like = ScoreTable(("a",), np.full((1, 1, N), 0.5), stratum, LABEL, np.full(N, "here"))
    told: list[tuple[int, int, str]] = []
    found = score_subsets(offered, folds, lambda index: Counting(), like, lambda *news: told.append(news))
    sizes = [len(Protocol.from_key(key).modalities) for key in found.protocols]
    assert sizes == ([1, 2, 2, 3] if always else [1, 1, 2])
    np.testing.assert_allclose(found.probability[0], np.repeat(np.array(sizes)[:, None] / 10, N, axis=1))
    assert [news[:2] for news in told] == [(1, 2), (2, 2)]


def cohort(**changes: Any) -> Any:
    rng = np.random.default_rng(0)
    told = {
        "label": LABEL,
        "covariates": {"body_mass": np.linspace(18.0, 57.0, N), "sex": (np.arange(N) % 4 < 2).astype(float)},
        "words": {},
        "truth": {},
        "lesions": lambda rows: None,
        "data": lambda name, rows: rng.normal(size=(len(rows), 1, 16, 12)),
        "done": lambda name: np.ones(N, dtype=bool),
    }
    return SimpleNamespace(**{**told, **changes})


def named(found: tuple[list[dict[str, Any]], np.ndarray]) -> dict[str, np.ndarray]:
    about, members = found
    assert members.shape == (len(about), N)
    return {one["level"]: inside for one, inside in zip(about, members, strict=True)}


def test_covariates_are_cut_at_their_median_or_taken_one_value_at_a_time():
    found = named(groups_of(cohort()))
    assert list(found) == ["body mass below 38", "body mass 38 or more", "sex 0", "sex 1"]
    np.testing.assert_array_equal(found["body mass below 38"], np.linspace(18.0, 57.0, N) < 38)
    np.testing.assert_array_equal(found["sex 0"] ^ found["sex 1"], True)


def test_values_are_called_by_their_words():
    found = named(
        groups_of(cohort(words={"sex": {0.0: "women"}}, covariates={"psa": np.arange(N), "sex": LABEL * 1.0}))
    )
    assert list(found) == ["PSA below 20", "PSA 20 or more", "women", "sex 1"]
    np.testing.assert_array_equal(found["women"], LABEL == 0)


def test_who_has_no_value_is_in_no_group_and_one_value_makes_none():
    values = np.full(N, 3.0)
    assert groups_of(cohort(covariates={"constant": values}))[1].shape == (0, N)
    values = np.where(np.arange(N) < 10, np.nan, np.arange(N))
    found = named(groups_of(cohort(covariates={"age": values})))
    assert not any(inside[:10].any() for inside in found.values())
    assert sum(inside.sum() for inside in found.values()) == N - 10


def truth() -> dict[str, np.ndarray]:
    """Positive patients have one lesion of low and one of high grade."""
    positive = np.flatnonzero(LABEL == 1)
    patient = np.repeat(positive, 2)
    grade = np.tile([1, 3], len(positive))
    zone = np.where(grade == 1, "gland", np.repeat(np.arange(len(positive)) % 2, 2).astype(str))
    zone = np.where(zone == "0", "transition", np.where(zone == "1", "gland", zone))
    return {
        "lesion_patient": patient,
        "lesion_grade": grade,
        "lesion_zone": zone,
        "lesion_diameter_mm": np.where(grade == 3, 5.0 + patient, 50.0),
        "world": np.arange(N) % 3,
        "field_t": np.where(np.arange(N) < 25, 1.5, 3.0),
    }


def test_virtual_patients_are_grouped_by_world_scanner_and_leading_lesion():
    about, members = groups_of(cohort(covariates={}, truth=truth()))
    found = named((about, members))
    assert [one["lesion"] for one in about] == [False] * 5 + [True] * 4
    assert found["1.5 T"].sum() == 25
    assert found["world 1"].sum() == 13
    in_transition = found["lesion in the transition zone"] & (LABEL == 1)
    np.testing.assert_array_equal(np.flatnonzero(in_transition), np.flatnonzero(LABEL == 1)[::2])
    small, large = (name for name in found if name.startswith("lesion diameter"))
    np.testing.assert_array_equal((found[small] & found[large]), LABEL == 0)  # the 50 mm lesions are of low grade
    assert (found[small] | found[large]).all()


def decoded(png: str) -> np.ndarray:
    """Read a grey PNG without filters, checking every checksum."""
    file = base64.b64decode(png)
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(file):
        (size,) = struct.unpack(">I", file[at : at + 4])
        kind, content = file[at + 4 : at + 8], file[at + 8 : at + 8 + size]
        assert struct.unpack(">I", file[at + 8 + size : at + 12 + size]) == (zlib.crc32(kind + content),)
        chunks[kind] = content
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, colour) == (8, 0)
    lines = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), dtype=np.uint8).reshape(height, width + 1)
    assert not lines[:, 0].any()
    return lines[:, 1:]


def imaging() -> tuple[Menu, ScoreTable, str, str]:
    scan = TurboSpinEcho(
        "t2w", train_length=4, echo_time_s=0.025, matrix=(16, 12), snr=60.0, reference_voxel_mm3=150.0, seconds=90.0
    )
    today = Protocol({"t2w": scan.standard.tolist()})
    short = Protocol({"t2w": [0] * 4 + [1] * 8 + [0] * 4})
    none = Protocol({"blood": [1]})
    offered = Menu([scan, panel("blood")], (), reference=today)
    rng = np.random.default_rng(1)
    rows = np.clip(0.5 + 0.2 * (LABEL - 0.5) + 0.1 * rng.normal(size=(3, N)), 0.01, 0.99)
    rows[1, 7] = 0.02  # a positive patient whom the short scan loses
    rows[0, 7] = 0.98
    table = ScoreTable.of_one_round((today.key, short.key, none.key), rows, LABEL)
    return offered, table, short.key, none.key


def test_pictures_show_the_patient_who_is_lost_at_both_protocols():
    offered, table, short, none = imaging()
    mask = np.zeros((1, 1, 8, 6), dtype=np.float32)
    mask[0, 0, 2:4, 3:6] = 1
    images = np.random.default_rng(5).normal(size=(N, 1, 16, 12))
    patients = cohort(lesions=lambda rows: mask, data=lambda name, rows: images[np.asarray(rows)])
    found = pictures_of(patients, offered, table, seed=4)
    assert found == pictures_of(patients, offered, table, seed=4)
    assert {one["key"] for one in found} == {short, none}
    lost = next(one for one in found if (one["key"], one["case"]) == (short, "lost"))
    assert lost["positive"]
    assert (lost["today"], lost["proposed"]) == (pytest.approx(0.98), pytest.approx(0.02))
    assert lost["box"] == [0.5, 0.25, 0.5, 0.25]
    (image,) = lost["images"]
    today, proposed = decoded(image["today"]), decoded(image["proposed"])
    assert today.shape == proposed.shape == (16, 12)
    assert (today.min(), today.max()) == (0, 255)
    assert not np.array_equal(today, proposed)
    alarmed = next(one for one in found if (one["key"], one["case"]) == (short, "alarmed"))
    assert not alarmed["positive"]
    assert alarmed["box"] is None
    nothing = next(one for one in found if one["key"] == none)
    assert nothing["images"][0]["proposed"] is None
    assert nothing["images"][0]["today"] is not None


def test_tests_have_no_pictures():
    assert pictures_of(cohort(), menu(), imaging()[1], seed=0) == []


class Moved:
    """A cohort of patients who are made of two numbers; remembers which were moved."""

    doubts = ("a", "b")

    def __init__(self, moved: dict[str, float] | None = None) -> None:
        self.moved = moved or {}

    def redrawn(self, patients: Any, moved: dict[str, float]) -> Moved:
        assert list(patients) == [3, 8]
        return Moved(moved)

    def score(self, protocols: Any, patients: Any) -> np.ndarray:
        assert list(patients) == [0, 1], "rows of the new cohort"
        return np.full((len(protocols), 2), 0.5 + 0.1 * self.moved.get("a", 0.0) + 0.2 * self.moved.get("b", 0.0))


def test_every_number_is_moved_down_and_up_alone():
    told: list[str] = []
    found = score_moved(
        Moved(),
        [menu().reference],
        np.array([3, 8]),
        lambda cohort: cohort,
        lambda done, total, words: told.append(words),
    )
    np.testing.assert_allclose(found[:, 0, 1], [0.5, 0.4, 0.6, 0.3, 0.7])
    assert [words[-1] for words in told] == ["a", "b"]


def test_as_many_positive_as_negative_patients_are_drawn_from_a_seed():
    label, patients = (np.arange(100) % 10 == 0).astype(int), np.arange(100)
    found = as_many_of_both(label, patients, 12, 0)
    assert (len(found), label[found].sum()) == (12, 6)
    np.testing.assert_array_equal(found, as_many_of_both(label, patients, 12, 0))
    assert set(found) != set(as_many_of_both(label, patients, 12, 1))
    assert label[as_many_of_both(label, patients, 40, 0)].sum() == 10, "all there are"
