"""What an export writes: the protocol as it is, whole or not at all, and safe to open."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scanwise.artifacts import hash_json, write_bytes
from scanwise.design import (
    DYNAMIC_LINES,
    LINES,
    PHASE_ENCODES,
    SPOKES,
    Cost,
    Menu,
    Protocol,
    Setup,
    ShotTable,
    sampling_pattern,
)
from scanwise.errors import ScanwiseError
from scanwise.modalities.diffusion import DiffusionWeighted
from scanwise.modalities.dynamic import DynamicContrast
from scanwise.modalities.panel import TestPanel
from scanwise.modalities.turbo_spin_echo import TurboSpinEcho
from scanwise.recommend import export
from scanwise.recommend.export import SCHEMA, in_words, mask_of, shots_csv, table_csv, write_export

HAS_PYPULSEQ = importlib.util.find_spec("pypulseq") is not None
COMMON: dict[str, Any] = {"snr": 50.0, "reference_voxel_mm3": 10.0, "matrix": (12, 10), "setups": ["scanner"]}
LINES_TAKEN = [0, 1, 0, 1, 1, 1, 1, 2, 0, 1, 0, 0]
PROPOSAL = Protocol({"blood": [1, 1], "t2w": LINES_TAKEN, "dwi": [3, 0, 8]})
FOV_MM = (96.0, 80.0)
RISKY = "=HYPERLINK(1)"


@dataclass
class Column:
    id: str
    format: str = "text"


@dataclass
class Row:
    cells: Mapping[str, Any]
    role: str = ""


@dataclass
class Table:
    columns: tuple[Column, ...]
    rows: tuple[Row, ...] = field(default_factory=tuple)


TABLE = Table(
    (Column("reading"), Column("auc", "auc_interval"), Column("fine", "flag"), Column("money", "axis:money")),
    (
        Row({"reading": RISKY, "auc": {"value": 1 / 3, "low": -0.25, "high": np.nan}, "fine": True, "money": 2}, "x"),
        Row({"reading": "plain, with comma", "auc": None, "fine": None, "money": np.float64(0.1)}),
    ),
)


def menu_of() -> Menu:
    return Menu(
        [
            TestPanel("blood", {"crp": {"money": 3.0, "setups": ["needle"]}, "ldh": {"money": 2.0}}, title="bloods"),
            TurboSpinEcho(
                "t2w", title="T2W", seconds=120.0, money_per_minute=5.0, train_length=4, echo_time_s=0.025, **COMMON
            ),
            DiffusionWeighted(
                "dwi", title="DWI", b_values=(0, 500, 1000), averages=(1, 2, 4), seconds=70.0, max_averages=(8,) * 3,
                **COMMON,
            ),
            DynamicContrast(
                "dce", title="DCE", frames=3, **{**COMMON, "setups": ["scanner", "contrast"]},
                wait_setups=["w1", "w2", "w3"],
            ),
        ],
        [
            Setup("needle", Cost(money=4.0), "blood draw"),
            Setup("scanner", Cost(minutes=6.0, money=80.0, visits=1)),
            Setup("contrast", Cost(minutes=5.0, contrast_ml=8.0)),
            *(Setup(f"w{index}", Cost(minutes=0.25), "observation", scanning=True) for index in (1, 2, 3)),
        ],
        currency="€",
        source="assumed",
    )  # fmt: skip


def recommendation(key: str | None = PROPOSAL.key, *, virtual: bool = True) -> dict[str, Any]:
    return {
        "study": {"name": "made_up", "title": "Made up", "question": "Which?", "virtual": virtual},
        "decision": {"key": key, "status": "change", "headline": "Leave out DCE."},
    }


def written(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(content: bytes) -> list[list[str]]:
    return list(csv.reader(content.decode().splitlines()))


@pytest.fixture
def done(tmp_path: Path) -> Path:
    write_export(tmp_path / "out", recommendation(), menu_of(), tables={"front": TABLE}, fov_mm=FOV_MM)
    return tmp_path / "out"


def test_everything_is_there(done):
    expected = {"protocol.json", "tables/front.csv"}
    expected |= {f"{name}_mask.{end}" for name in ("blood", "t2w", "dwi") for end in ("npy", "csv")}
    expected |= {"t2w.seq", "dwi.seq"} if HAS_PYPULSEQ else set()
    assert set(written(done)) == expected
    assert list(done.parent.iterdir()) == [done]  # nothing temporary is left


def test_masks_are_the_counts(done):
    mask = np.load(done / "t2w_mask.npy", allow_pickle=False)
    assert mask.dtype == np.uint8
    assert mask.tolist() == LINES_TAKEN
    assert np.load(done / "dwi_mask.npy").tolist() == [3, 0, 8]
    head, *rows = rows_of((done / "t2w_mask.csv").read_bytes())
    assert head == ["index", "name", "line", "echo", "train_length", "standard", "count"]
    assert [int(row[0]) for row in rows] == np.flatnonzero(LINES_TAKEN).tolist()
    assert [row[1] for row in rows] == [f"k{line - 6:+d}" for line in np.flatnonzero(LINES_TAKEN)]
    assert [int(row[-1]) for row in rows] == [count for count in LINES_TAKEN if count]
    assert rows_of((done / "dwi_mask.csv").read_bytes())[1:] == [
        ["0", "b0", "0.0", "1", "3"],
        ["2", "b1000", "1000.0", "4", "8"],
    ]


def test_what_it_says_and_costs(done):
    menu, told = menu_of(), json.loads((done / "protocol.json").read_text("utf-8"))
    assert Protocol.from_key(told["key"]) == PROPOSAL
    assert told["reading"] == menu.reading(PROPOSAL)
    assert (told["is_proposal"], told["is_reference"]) == (True, False)
    assert told["recommendation"]["fingerprint"] == hash_json(recommendation())[:12]
    assert told["cost"] == menu.price(PROPOSAL).to_dict()
    parts = [*told["setups"], *told["modalities"]]
    for axis, value in told["cost"].items():
        assert sum(part["cost"][axis] for part in parts) == pytest.approx(value)
    assert [(setup["name"], setup["modalities"]) for setup in told["setups"]] == [
        ("needle", ["blood"]),
        ("scanner", ["t2w", "dwi"]),
    ]
    blood, t2w, dwi = told["modalities"]
    assert blood["console"] == {}
    assert t2w["shots"]["counts"] == LINES_TAKEN
    assert t2w["shots"]["names"] == list(menu.modalities["t2w"].shots.names)
    assert t2w["shots"]["what"]["line"] == list(range(12))
    assert t2w["mask"] | {"files": 0} == {
        "axes": ["line"], "size": [12], "shots_taken": 7, "acquisitions": 8, "files": 0,
    }  # fmt: skip
    words = t2w["console_in_words"]
    for line in ("repetition time: 4 s", "echo time: 25 ms", "echo train length: 4", "matrix: 12 x 10",
                 "field of view: 96 x 80 mm", "acceleration: 1.71429", "slice: 3 mm"):  # fmt: skip
        assert line in words
    assert "b values: 0, 1000 s/mm²" in dwi["console_in_words"]
    assert "averages of b values: 3, 8" in dwi["console_in_words"]


def leaves(value: Any, at: str = "") -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{at}.{key}" if at else key)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, f"{at}[]")
    else:
        yield at


def as_pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"<\w+>", path)
    lists = r"(\[\])*" if path.endswith(">") or "<column>" in path else ""
    return re.compile(r"[^.\[\]]+".join(map(re.escape, parts)) + lists)


@pytest.mark.parametrize("which", ["proposal", "reference"])
def test_the_schema_names_every_key(which, tmp_path):
    write_export(tmp_path / "out", recommendation(), menu_of(), which, tables={"front": TABLE}, fov_mm=FOV_MM)
    told = json.loads((tmp_path / "out" / "protocol.json").read_text("utf-8"))
    found = set(leaves(told))
    patterns = {path: as_pattern(path) for path in SCHEMA}

    assert [path for path in found if not any(pattern.fullmatch(path) for pattern in patterns.values())] == []
    unused = [path for path, pattern in patterns.items() if not any(map(pattern.fullmatch, found))]
    assert unused == ([] if HAS_PYPULSEQ else ["modalities[].sequence.notes[]"])


def test_the_schema_knows_its_types(done):
    told = json.loads((done / "protocol.json").read_text("utf-8"))
    kinds = {"text": str, "whole number": int, "number": float, "true or false": bool}
    for path, meaning in SCHEMA.items():
        if "[]" in path or "<" in path:
            continue
        value: Any = told
        for key in path.split("."):
            value = value[key]
        kind = next(kind for words, kind in kinds.items() if meaning.startswith(words))
        assert type(value) is kind, path


def test_virtual_patients_are_called_so(done, tmp_path):
    told = json.loads((done / "protocol.json").read_text("utf-8"))
    assert told["virtual"] is True
    assert "simulated" in told["warning"]
    real = write_export(tmp_path / "real", recommendation(virtual=False), menu_of())
    assert (real.content["virtual"], real.content["warning"]) == (False, "")


def test_the_same_again_is_the_same_bytes(done, tmp_path):
    before = written(done)
    write_export(done, recommendation(), menu_of(), tables={"front": TABLE}, fov_mm=FOV_MM)
    write_export(tmp_path / "twin", recommendation(), menu_of(), tables={"front": TABLE}, fov_mm=FOV_MM)
    assert written(done) == before == written(tmp_path / "twin")


@pytest.mark.parametrize(
    ("asked", "which"), [(recommendation(), "reference"), (recommendation(virtual=False), "proposal")]
)
def test_another_protocol_is_not_written_over(done, asked, which):
    before = written(done)
    with pytest.raises(ScanwiseError, match="another protocol"):
        write_export(done, asked, menu_of(), which)
    assert written(done) == before


@pytest.mark.parametrize("content", ["[]", "{}", '{"key": 1, "recommendation": []}'])
def test_a_foreign_protocol_file_is_not_written_over(tmp_path, content):
    (tmp_path / "protocol.json").write_text(content, "utf-8")
    with pytest.raises(ScanwiseError, match="another protocol"):
        write_export(tmp_path, recommendation(), menu_of())
    assert written(tmp_path) == {"protocol.json": content.encode()}


def test_other_files_are_left_alone(tmp_path):
    (tmp_path / "letter.txt").write_text("dear", "utf-8")
    with pytest.raises(ScanwiseError, match="no export"):
        write_export(tmp_path, recommendation(), menu_of())
    with pytest.raises(ScanwiseError, match="is a file"):
        write_export(tmp_path / "letter.txt", recommendation(), menu_of())
    assert written(tmp_path) == {"letter.txt": b"dear"}


@pytest.mark.parametrize("there", [False, True])
def test_nothing_is_half_written(tmp_path, monkeypatch, there):
    out = tmp_path / "out"
    if there:
        out.mkdir()

    def full_disk(path: Path, content: bytes) -> None:
        if path.name == "dwi_mask.csv":
            raise ScanwiseError("disk full")
        write_bytes(path, content)

    monkeypatch.setattr(export, "write_bytes", full_disk)
    with pytest.raises(ScanwiseError, match="disk full"):
        write_export(out, recommendation(), menu_of())
    assert written(tmp_path) == {}
    assert list(tmp_path.iterdir()) == ([out] if there else [])


def test_without_pypulseq_all_else_is_written(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pypulseq", None)
    made = write_export(tmp_path / "out", recommendation(), menu_of(), fov_mm=FOV_MM)

    assert "t2w_mask.npy" in made.files
    assert not any(name.endswith(".seq") for name in written(tmp_path / "out"))
    assert "scanwise[pulseq]" in made.left_out["T2W"]
    assert "scanwise[pulseq]" in repr(made)


@pytest.mark.skipif(not HAS_PYPULSEQ, reason="needs the extra pulseq")
def test_a_sequence_that_is_no_longer_written_goes(done, monkeypatch):
    assert (done / "t2w.seq").exists()
    monkeypatch.setitem(sys.modules, "pypulseq", None)
    write_export(done, recommendation(), menu_of(), tables={"front": TABLE}, fov_mm=FOV_MM)
    assert not list(done.glob("*.seq"))


@pytest.mark.skipif(not HAS_PYPULSEQ, reason="needs the extra pulseq")
def test_played_and_priced_minutes_stand_side_by_side(tmp_path):
    made = write_export(tmp_path / "out", recommendation(), menu_of(), "reference", fov_mm=FOV_MM)
    told = {one["name"]: one["sequence"] for one in made.content["modalities"]}

    assert told["blood"]["reason"] == "it has no pulse sequence"
    assert told["t2w"]["priced_minutes"] == pytest.approx(2.0)
    assert told["t2w"]["minutes"] == pytest.approx((3 + 1) * 4 / 60)
    assert told["t2w"]["acquisitions"] == 12
    assert any("are priced" in note for note in told["t2w"]["notes"])
    # three frames of 15 s are priced as set-ups that are scanning, and played as such
    assert told["dce"]["priced_minutes"] == told["dce"]["minutes"] == pytest.approx(0.75)
    assert not any("are priced" in note for note in told["dce"]["notes"])


def test_without_a_field_of_view_there_is_no_sequence(tmp_path):
    made = write_export(tmp_path / "out", recommendation(), menu_of())
    assert set(made.left_out) == {"T2W", "DWI"}
    assert all("field of view" in reason for reason in made.left_out.values())
    assert "field_of_view_mm" not in made.content["modalities"][1]["console"]


@pytest.mark.parametrize(
    ("key", "which", "words"),
    [
        (None, "proposal", "no proposal"),
        (PROPOSAL.key, "today", "proposal, reference"),
        (PROPOSAL.key, "pet=1", "pet"),
        (PROPOSAL.key, "dwi=1x9", "9"),
        (PROPOSAL.key, "dwi=99,0,0", "at most 8"),
        (PROPOSAL.key, "nothing", "acquires nothing"),
    ],
)
def test_what_cannot_be_exported(tmp_path, key, which, words):
    with pytest.raises(ScanwiseError, match=words):
        write_export(tmp_path / "out", recommendation(key), menu_of(), which)
    assert not (tmp_path / "out").exists()


def test_any_protocol_of_the_menu_can_be_exported(tmp_path):
    made = write_export(tmp_path / "out", recommendation(None), menu_of(), "dwi=1x3")
    assert made.content["key"] == "dwi=1x3"
    assert (made.content["is_proposal"], made.content["is_reference"]) == (False, False)


def test_tables_are_unrounded_and_intervals_are_three_columns(done):
    head, first, second = rows_of((done / "tables" / "front.csv").read_bytes())
    assert head == ["role", "reading", "auc", "auc_low", "auc_high", "fine", "money"]
    assert first == ["x", f"'{RISKY}", repr(1 / 3), "-0.25", "", "true", "2"]
    assert second == ["", "plain, with comma", "", "", "", "", "0.1"]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "\uff1d1", "\n=1"])
def test_text_is_no_formula(text):
    table = Table((Column("name"),), (Row({"name": text}, role=text),))
    cells = next(csv.reader(io.StringIO(table_csv(table).decode().partition("\n")[2], newline="")))
    assert all(cell.startswith("'") for cell in cells)
    shots = ShotTable.build([text], what={"feature": np.array([text])})
    cells = next(csv.reader(io.StringIO(shots_csv(shots, np.array([1])).decode().partition("\n")[2], newline="")))
    assert cells[1].startswith("'")
    assert cells[2].startswith("'")


def test_a_table_cannot_leave_the_folder(tmp_path):
    with pytest.raises(ScanwiseError, match="named in letters"):
        write_export(tmp_path / "out", recommendation(), menu_of(), tables={"../../front": TABLE})
    assert written(tmp_path) == {}


@pytest.mark.parametrize(
    ("kind", "size", "axes", "scheme"),
    [
        (PHASE_ENCODES, (6, 5), ("ky", "kz"), "poisson_disc_2d"),
        (DYNAMIC_LINES, (3, 8), ("frame", "line"), "kt_random"),
        (SPOKES, (9,), ("angle",), None),
        (LINES, (7,), ("line",), "equispaced"),
    ],
)
def test_masks_have_their_natural_layout(kind, size, axes, scheme):
    shots = kind.plain_table(size)
    if axes == ("line",):
        shots = ShotTable.build(shots.names, what={"line": np.arange(len(shots))})
    counts = np.random.default_rng(0).integers(0, 2, len(shots))
    found, mask = mask_of(shots, counts)

    assert found == axes
    assert mask.shape == size
    assert (mask.ravel() == counts).all()
    if scheme is not None:  # as `scanwise pattern` lays it out
        pattern = sampling_pattern(scheme, size, acceleration=2)
        assert (mask_of(pattern.shots, pattern.counts)[1] == pattern.mask).all()


def test_shots_in_any_order_are_put_where_they_are():
    shots = ShotTable.build(["a", "b", "c"], what={"ky": np.array([2, 0, 1]), "kz": np.array([0, 1, 1])})
    axes, mask = mask_of(shots, np.array([300, 1, 0]))
    assert axes == ("ky", "kz")
    assert mask.dtype == np.uint16
    assert mask.tolist() == [[0, 1], [0, 0], [300, 0]]


def test_columns_of_several_numbers_are_spread():
    shots = ShotTable.build(["a", "b"], what={"direction": np.array([[1.0, 0.0], [0.0, 1.0]])})
    assert rows_of(shots_csv(shots, np.array([0, 2]))) == [
        ["index", "name", "direction_0", "direction_1", "count"],
        ["1", "b", "0.0", "1.0", "2"],
    ]


def test_settings_are_said_in_words():
    assert in_words({"flip_angle_deg": 15.0, "echo_time_s": 0.0025, "frames_end_s": [15.0, 30.0], "kind": "a"}) == [
        "flip angle: 15°",
        "echo time: 2.5 ms",
        "frames end: 15, 30 s",
        "kind: a",
    ]
    assert in_words({"b_values_s_per_mm2": [], "dose_mmol_per_kg": 0.1}) == [
        "b values: none s/mm²",
        "dose: 0.1 mmol/kg",
    ]
