"""Whole runs on a small virtual cohort: answered twice, killed and gone on with, asked anew, and what they leave."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
import yaml

import scanwise
from scanwise.artifacts import hash_json, read_json
from scanwise.composing import compose_config
from scanwise.config import STAGES

ROOT = Path(__file__).resolve().parents[2]
COHORT = ("cohort.n=180", "trainer.log=false", "evidence.n_resamples=200")
QUICK = (*COHORT, "model.steps=10")
SMALL = (*QUICK, "split=crossfit", "split.folds=3", "split.inner=3")
HEAVY = ("torch", "lightning", "optuna")
ONCE = {"OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """A folder of one's own with one finished run in it, started from there with a relative `out`."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        scanwise.run(*SMALL, "out=runs")
    return folder


@pytest.fixture
def copy(home, tmp_path, monkeypatch) -> Path:
    """A copy of that folder that may be changed, and the current folder."""
    shutil.copytree(home, tmp_path / "home")
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs" / "demo").iterdir()
    return run


def without_timings(recommendation: dict) -> dict:
    """All but when it was and how long it took."""
    provenance = {key: value for key, value in recommendation["provenance"].items() if key != "started"}
    provenance["stages"] = [stage["stage"] for stage in provenance["stages"]]
    return {**recommendation, "provenance": provenance}


def without_provenance(run: Path) -> dict:
    """What is recommended, whatever was typed to get there."""
    return {key: value for key, value in read_json(run / "recommendation.json").items() if key != "provenance"}


def times(run: Path, *parts: str) -> dict[str, int]:
    """When the files of some parts of a run were last written."""
    return {
        path.relative_to(run).as_posix(): path.stat().st_mtime_ns
        for part in parts
        for path in sorted((run / part).rglob("*"))
        if path.is_file()
    }


