"""What to acquire next in one patient: the command a user types, without the cohort."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import scanwise
from scanwise.errors import ScanwiseError
from scanwise.policy import PatientSoFar
from scanwise.visit import answer

PATIENT: dict[str, dict[str, float]] = {"history": {"age": 61, "chest_pain": 2}}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small finished study of virtual tests."""
    out = tmp_path_factory.mktemp("next")
    return scanwise.run("model.steps=60", "trainer.log=false", "evidence.n_resamples=100", f"out={out}").directory


@pytest.fixture
def patient(tmp_path: Path) -> Any:
    """Write a patient file; returns its path."""

    def write(**more: Any) -> Path:
        path = tmp_path / "patient.json"
        path.write_text(json.dumps({**PATIENT, **more}), "utf-8")
        return path

    return write


def test_what_next_is_said_in_words(scanwise_command, run, patient):
    told = scanwise_command("next", f"from_run={run}", f"patient={patient()}")

    assert told.code == 0, told.err
    assert "Done so far: history" in told.out
    assert "Probability of" in told.out
    assert "Next: " in told.out or "It is enough" in told.out
    assert "probability then" in told.out


def test_the_cohort_is_not_needed_and_json_says_the_same(scanwise_command, run, patient, tmp_path, monkeypatch):
    alone = shutil.copytree(run, tmp_path / "alone")
    monkeypatch.setattr(scanwise.pipeline.Run, "_load_cohort", lambda self: pytest.fail("the cohort was read"))
    told = scanwise_command("next", f"from_run={alone}", f"patient={patient()}", "json=true")

    content = json.loads(told.out)
    worth = [step["worth"] for step in content["steps"]]
    assert worth == sorted(worth, reverse=True)
    assert content["stop"] == (worth[0] <= 0)
    for step in content["steps"]:
        assert 0 <= step["low"] <= step["high"] <= 1
        assert step["cost"]["money"] > 0
    again = scanwise_command("next", f"from_run={alone}", f"patient={patient()}", "json=true")
    assert again.out == told.out


def test_the_probability_is_that_of_the_networks(run, patient):
    opened = scanwise.load_run(run)
    fold, cohort = opened.folds[0], opened.cohort
    row = fold.test[:1]
    content = {
        name: {
            column.name: float(cohort.data(name, row)[0, column.shot, column.slot]) for column in cohort.columns(name)
        }
        for name in ("history", "blood_panel")
    }
    advisor = opened.advisor()
    advice = advisor.advise(advisor.patient(content))
    expected = opened.scorer().score([opened.menu.protocol("blood_panel")], row)[0, 0]
    assert advice.probability == pytest.approx(expected, abs=1e-6)


def test_a_row_of_a_table_will_do(scanwise_command, run, tmp_path):
    path = tmp_path / "patient.csv"
    path.write_text("age,history.chest_pain,cholesterol\n61,2,\n", "utf-8")
    told = scanwise_command("next", f"from_run={run}", f"patient={path}")
    assert told.code == 0, told.err
    assert "Done so far: history (" in told.out


def test_a_budget_is_kept(run, patient):
    told = json.loads(answer({"from_run": str(run), "patient": str(patient()), "budget.money": 45.0, "json": True}))
    menu = scanwise.load_run(run).menu
    already = menu.price(menu.always).money
    assert told["steps"]
    assert all(step["cost"]["money"] + already <= 45 for step in told["steps"])


def test_what_lies_outside_is_said(run, patient):
    told = answer({"from_run": str(run), "patient": str(patient(history={"age": 130, "chest_pain": 2}))})
    assert "history.age = 130" in told
    assert "extrapolates" in told


def test_a_patient_of_whom_everything_is_known(run):
    opened = scanwise.load_run(run)
    advisor = opened.advisor()
    row = opened.folds[0].test[:1]
    content = {
        name: {c.name: float(opened.cohort.data(name, row)[0, c.shot, c.slot]) for c in opened.cohort.columns(name)}
        for name in opened.menu.modalities
    }
    advice = advisor.advise(advisor.patient(content))
    assert advice.next is None
    assert advice.steps == ()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"history": {"age": 61}}, ("always done", "chest_pain")),
        ({**PATIENT, "blod_panel": {}}, ("blod_panel", "blood_panel")),
        ({**PATIENT, "blood_panel": {"troponine": 1.0}}, ("troponine", "troponin")),
        ({**PATIENT, "history": {"age": "old", "chest_pain": 2}}, ("number", "old")),
        ({**PATIENT, "history": {"age": 61000, "chest_pain": 2}}, ("61000", "unit")),
        ({**PATIENT, "history": {"age": 61, "chest_pain": 17}}, ("chest_pain", "17")),
        ({**PATIENT, "blood_panel": 3}, ("table", "blood_panel")),
        ([1, 2], ("object",)),
    ],
)
def test_what_cannot_be_is_refused(scanwise_command, run, tmp_path, content, words):
    path = tmp_path / "patient.json"
    path.write_text(json.dumps(content), "utf-8")
    told = scanwise_command("next", f"from_run={run}", f"patient={path}")
    assert told.code == 2
    assert "Traceback" not in told.err
    for word in words:
        assert word in told.err


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        (("patint=x.json",), ("patint", "patient")),
        (("patient=nobody.json",), ("nobody.json",)),
        (("weight=-1", "patient=PATIENT"), ("weight",)),
        (("budget.money=1", "patient=PATIENT"), ("more than the budget",)),
        (("--loud",), ("--loud",)),
    ],
)
def test_what_is_typed_wrong_is_refused(scanwise_command, run, patient, typed, words):
    typed = tuple(one.replace("PATIENT", str(patient())) for one in typed)
    told = scanwise_command("next", f"from_run={run}", *typed)
    assert told.code == 2
    for word in words:
        assert word in told.err


