"""From a finished run to a folder for the scanner: the command a user types."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import scanwise
from scanwise.design import Protocol
from scanwise.errors import ScanwiseError


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished study of virtual tests."""
    out = tmp_path_factory.mktemp("export")
    quick = ("model.steps=60", "trainer.log=false", "evidence.n_resamples=100", "~policy")
    return scanwise.run(*quick, f"out={out}").directory


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A very small finished study of virtual scans."""
    return scanwise.run(
        "experiment=prostate_small",
        "cohort.n=300",
        "cohort.cache=null",
        "split.fractions={fit:0.4,tune:0.3,test:0.3}",
        "model.steps=2",
        "model.width=8",
        "model.batch_size=16",
        "search.n_trials=4",
        "evidence.n_resamples=100",
        "trainer.log=false",
        "~policy",
        f"out={tmp_path_factory.mktemp('scans')}",
    ).directory


def test_the_proposal_is_exported(scanwise_command, run, tmp_path):
    told = scanwise_command("export", f"from_run={run}", f"out={tmp_path / 'out'}")

    assert told.code == 0, told.err
    content = json.loads((tmp_path / "out" / "protocol.json").read_text("utf-8"))
    opened = scanwise.load_run(run)
    recommended = opened.last_recommendation()
    assert Protocol.from_key(content["key"]) == recommended.protocol
    assert content["recommendation"]["headline"] == recommended.content["decision"]["headline"]
    assert content["recommendation"]["fingerprint"] in (run / "protocol-card.md").read_text("utf-8")
    assert content["cost"] == recommended.candidates[content["key"]]["cost"]
    assert content["warning"] in told.out
    for modality in content["modalities"]:
        mask = np.load(tmp_path / "out" / f"{modality['name']}_mask.npy", allow_pickle=False)
        assert mask.ravel().tolist() == list(recommended.protocol.counts(modality["name"]))
    shown = {card.id for card in opened.report().cards if card.table is not None}
    assert {path.stem for path in (tmp_path / "out" / "tables").iterdir()} == shown
    again = scanwise_command("export", f"from_run={run}", f"out={tmp_path / 'out'}")
    assert (again.code, again.out) == (0, told.out)


def test_another_protocol_needs_another_folder(scanwise_command, run, tmp_path):
    key = scanwise.load_run(run).menu.protocol("blood_panel").key
    first = scanwise_command("export", f"from_run={run}", f"protocol={key}", f"out={tmp_path / 'one'}")
    assert first.code == 0, first.err
    assert json.loads((tmp_path / "one" / "protocol.json").read_text("utf-8"))["key"] == key
    second = scanwise_command("export", f"from_run={run}", "protocol=reference", f"out={tmp_path / 'one'}")
    assert second.code == 2
    assert "another protocol" in second.err
    assert json.loads((tmp_path / "one" / "protocol.json").read_text("utf-8"))["key"] == key


def test_scans_are_played(scanwise_command, scans, tmp_path):
    pypulseq = pytest.importorskip("pypulseq", reason="needs the extra pulseq")
    told = scanwise_command("export", f"from_run={scans}", "protocol=reference", f"out={tmp_path / 'out'}")

    assert told.code == 0, told.err
    content = json.loads((tmp_path / "out" / "protocol.json").read_text("utf-8"))
    played = {one["name"] for one in content["modalities"] if one["sequence"]["file"]}
    assert played == {"t2w", "t2w_planes", "dwi", "dce"}
    sequence = pypulseq.Sequence()
    sequence.read(str(tmp_path / "out" / "t2w.seq"))
    kspace = sequence.calculate_kspace()[0]
    line = np.rint(kspace[1].reshape(-1, 128)[:, 64] * 0.096 + 32).astype(int)
    assert np.bincount(line, minlength=64).tolist() == np.load(tmp_path / "out" / "t2w_mask.npy").tolist()
    (t2w,) = [one for one in content["modalities"] if one["name"] == "t2w"]
    assert t2w["console"]["field_of_view_mm"] == [96.0, 96.0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("out=x",), "needs from_run"),
        (("from_run={run}",), "needs out"),
        (("from_run={run}", "out=x", "format=seq"), "knows no 'format'"),
        (("from_run={run}", "out=x", "protocol=today"), "proposal, reference"),
        (("from_run={run}", "out=x", "protocol=reference", "protocol=proposal"), "twice"),
        (("from_run=nowhere", "out=x"), "no run"),
    ],
)
def test_a_mistake_is_explained(scanwise_command, run, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    told = scanwise_command("export", *(argument.format(run=run) for argument in arguments))

    assert told.code == 2
    assert words in told.err
    assert list(tmp_path.iterdir()) == []


def test_without_arguments_it_says_how(scanwise_command):
    for arguments in ((), ("--help",)):
        told = scanwise_command("export", *arguments)
        assert told.code == 0
        assert "scanwise export from_run=" in told.out


def test_a_notebook_exports_too(run, tmp_path):
    made = scanwise.load_run(run).export(tmp_path / "out", "reference")
    assert made.content["is_reference"]
    assert set(made.files) == {
        path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*") if path.is_file()
    }


def test_a_run_without_a_recommendation_has_nothing_to_export(run, tmp_path):
    unfinished = shutil.copytree(run, tmp_path / "unfinished")
    manifest = json.loads((unfinished / "manifest.json").read_text("utf-8"))
    del manifest["stages"]["recommend"]
    (unfinished / "manifest.json").write_text(json.dumps(manifest), "utf-8")
    with pytest.raises(ScanwiseError, match="needs stage 'recommend'"):
        scanwise.load_run(unfinished).export(tmp_path / "out")
    assert not (tmp_path / "out").exists()