def run_python(script: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=cwd,
        env={**os.environ, **ONCE},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


# ---- the same again --------------------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_answer_in_a_fresh_folder(home, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    again = scanwise.run(*SMALL, "out=runs")

    first = read_json(only_run(home) / "recommendation.json")
    second = read_json(again.directory / "recommendation.json")
    assert without_timings(first) == without_timings(second)
    for table in ("tune", "test"):
        one, two = (np.load(run / "scores" / f"{table}.npz") for run in (only_run(home), again.directory))
        assert one.files == two.files
        assert all(np.array_equal(one[name], two[name], equal_nan=one[name].dtype.kind == "f") for name in one.files)


def test_another_seed_gives_another_answer_in_another_folder(home, tmp_path):
    other = scanwise.run(*SMALL, "seed=1", f"out={tmp_path}")

    first, second = (read_json(run / "recommendation.json") for run in (only_run(home), other.directory))
    assert other.directory.name != only_run(home).name
    assert [row["tune_auc"] for row in first["considered"]] != [row["tune_auc"] for row in second["considered"]]


@pytest.mark.parametrize("name", ["log_loss", "net_benefit"])
def test_a_search_may_maximise_something_else_than_the_auc(name, home, tmp_path):
    found = scanwise.run(*SMALL, f"objective.name={name}", "objective.threshold=0.3", f"out={tmp_path}")

    searched = read_json(next((found.directory / "search").glob("*.json")))["values"]
    usual = read_json(next((only_run(home) / "search").glob("*.json")))["values"]
    considered = read_json(found.directory / "recommendation.json")["considered"]
    assert found.directory.name != only_run(home).name
    assert max(searched) < min(usual)  # minus a loss, or a benefit below the prevalence
    assert all(0.3 < row["tune_auc"] < 1 for row in considered)


# ---- from a notebook -------------------------------------------------------------------------------------------------


def test_a_notebook_needs_five_lines(home, copy):
    run = scanwise.load_run(only_run(copy))
    recommendation = run.recommend(money=100)
    figure = run.figure("front")
    cheapest = min(recommendation.candidates.values(), key=lambda candidate: candidate["cost"]["money"])
    again = scanwise.run(*SMALL, "budget.money=100", "out=runs")

    assert isinstance(figure, go.Figure)
    assert figure.data
    assert cheapest["cost"]["money"] == 5.0
    assert again.directory.name == run.directory.name
    assert again.last_recommendation().protocol == recommendation.protocol


def test_a_budget_may_be_given_in_several_ways(home):
    run = scanwise.load_run(only_run(home))

    by_name = run.recommend(money=100, minutes=60).to_dict()
    assert run.recommend({"money": 100, "minutes": 60}).to_dict() == by_name
    assert run.recommend({"money": 100}, minutes=60).to_dict() == by_name
    assert run.recommend().content["budget"]["limits"] == {}
    for candidate in ((run.recommend(money=100, minutes=60).candidates)[by_name["decision"]["key"]],):
        assert candidate["cost"]["money"] <= 100
        assert candidate["cost"]["minutes"] <= 60
    with pytest.raises(scanwise.ScanwiseError, match="'mony'"):
        run.recommend(mony=100)


def test_what_is_printed_is_readable(home):
    run = scanwise.load_run(only_run(home))

    done = "fit, search, confirm, explain, policy, recommend, report"
    assert repr(run) == f"Run('{only_run(home).as_posix()}'; done: {done})"
    text = repr(run.last_recommendation())
    assert text.startswith("Recommendation (no limit): ")
    assert "AUC ." in text
    assert "180 patients" in text
    for thing in (run, run.last_recommendation(), run.report(), run.cohort, run.menu, run.rule, *run.folds):
        assert " object at 0x" not in repr(thing)
        assert max(len(line) for line in repr(thing).splitlines()) < 400


def test_a_card_that_is_not_there_gets_a_suggestion(home):
    run = scanwise.load_run(only_run(home))

    with pytest.raises(scanwise.ScanwiseError, match="no card 'frnt'"):
        run.figure("frnt")


# ---- interrupted -----------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_where_it_was_and_answers_the_same(home, tmp_path):
    runs, all_folds = tmp_path / "runs" / "demo", ("r0f0", "r0f1", "r0f2")
    process = subprocess.Popen(
        [sys.executable, "-m", "scanwise.cli", *SMALL, "out=runs"],
        cwd=tmp_path,
        env={**os.environ, **ONCE},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 90
    while not list(runs.glob("*/fit/r0f0/done.json")) and time.monotonic() < deadline:
        assert process.poll() is None, "ended before the first fold was fitted"
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait(timeout=30) == -signal.SIGKILL
    run = only_run(tmp_path)
    finished = [fold for fold in all_folds if (run / "fit" / fold / "done.json").exists()]
    assert finished[:1] == ["r0f0"]
    assert len(finished) < len(all_folds), "it was killed in the middle"
    before = times(run, *(f"fit/{fold}" for fold in finished))

    resumed = scanwise.run(*SMALL, f"out={tmp_path / 'runs'}")

    assert resumed.directory == run
    assert times(run, *(f"fit/{fold}" for fold in finished)) == before, "finished folds are not fitted again"
    assert without_provenance(run) == without_provenance(only_run(home))


class StoppedError(Exception):
    pass


def stop_at(stage: str, words: str):
    def progress(name: str, done: int, total: int, text: str) -> None:
        if name == stage and words in text:
            raise StoppedError

    return progress


def test_a_run_that_was_stopped_while_fitting_notices_changed_data(tmp_path, monkeypatch):
    with pytest.raises(StoppedError):
        scanwise.run(*SMALL, f"out={tmp_path / 'runs'}", progress=stop_at("fit", "fold 2"))
    before = times(only_run(tmp_path), ".")
    assert "fit/r0f0/done.json" in before
    assert repr(scanwise.load_run(only_run(tmp_path))).endswith("done: nothing)")

    monkeypatch.setattr("scanwise.cohort.study.Cohort.fingerprint", "0" * 64)
    with pytest.raises(scanwise.ScanwiseError, match="data of this run have changed"):
        scanwise.run(*SMALL, f"out={tmp_path / 'runs'}")
    assert times(only_run(tmp_path), ".") == before


def test_a_run_that_was_stopped_while_searching_keeps_what_was_found(home, tmp_path):
    settings = (*SMALL, f"out={tmp_path / 'runs'}")
    with pytest.raises(StoppedError):
        scanwise.run(*settings, progress=stop_at("search", "fold 2"))
    run = only_run(tmp_path)
    before = times(run, "fit", "search")
    assert "search/r0f0.json" in before
    assert not (run / "scores").exists()

    resumed = scanwise.run(*settings)

    kept = times(run, "fit", "search")
    assert {name: kept[name] for name in before if "r0f0" in name} == {
        name: time for name, time in before.items() if "r0f0" in name
    }
    assert without_provenance(resumed.directory) == without_provenance(only_run(home))


# ---- asked anew ------------------------------------------------------------------------------------------------------

WITHOUT_HEAVY = f"""
import sys

class Refuse:  # not None in sys.modules: scipy looks there for torch
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {HEAVY!r}:
            raise ImportError(f"{{name}} is not there")

sys.meta_path.insert(0, Refuse())
from scanwise.cli import main
sys.argv[0] = "scanwise"
main()
"""


def test_the_blocker_blocks(tmp_path):
    blocked = run_python(WITHOUT_HEAVY, *SMALL, "stage=fit", "out=runs", cwd=tmp_path)

    assert blocked.returncode != 0
    assert "torch is not there" in blocked.stderr


def test_another_budget_is_answered_without_torch_and_optuna(copy):
    run = only_run(copy)
    before = times(run, "fit", "search", "scores")
    old = read_json(run / "recommendation.json")
    arguments = (f"from_run={run.relative_to(copy).as_posix()}", "budget.money=60")

    asked = run_python(WITHOUT_HEAVY, "stage=recommend", *arguments, cwd=copy)

    assert asked.returncode == 0, asked.stderr
    assert "at most €60" in asked.stdout
    new = read_json(run / "recommendation.json")
    assert new["budget"]["limits"] == {"money": 60.0}
    assert old["budget"]["limits"] == {}
    assert new["candidates"][0]["cost"]["money"] <= 60
    assert times(run, "fit", "search", "scores") == before

    dashboard = (run / "dashboard.html").stat().st_mtime_ns
    shown = run_python(WITHOUT_HEAVY, "stage=report", *arguments, cwd=copy)
    assert shown.returncode == 0, shown.stderr
    assert (run / "dashboard.html").stat().st_mtime_ns > dashboard
    assert "€60" in (run / "protocol-card.md").read_text("utf-8")


@pytest.mark.parametrize(
    "asked",
    [
        ("budget.money=120",),
        ("budget.money=3",),
        ("budget.minutes=20", "budget.visits=2", "budget.msv=0", "budget.contrast_ml=0"),
        ("evidence.margin=0.2",),
        ("primary=minutes",),
        ("trainer.threads=2",),
    ],
)
def test_what_may_change_within_a_run_does_not_fit_again(copy, asked):
    before = times(only_run(copy), "fit", "search", "scores")

    run = scanwise.run(*SMALL, *asked, "out=runs")

    assert copy / run.directory == only_run(copy), "the folder is the same, and the only one"
    assert times(only_run(copy), "fit", "search", "scores") == before
    recommendation = run.last_recommendation()
    if recommendation.protocol is not None and recommendation.status == "best affordable":
        cost = recommendation.candidates[recommendation.protocol.key]["cost"]
        assert all(cost[axis] <= limit for axis, limit in recommendation.content["budget"]["limits"].items())
    assert (recommendation.status == "nothing affordable") == ("budget.money=3" in asked)


def test_a_wider_budget_never_gives_a_dearer_answer_than_it_allows(home):
    run = scanwise.load_run(only_run(home))
    everything = run.menu.price(run.menu.everything()).money

    for limit in np.linspace(4, everything + 10, 9):
        recommendation = run.recommend(money=float(limit))
        proposed = recommendation.content["decision"]["proposed"]
        assert (proposed is None) == (limit < 5)
        if proposed is not None:
            assert recommendation.candidates[proposed]["cost"]["money"] <= limit


# ---- other parts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "how"),
    [
        (("model=refit",), "exact lattice of 32 protocols"),
        (("search=lattice",), "exact lattice of 32 protocols"),
        (("search.max_lattice=8",), "exact lattice of 32 protocols, fused from single settings"),
        (("search=tpe", "search.n_trials=12"), "TPE"),
        (("search=nsga2", "search.n_trials=12"), "NSGA-II"),
        (("search=random", "search.n_trials=12"), "random"),
        (("search=uniform",), "all modalities shortened alike"),
        (("search=separate",), "the best of each modality alone"),
        (("search=greedy",), "greedy growth by setting"),
        (("split=holdout",), "exact lattice"),
        (("split=site", "split.learn=[northside]", "split.judge=[southside]", "split.inner=2"), "exact lattice"),
        (("limits.money=150", "mandatory=[exercise_test]"), "exact lattice"),
    ],
)
def test_other_parts_run_through(tmp_path, chosen, how):
    split = () if chosen[0].startswith("split=") else ("split=crossfit", "split.folds=2", "split.inner=2")

    quick = COHORT if chosen[0] == "model=refit" else QUICK

    run = scanwise.run(*quick, *split, *chosen, f"out={tmp_path}")

    content = run.last_recommendation().content
    assert how in content["search"]["how"]
    assert content["search"]["complete"] == ("lattice" in how)
    assert run.last_recommendation().status in ("change", "no change", "best affordable")
    assert not [card for card in run.report().cards if card.status == "error"]
    assert (content["nested"] is None) == (len(run.folds) == 1)
    judging = {"split=holdout": 36, "split=site": content["split"]["n_judging"]}.get(chosen[0], 180)
    assert content["split"]["n_judging"] == judging
    if chosen[0] == "split=site":
        assert [g["id"] for g in content["guards"] if g["id"].startswith("transfer")] == ["transfer:southside"]
    if chosen[0].startswith("limits"):
        searched = [row for row in content["considered"] if row["on_front"]]
        assert searched
        over = [row for row in content["considered"] if row["cost"]["money"] > 150]
        assert {row["key"] for row in over} <= {row["key"] for row in content["candidates"]}, "only the fixed ones"


# ---- from the command line -------------------------------------------------------------------------------------------


def test_multirun_makes_two_runs(scanwise_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = scanwise_command("--multirun", *QUICK, "seed=0,1", "out=runs")

    assert answer.code == 0, answer.err
    manifests = [read_json(path) for path in (tmp_path / "runs" / "demo").glob("*/manifest.json")]
    assert sorted(manifest["seed"] for manifest in manifests) == [0, 1]
    assert all(set(manifest["stages"]) == set(STAGES) for manifest in manifests)
    assert answer.out.count("Recommendation (no limit): ") == 2


SHOW_MODULES = """
import sys
from scanwise.cli import main
sys.argv[0] = "scanwise"
try:
    main()
finally:
    print([name for name in sys.modules if "." not in name], file=sys.stderr)
"""


def test_showing_the_configuration_is_light(tmp_path):
    shown = run_python(SHOW_MODULES, "--cfg", "job", "seed=7", cwd=tmp_path)

    assert shown.returncode == 0, shown.stderr
    config = yaml.safe_load(shown.stdout)
    assert config["name"] == "demo"
    assert config["seed"] == 7
    assert config["cohort"]["_target_"] == "scanwise.cohort.virtual.panel.VirtualPanel"
    loaded = set(yaml.safe_load(shown.stderr.splitlines()[-1]))
    assert "hydra" in loaded
    assert not loaded & {*HEAVY, "sklearn", "scipy", "plotly"}
    assert not list(tmp_path.iterdir()), "nothing is written"


def test_help_shows_what_to_type(scanwise_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = scanwise_command("--help")

    assert answer.code == 0
    for line in (
        "scanwise experiment=heart budget.money=200",
        "stage=recommend from_run=reports/runs/heart/1a2b3c4d budget.money=100",
        "--multirun seed=0,1,2",
        "--cfg job",
        "evidence.margin=0.03",
    ):
        assert line in answer.out
    options = {
        group: [path.stem for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]
        for group in ("cohort", "experiment", "launcher", "menu", "model", "search", "split", "trainer")
    }
    for group, names in options.items():
        assert f"{group}: {', '.join(names)}\n" in answer.out


def test_version(scanwise_command):
    from importlib.metadata import version

    assert scanwise_command("--version").out == f"scanwise {version('scanwise')}\n"


@pytest.mark.parametrize(
    ("typed", "words"),
    [("seed=-1", ("seed", "-1")), ("evidence.n_resamples=99", ("n_resamples", "100", "99"))],
)
def test_a_number_out_of_range_is_refused_before_anything_is_fitted(scanwise_command, tmp_path, typed, words):
    answer = scanwise_command(*QUICK, typed, f"out={tmp_path / 'runs'}")

    assert answer.code == 2
    assert "Traceback" not in answer.err
    assert "->" in answer.err
    assert all(word in answer.err for word in words)
    assert not (tmp_path / "runs").exists()


# ---- what a run leaves -----------------------------------------------------------------------------------------------


def test_the_manifest_tells_what_was_done(home):
    run = scanwise.load_run(only_run(home))
    manifest = read_json(run.directory / "manifest.json")

    assert manifest["schema_version"] == 1
    assert manifest["config_hash"] == hash_json(manifest["identity"])
    assert run.directory.name == manifest["config_hash"][:8]
    assert manifest["data_hash"] == run.cohort.fingerprint
    assert manifest["seed"] == 0
    assert manifest["command"] == f"scanwise.run{(*SMALL, 'out=runs')!r}"
    assert {"scanwise", "torch", "lightning", "optuna", "numpy", "scipy", "plotly"} <= set(manifest["versions"])
    assert "unknown" not in manifest["versions"].values()
    assert set(manifest["stages"]) == set(STAGES)
    moments = [datetime.datetime.fromisoformat(manifest["stages"][stage]["finished"]) for stage in STAGES]
    assert moments == sorted(moments)
    assert datetime.datetime.fromisoformat(manifest["started"]) <= moments[0]
    assert all(0 <= stage["seconds"] < 60 for stage in manifest["stages"].values())
    provenance = run.last_recommendation().content["provenance"]
    assert [stage["stage"] for stage in provenance["stages"]] == ["fit", "search", "confirm"]
    for part in ("command", "config_hash", "data_hash", "versions", "seed", "started"):
        assert provenance[part] == manifest[part]


def test_the_configuration_can_be_read_again(home):
    stored = yaml.safe_load((only_run(home) / "config.yaml").read_text("utf-8"))

    run = scanwise.load_run(only_run(home))
    composed = compose_config([*SMALL, "out=runs"])

    assert stored == run.config
    assert stored.keys() == composed.keys()
    assert stored["cohort"]["n"] == composed.cohort.n == 180
    assert run.budget.limits == {}


def test_no_file_names_a_folder_of_this_machine(home):
    run = only_run(home)
    foreign = [str(home), str(home.parent), str(ROOT), sys.prefix, str(Path.home()) + "/"]
    files = [path for path in run.rglob("*") if path.suffix in (".json", ".md", ".html", ".yaml")]

    assert {"manifest.json", "recommendation.json", "report.json", "protocol-card.md", "dashboard.html"} <= {
        path.name for path in files
    }
    for path in files:
        text = path.read_text("utf-8")
        assert not [place for place in foreign if place in text], path.name


def test_the_report_holds_what_the_recommendation_says(home):
    run = only_run(home)
    recommendation = read_json(run / "recommendation.json")
    report = json.loads((run / "report.json").read_text("utf-8"))

    assert report["head"]["headline"] == recommendation["decision"]["headline"]
    assert recommendation["decision"]["headline"] in (run / "protocol-card.md").read_text("utf-8")
    assert report["head"]["virtual"] is True