def test_no_patient_lists_what_may_be_known(scanwise_command, run):
    told = scanwise_command("next", f"from_run={run}")
    assert told.code == 0
    assert "history (always)" in told.out
    assert "troponin" in told.out
    assert "scanwise next from_run=" in scanwise_command("next", "--help").out


def test_a_visit_is_walked_to_its_end(run, capsys):
    opened = scanwise.load_run(run)
    row = opened.folds[0].test[:1]
    known = {
        f"{name}.{c.name}": float(opened.cohort.data(name, row)[0, c.shot, c.slot])
        for name in opened.menu.modalities
        for c in opened.cohort.columns(name)
    }
    asked: list[str] = []

    def ask(text: str) -> str:
        asked.append(text)
        if text.startswith("What was done?"):
            return "9" if len([one for one in asked if one.startswith("What")]) == 1 else "1"
        return str(known[text.strip().partition(" ")[0]])

    told = answer({"from_run": str(run)}, interactive=True, ask=ask)
    assert "Everything on the menu was done" in told
    assert sum(one.startswith("What was done?") for one in asked) == 6  # five tests and one slip
    assert "none of" in capsys.readouterr().out


def test_a_study_without_a_policy_says_why(scanwise_command, tmp_path):
    out = tmp_path / "runs"
    made = scanwise.run("model.steps=3", "~policy", "trainer.log=false", "evidence.n_resamples=100", f"out={out}")
    told = scanwise_command("next", f"from_run={made.directory}")
    assert told.code == 2
    assert "none was asked for" in told.err


def test_a_scan_is_read_as_it_was_measured(tmp_path):
    run = scanwise.run(
        "experiment=prostate_small",
        "cohort.n=300",
        "cohort.cache=null",
        "split.fractions={fit:0.4,tune:0.3,test:0.3}",
        "model.steps=2",
        "model.width=8",
        "model.batch_size=16",
        "search.n_trials=4",
        "policy.rungs=2",
        "policy.n_weights=3",
        "evidence.n_resamples=100",
        "trainer.log=false",
        f"out={tmp_path}",
    )
    menu, cohort, row = run.menu, run.cohort, run.folds[0].test[:1]
    advisor = run.advisor()
    clinical = {c.name: float(cohort.data("clinical", row)[0, c.shot, c.slot]) for c in cohort.columns("clinical")}
    modality = menu.modalities["dwi"]
    measured = modality.measure(cohort.data("dwi", row), modality.standard, np.random.default_rng(0))
    np.save(tmp_path / "dwi.npy", measured.data[0])
    advice = advisor.advise(advisor.patient({"clinical": clinical, "dwi": {"file": "dwi.npy"}}, tmp_path))
    assert advice.done == menu.protocol("dwi")
    assert 0 < advice.probability < 1
    assert {step.protocol.counts("dwi") for step in advice.steps} == {tuple(modality.standard.tolist())}
    np.save(tmp_path / "small.npy", measured.data[0][..., :3])
    for told, words in (
        ({"file": "small.npy"}, "shape"),
        ({"file": "none.npy"}, "cannot be read"),
        ({"fil": "dwi.npy"}, "file"),
        ({"file": "dwi.npy", "count": [1]}, "count"),
    ):
        with pytest.raises(ScanwiseError, match=words):
            PatientSoFar(menu, advisor.panels, {"clinical": clinical, "dwi": told}, tmp_path)


def test_a_run_asked_again_keeps_how_it_weighs(scanwise_command, tmp_path):
    quick = ("model.steps=3", "trainer.log=false", "evidence.n_resamples=100", "~policy")
    first = scanwise.run(*quick, "primary=minutes", "evidence.margin=0.05", f"out={tmp_path}")
    before = first.last_recommendation().content["rule"]
    assert scanwise_command("stage=recommend", f"from_run={first.directory}").code == 0
    assert first.last_recommendation().content["rule"] == before
    assert scanwise_command("stage=recommend", f"from_run={first.directory}", "evidence.margin=0.02").code == 0
    now = first.last_recommendation().content["rule"]
    assert (now["primary"], now["margin"]) == ("minutes", 0.02)
    assert scanwise_command("stage=recommend", f"from_run={first.directory}", "primary=money").code == 0
    assert first.last_recommendation().content["rule"]["primary"] == "money"
