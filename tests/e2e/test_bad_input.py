"""Whatever a user gets wrong: a clear message, exit code 2, and nothing half-written."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import yaml

QUICK = ("model.steps=3", "trainer.log=false")

README = Path(__file__).resolve().parents[2] / "README.md"
STUDY = README.read_text("utf-8").partition("```yaml\n")[2].partition("```")[0]
"""The example of the README: what it says is what is tested."""


def rows(n: int = 90) -> list[list[str]]:
    rng = np.random.default_rng(7)
    table = [["id", "centre", "sick", "crp", "ldh", "size", "signal"]]
    for patient in range(n):
        sick = patient % 2
        values = [*rng.normal(sick, 1.0, size=2), *rng.normal(1.5 * sick, 1.0, size=2)]
        table.append(
            [f"Secret-{patient:03d}", "north" if patient % 3 else "south", str(sick), *(f"{v:.3f}" for v in values)]
        )
    return table


@pytest.fixture
def study(tmp_path):
    """A study of one's own in a folder of one's own: one YAML, one table; returns a function that writes it."""

    def write(change=None, table=None) -> list[str]:
        config = yaml.safe_load(STUDY)
        config["cohort"]["root"] = str(tmp_path / "data")
        config["out"] = str(tmp_path / "runs")
        if change:
            change(config)
        experiment = tmp_path / "conf" / "experiment" / "mine.yaml"
        experiment.parent.mkdir(parents=True, exist_ok=True)
        experiment.write_text("# @package _global_\n" + yaml.safe_dump(config, sort_keys=False), "utf-8")
        lines = rows() if table is None else table
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / "patients.csv").write_text("\n".join(",".join(row) for row in lines) + "\n", "utf-8")
        return [f"--config-dir={tmp_path / 'conf'}", "experiment=mine", "split.folds=3", "split.inner=2", *QUICK]

    return write


def refused(answer, *words: str) -> None:
    """The command was refused politely: exit code 2, one short message with these words, no traceback."""
    assert answer.code == 2, answer.err
    assert "Traceback" not in answer.err
    assert "\nscanwise: " in f"\n{answer.err}"
    assert "->" in answer.err, "every message names a cure"
    for word in words:
        assert word in answer.err


def nothing_written(folder: Path) -> None:
    assert not (folder / "runs").exists()


def test_a_study_of_ones_own_needs_one_yaml_and_no_code(study, scanwise_command, tmp_path):
    answer = scanwise_command(*study())

    assert answer.code == 0, answer.err
    (run,) = (tmp_path / "runs" / "chest").iterdir()
    assert (run / "dashboard.html").stat().st_size > 1_000_000
    assert "AUC" in (run / "protocol-card.md").read_text("utf-8")


def test_no_patient_identifier_in_any_file_or_message(study, scanwise_command, tmp_path):
    answer = scanwise_command(*study())

    assert "Secret" not in answer.out + answer.err
    files = [path for path in (tmp_path / "runs").rglob("*") if path.is_file()]
    assert files
    assert not [path.name for path in files if b"Secret-" in path.read_bytes()]


def _set(path: str, value):
    def change(config):
        node = config
        *parents, last = path.split("/")
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node[part]
        node[last] = value

    return change


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("cohort/root", "no-such-folder", ("no-such-folder", "SCANWISE_DATA")),
        ("cohort/files", [{"path": "patient.csv"}], ("patient.csv",)),
        ("cohort/modalities/bloods/crp", "crq", ("crq", "did you mean", "crp")),
        ("cohort/label/column", "sik", ("sik", "sick")),
        ("cohort/sites", ["nord"], ("nord", "north")),
        ("menu/modalities/scan/shots/scan/money", -120.0, ("money=-120", "scan")),
        ("menu/modalities/scan/shots/scan/money", None, ("money=None", "scan")),
        ("menu/modalities/scan/shots/scan/mony", 3.0, ("mony", "money")),
        ("menu/modalities/scan/shots/scan/setups", ["neddle"], ("neddle", "needle")),
        ("menu/setups/needle/money", -1.0, ("money=-1",)),
        ("menu/always", ["scann"], ("scann", "scan")),
        ("menu/reference", ["blod"], ("blod", "bloods")),
        ("mandatory", ["sacn"], ("sacn", "scan")),
        ("menu/modalities/scan/_target_", "os.system", ("os.system", "scanwise")),
        ("menu/modalities/scan/titel", "x", ("titel",)),
        ("primary", "msv", ("msv",)),
        ("primary", "mony", ("mony", "money")),
        ("evidence", {"margin": -0.1}, ("margin", "-0.1")),
        ("evidence", {"margn": 0.1}, ("margn", "margin")),
        ("budget", {"money": -5.0}, ("money", "-5")),
        ("budget", {"mony": 5.0}, ("mony", "money")),
        ("limits", {"money": "abc"}, ("abc", "money")),
        ("limits", {"minutes": -1.0}, ("minutes", "-1")),
    ],
)
def test_a_wrong_configuration(study, scanwise_command, tmp_path, path, value, words):
    refused(scanwise_command(*study(_set(path, value))), *words)
    nothing_written(tmp_path)


def _cell(row: int, column: int, text: str):
    table = rows()
    table[row][column] = text
    return table


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (_cell(5, 3, "high"), ("crp", "'high'", "line 6")),
        (_cell(5, 3, "nan"), ("crp", "nan", "line 6")),
        (_cell(5, 3, "inf"), ("crp", "inf", "line 6")),
        (_cell(7, 0, "Secret-000"), ("line 8",)),
        (_cell(7, 2, "?"), ("sick", "line 8")),
        ([row if index == 0 else [*row[:2], "0", *row[3:]] for index, row in enumerate(rows())], ("class",)),
        (
            [row if index == 0 or index < 3 else [*row[:2], "0", *row[3:]] for index, row in enumerate(rows())],
            ("fold",),
        ),
        (rows()[:1], ("patients.csv",)),
    ],
)
def test_wrong_data(study, scanwise_command, tmp_path, table, words):
    answer = scanwise_command(*study(table=table))

    refused(answer, *words)
    assert "Secret" not in answer.err
    nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("experiment=hart", ("hart", "heart")),
        ("budget.mony=3", ("budget.mony", "budget.money")),
        ("budget.money=much", ("much", "budget.money")),
        ("modle=refit", ("modle", "model")),
        ("model=refitt", ("refitt", "refit")),
        ("stage=serch", ("serch", "search")),
        ("split=site", ("split.learn", "split.judge")),
        ("cohort.n=-3", ("n",)),
        ("from_run=nowhere", ("nowhere", "run folder")),
        ("budget.money", ("budget.money", "key=value")),
        ("seed=abc", ("abc", "seed")),
        ("short_list=1", ("short_list",)),
        ("model.stepps=4", ("model.stepps", "model.steps")),
        ("model.steps=0", ("model.steps",)),
    ],
)
def test_a_typing_error(scanwise_command, tmp_path, typed, words):
    refused(scanwise_command(typed, f"out={tmp_path / 'runs'}"), *words)
    nothing_written(tmp_path)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("mandatory=[scan]", "limits.money=50"), ("limits.money=50", "'scan'", "takes 120")),
        (("search=tpe", "mandatory=[scan,bloods]", "limits.money=125"), ("limits.money=125", "bloods + scan", "129")),
        (("search=gp",), ("gp", "merely on or off", "search.sampler=tpe")),
        (("search=tpe", "search.storage=postgresql://nobody@127.0.0.1:1/x"), ("does not answer", "127.0.0.1")),
        (("search=tpe", "search.storage=sqlite:///x.db"), ("search.storage", "sqlite", "postgresql://")),
        (("search=tpe", "search.warm_start=nowhere"), ("search.warm_start", "nowhere", "searched")),
        (("search=tpe", "search.batch_size=0"), ("batch_size", "0")),
        (
            ("search=lattice", "search.max_protocols=2", "search.max_product=2"),
            ("limited to 2 protocols", "search.max_protocols"),
        ),
        (("launcher.workers=0",), ("launcher.workers", "0")),
        (("launcher=slurn",), ("slurn", "slurm")),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_training(study, scanwise_command, tmp_path, typed, words):
    if any("postgresql" in text for text in typed):
        pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'scanwise[cluster]'")
    if "search=gp" in typed:  # two values of blood, one or both
        panel = _set("menu/modalities/bloods/schemes", ["subset"])
        refused(scanwise_command(*study(panel), *typed), *words)
    else:
        refused(scanwise_command(*study(), *typed), *words)
    nothing_written(tmp_path)


def test_broken_yaml_names_file_and_line(study, scanwise_command, tmp_path):
    typed = study()
    broken = tmp_path / "conf" / "experiment" / "mine.yaml"
    broken.write_text(broken.read_text("utf-8") + "\nmenu: {a: [1\n", "utf-8")

    refused(scanwise_command(*typed), "mine.yaml", "line")
    nothing_written(tmp_path)


def test_a_stage_whose_predecessor_is_missing(study, scanwise_command):
    refused(scanwise_command(*study(), "stage=confirm"), "confirm", "fit", "stage=fit")


def only_run(tmp_path: Path) -> Path:
    (run,) = (tmp_path / "runs" / "chest").iterdir()
    return run


def test_changed_data_are_noticed_on_resuming(study, scanwise_command, tmp_path):
    assert scanwise_command(*study(), "stage=fit").code == 0
    before = sorted((path.name, path.stat().st_mtime_ns) for path in only_run(tmp_path).rglob("*"))

    refused(scanwise_command(*study(table=_cell(9, 4, "0.123"))), "data of this run have changed")
    assert sorted((path.name, path.stat().st_mtime_ns) for path in only_run(tmp_path).rglob("*")) == before


def test_other_settings_are_refused_with_from_run(study, scanwise_command, tmp_path):
    typed = study()
    assert scanwise_command(*typed, "stage=fit").code == 0
    run = only_run(tmp_path)

    refused(scanwise_command(f"from_run={run}", "stage=search", "seed=4"), "seed was 0, is 4")
    refused(scanwise_command(f"from_run={run}", "stage=search", "model=refit"), "other settings", "model")


def test_an_edited_configuration_is_refused(study, scanwise_command, tmp_path):
    assert scanwise_command(*study(), "stage=fit").code == 0
    stored = only_run(tmp_path) / "config.yaml"
    stored.write_text(stored.read_text("utf-8").replace("seed: 0", "seed: 1", 1), "utf-8")

    refused(scanwise_command(f"from_run={only_run(tmp_path)}", "stage=search"), "other settings")


def test_a_truncated_journal_is_repaired(study, scanwise_command, tmp_path):
    typed = [*study(), "search=tpe", "search.n_trials=12"]
    assert scanwise_command(*typed, "stage=fit").code == 0
    assert scanwise_command(*typed, "stage=search").code == 0
    run = only_run(tmp_path)
    results = {path.name: path.read_bytes() for path in (run / "search").glob("*.json")}
    for journal in (run / "search").rglob("journal.log"):
        journal.write_bytes(journal.read_bytes()[:-25])
    for result in (run / "search").glob("*.json"):
        result.unlink()
    manifest = run / "manifest.json"
    content = json.loads(manifest.read_text("utf-8"))
    del content["stages"]["search"]
    manifest.write_text(json.dumps(content), "utf-8")

    assert scanwise_command(*typed, "stage=search").code == 0
    assert {path.name: path.read_bytes() for path in (run / "search").glob("*.json")} == results


@pytest.mark.parametrize("writes_before", [0, 1, 4])
def test_a_full_disk_loses_nothing(study, scanwise_command, tmp_path, monkeypatch, writes_before):
    typed = study()
    really, seen = os.fsync, []

    def full(handle: int) -> None:
        seen.append(handle)
        if len(seen) > writes_before:
            raise OSError(errno.ENOSPC, "No space left on device")
        really(handle)

    monkeypatch.setattr("scanwise.artifacts.os.fsync", full)
    refused(scanwise_command(*typed), "No space left", "free space")
    assert not [path for path in (tmp_path / "runs").rglob("*") if path.name.startswith(".")], (
        "no temporary file is left"
    )

    monkeypatch.setattr("scanwise.artifacts.os.fsync", really)
    assert scanwise_command(*typed).code == 0
    assert (only_run(tmp_path) / "dashboard.html").exists()


def test_a_damaged_checkpoint_is_named(study, scanwise_command, tmp_path):
    typed = study()
    assert scanwise_command(*typed, "stage=fit").code == 0
    checkpoint = only_run(tmp_path) / "fit" / "r0f1" / "network.ckpt"
    checkpoint.write_bytes(checkpoint.read_bytes()[:500])

    refused(scanwise_command(*typed, "stage=search"), "r0f1", "damaged")
