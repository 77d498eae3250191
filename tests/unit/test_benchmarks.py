"""Every benchmark runs, tiny, and writes what it promises; the figures themselves are in reports/published."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scanwise.artifacts import read_json
from scanwise.errors import ScanwiseError
from scanwise.model import Measurements

SCRIPTS = Path(__file__).resolve().parents[2] / "experiments" / "benchmarks"
DATA = Path(os.environ.get("SCANWISE_DATA", "../shared/data"))

needs_data = pytest.mark.skipif(
    not (DATA / "heart").is_dir(), reason="real patients are needed: set SCANWISE_DATA to their folder"
)


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(SCRIPTS)

    def load(name: str) -> ModuleType:
        return importlib.import_module(name)

    return load


def check(content: dict[str, Any], out: Path, name: str, *n_targets: int) -> None:
    written = read_json(out / f"{name}.json")
    text = (out / f"{name}.md").read_text(encoding="utf-8")
    assert sorted(path.name for path in out.iterdir()) == [f"{name}.json", f"{name}.md"]
    assert written["targets"] == content["targets"]
    assert len(written["targets"]) in n_targets
    for row in written["targets"]:
        assert row["figure"] in text
    for key in ("command", "versions", "seeds", "seconds", "patients"):
        assert written[key], key
    assert written["command"] in text
    for private in (str(out), str(Path.home()), str(SCRIPTS.parents[1])):
        assert private not in text + (out / f"{name}.json").read_text(encoding="utf-8")


@needs_data
def test_amortised_vs_refit_compares_all_sets_of_tests(script: Any, tmp_path: Path) -> None:
    tiny = ["--repeats", "1", "--folds", "2", "--set", "model.steps=5", "split.inner=2"]
    content = script("amortised_vs_refit").main([*tiny, "--out", str(tmp_path)])
    check(content, tmp_path, "amortised_vs_refit", 7)
    rows = content["tables"]["AUC per set of tests"]
    assert len(rows) == 32
    assert rows[0]["tests beside the history"] == "nothing more"
    assert rows[-1]["tests beside the history"] == "everything"
    assert rows[-1]["CA$"] == pytest.approx(323.97)


@needs_data
def test_heart_recommendation_asks_all_cohorts(script: Any, tmp_path: Path) -> None:
    tiny = ["--seeds", "1", "--repeats", "1", "--folds", "2"]
    less = ["--set", "model=refit", "split.inner=2", "evidence.n_resamples=100"]
    content = script("heart_recommendation").main([*tiny, *less, "--out", str(tmp_path)])
    check(content, tmp_path, "heart_recommendation", 10)
    assert len(content["tables"]["Judged elsewhere"]) == 3
    assert len(content["tables"]["Cleveland, one seed per row"]) == 1


@needs_data
def test_heart_to_dashboard_times_the_command(script: Any, tmp_path: Path) -> None:
    tiny = ["--set", "model.steps=5", "split.repeats=1", "split.folds=2", "split.inner=2", "evidence.n_resamples=100"]
    content = script("heart_to_dashboard").main([*tiny, "--out", str(tmp_path)])
    check(content, tmp_path, "heart_to_dashboard", 1)
    assert content["targets"][0]["met"] is True
    stages = [row["stage"] for row in content["tables"]["Where the time went"]]
    assert {"fit", "search", "confirm", "recommend", "report"} < set(stages)


def test_scoring_speed_scores_as_many_as_asked(script: Any, tmp_path: Path) -> None:
    tiny = ["--protocols", "50", "--patients", "40", "--tests", "7", "--refits", "2", "--steps", "3"]
    content = script("scoring_speed").main([*tiny, "--out", str(tmp_path)])
    check(content, tmp_path, "scoring_speed", 2)
    assert content["targets"][0]["wanted"].startswith("50 different protocols on 40 patients")


def test_scoring_speed_refuses_more_protocols_than_there_are(script: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        script("scoring_speed").main(["--protocols", "50", "--tests", "3", "--out", str(tmp_path)])


def test_null_coverage_counts_data_sets(script: Any, tmp_path: Path) -> None:
    tiny = ["--datasets", "2", "--patients", "90", "--workers", "1", "--resamples", "100"]
    splits = ["--splits", "crossfit, one repeat", "holdout", "--set", "short_list=5"]
    content = script("null_coverage").main([*tiny, *splits, "--out", str(tmp_path)])
    check(content, tmp_path, "null_coverage", 11, 12, 13)  # fewer where the reference itself is picked in all data sets
    assert list(content["tables"]) == ["crossfit, one repeat, 2 data sets", "holdout, 2 data sets"]
    assert content["patients"] == "2 x 90 virtual"


PROSTATES = [
    "cohort.n=160",
    "cohort.worlds=[4,5,6]",
    "cohort.cache=null",
    "split.fractions={fit:0.55,tune:0.12,test:0.33}",
    "model.steps=2",
    "model.width=8",
    "model.batch_size=16",
]


def prostates(tmp_path: Path, *more: str) -> list[str]:
    return [*PROSTATES, f"out={(tmp_path / 'runs').as_posix()}", "--out", str(tmp_path / "found"), *more]


def test_prostate_trials_compares_with_what_was_published(script: Any, tmp_path: Path) -> None:
    content = script("prostate_trials").main(prostates(tmp_path))
    check(content, tmp_path / "found", "prostate_trials", 12)
    table = content["tables"]["AUC on unseen patients"]
    assert [row["read"] for row in table][:4] == ["clinical", "T2W", "DWI", "DCE"]
    assert {"world 4", "world 5", "world 6"} < set(table[0])
    shares = content["tables"]["Share of clinically significant cancer by suspicion level"]
    assert [row["published"] for row in shares] == ["64 %", "38 %", "10 %"]


def test_prostate_specialists_compares_every_protocol(script: Any, tmp_path: Path) -> None:
    content = script("prostate_specialists").main(prostates(tmp_path, "--steps", "2"))
    check(content, tmp_path / "found", "prostate_specialists", 4)
    rows = content["tables"]["AUC on unseen patients, clinical values read in all"]
    assert len(rows) == 12
    assert len({row["minutes"] for row in rows}) > 8, "from short to long"


def test_prostate_controls_have_noise_and_permuted_diagnoses(script: Any, tmp_path: Path) -> None:
    content = script("prostate_controls").main([*PROSTATES, "--out", str(tmp_path / "found")])
    check(content, tmp_path / "found", "prostate_controls", 4)


def test_prostate_worlds_gives_one_advice_per_world(script: Any, tmp_path: Path) -> None:
    tiny = ["search.n_trials=8", "evidence.n_resamples=100", *prostates(tmp_path, "--worlds", "1", "2")]
    content = script("prostate_worlds").main(tiny)
    check(content, tmp_path / "found", "prostate_worlds", 1)
    assert [row["world"] for row in content["tables"]["One study per world"]] == [1, 2]


def test_prostate_observer_reads_with_every_width(script: Any, tmp_path: Path) -> None:
    tiny = [typed for typed in prostates(tmp_path, "--widths", "8", "12") if typed != "model.width=8"]
    content = script("prostate_observer").main(tiny)
    check(content, tmp_path / "found", "prostate_observer", 1)


def test_digits_are_read_by_every_method(script: Any, tmp_path: Path) -> None:
    content = script("digits").main(["--seeds", "1", "--steps", "20", "--out", str(tmp_path)])
    check(content, tmp_path, "digits", 7)
    (table,) = (rows for title, rows in content["tables"].items() if title.startswith("Accuracy"))
    assert len(table) == 10
    assert content["targets"][0]["met"], "looking where it tells most needs no training"


def test_diffusion_channels_are_compared_by_number_and_by_minutes(script: Any, tmp_path: Path) -> None:
    tiny = ["--seeds", "2", "--steps", "10", "--swaps", "0", "--voxels", "60"]
    content = script("diffusion_channels").main([*tiny, "--out", str(tmp_path)])
    check(content, tmp_path, "diffusion_channels_60", 17)
    assert len(next(iter(content["tables"].values()))) == 10


@pytest.mark.parametrize(
    ("more", "name"),
    [((), "kspace_lines"), (("--exclusive", "--strength", "1.5"), "kspace_lines_exclusive_150_percent")],
)
def test_lines_of_kspace_are_found_and_walked(script: Any, tmp_path: Path, more: tuple[str, ...], name: str) -> None:
    tiny = ["--seeds", "2" if more else "1", "--steps", "10", "--walk-steps", "10", "--swaps", "0", "--phantoms", "60"]
    tiny += ["--studied", "200"]
    content = script("kspace_lines").main([*tiny, *more, "--budgets", "3", "8", "--out", str(tmp_path)])
    check(content, tmp_path, name, 8)
    assert any("are left out" in title for title in content["tables"]) is not bool(more)
    assert [len(rows) for title, rows in content["tables"].items() if "AUROC" in title or "same" in title] == [12, 11]
    (walked,) = (rows for title, rows in content["tables"].items() if "a regression for every subset" in title)
    assert [row["lines of others"] for row in walked] == [3, 8]


def test_lines_of_the_most_alike_phantom_are_taken(script: Any) -> None:
    lines = script("kspace_lines")
    rng = np.random.default_rng(0)
    values = rng.normal(size=(40, lines.SIDE, 2)).astype(np.float32)
    values[20:] = values[:20]
    problem = Measurements(values, (rng.random((40, 3)) < 0.5).astype(np.float32), "labels")

    class Reader:
        def tell_each(self, taken: Any, rows: Any) -> Any:
            told = 0.5 + 0.1 * taken[np.arange(len(rows)), rows][:, None] + 0.05 * taken[:, [60]]
            return np.where(problem.target[rows] > 0, told, 1 - told)

    judges = SimpleNamespace(judged=[(Reader(), np.arange(0, 20, 2)), (Reader(), np.arange(1, 20, 2))])
    masks = lines._of_neighbours(judges, problem, np.arange(20), np.arange(20, 40), 3)
    assert [set(np.flatnonzero(mask)) for mask in masks] == [{lines.SIDE // 2, row, 60} for row in range(20)]
    ridge = lines.RidgeModel().fit(problem, np.arange(20))
    each = lines._read_each(ridge, masks[::-1], np.arange(39, 19, -1))
    alone = [ridge.tell(masks[at][None], [20 + at])[0, 0] for at in range(19, -1, -1)]
    assert np.allclose(each, alone)


def test_lines_are_left_out_where_that_costs_least(script: Any) -> None:
    lines = script("kspace_lines")
    drawn = lines.Phantoms()
    problem = lines.line_problem(400, 0, drawn)
    learn, judge = np.arange(300), np.arange(300, 400)
    mask = lines.mask_of([8, 17, 25], lines.SIDE)

    found = lines._left_out(mask, problem, learn, judge, 0, drawn, 300)

    (whole,) = lines.RidgeModel().fit(problem, learn).tell(mask[None], judge)
    for one in found.values():
        assert 40 <= (one != whole).sum() <= 48  # 15 % of 3 x 100
        assert len(np.unique(one[one != whole])) == 1


def test_exclusive_diagnoses_are_one_at_most_and_planted_the_same(script: Any) -> None:
    phantoms = script("_phantoms")
    kspace, label = phantoms.phantom_kspace(40, 0, phantoms.Phantoms(exclusive=True))
    assert set(label.sum(1)) == {0, 1}
    faint, _ = phantoms.phantom_kspace(40, 0, phantoms.Phantoms(exclusive=True, strength=0.0))
    changed = np.abs(kspace - faint).max(axis=(1, 2, 3)) > 1e-3
    assert (changed == (label.sum(1) == 1)).all()
    energy = (np.abs(kspace[:, 0]) ** 2).mean(2)
    for which, cycles in enumerate(phantoms.PLANTED.values()):
        told = energy[:, phantoms.SIDE // 2 + cycles]
        assert told[label[:, which] == 1].mean() > told[label[:, which] == 0].mean()


def test_growth_by_least_squares_takes_what_the_ones_before_do_not_say(script: Any) -> None:
    patterns = script("_patterns")
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 400))
    values = np.stack([rng.normal(size=400), first, first + 0.01 * rng.normal(size=400), second], axis=1)
    target = np.stack([first, 0.5 * second**2], axis=1)
    assert patterns.greedy_linear(values, target, 1) in ([1], [2])
    curved = np.stack([values, values**2], axis=2)
    assert set(patterns.greedy_linear(curved, target, 2)) in ({1, 3}, {2, 3})
    assert 0 not in patterns.greedy_linear(curved, target, 2, np.array([1.0, 1.0, 1.0, 3.0]))
    assert sorted(patterns.greedy_linear(curved, target, 4)) == [0, 1, 2, 3]
    twice = np.stack([np.ones(400), first, first, second], axis=1)  # one says nothing, one nothing new
    assert patterns.greedy_linear(twice, np.stack([first, 0.5 * second], axis=1), 4) in ([1, 3, 0, 2], [2, 3, 0, 1])


def test_exchange_ends_where_no_pair_is_better(script: Any) -> None:
    worth = np.array([1.0, 5.0, 2.0, 4.0, 3.0])
    patterns = script("_patterns")
    grown = patterns.one_more(lambda masks: np.array([-worth[m].sum() for m in masks]))
    assert patterns.greedy(grown, 5, 3) == [1, 3, 4]
    found = patterns.exchange(grown, worth < 2.5)
    assert found.tolist() == [False, True, False, True, False]


@pytest.mark.skipif(
    not (DATA / "mnist_t10k").is_dir(), reason="images of digits are needed: set SCANWISE_DATA to their folder"
)
def test_mnist_is_read_from_few_coefficients(script: Any, tmp_path: Path) -> None:
    tiny = ["--seeds", "1", "--steps", "5", "--learned-steps", "2", "--swaps", "0", "--domains", "Fourier"]
    tiny += ["--images", "300", "--judges", "40"]
    content = script("mnist_patterns").main([*tiny, "--out", str(tmp_path)])
    check(content, tmp_path, "mnist_patterns", 6)


@pytest.mark.skipif(
    not (DATA / "mnist_t10k").is_dir(), reason="images of digits are needed: set SCANWISE_DATA to their folder"
)
def test_mnist_is_looked_at_pixel_by_pixel(script: Any, tmp_path: Path) -> None:
    few = ["--seeds", "1", "--steps", "20", "--images", "300", "--judges", "40"]
    few += ["--keep", str(tmp_path / "kept.json"), "--out", str(tmp_path / "found")]
    content = script("mnist_policies").main(few)
    check(content, tmp_path / "found", "mnist_policies", 6)
    assert script("mnist_policies").main(few)["targets"] == content["targets"]


def test_prostate_patterns_are_compared_at_equal_minutes(script: Any, tmp_path: Path) -> None:
    tiny = ["--seeds", "1", "--trials", "6", "--steps", "2", "--budgets", "15", "23"]
    kept = ["--keep", str(tmp_path / "kept.json")]
    content = script("prostate_patterns").main(prostates(tmp_path, *tiny, *kept))
    check(content, tmp_path / "found", "prostate_patterns", 16)
    again = script("prostate_patterns").main(prostates(tmp_path, *tiny, *kept))
    assert again["targets"] == content["targets"]
    with pytest.raises(ScanwiseError, match="other settings"):
        script("prostate_patterns").main(prostates(tmp_path, *tiny[:-1], *kept))


def test_prostate_policy_tells_what_is_saved_and_what_can_be(script: Any, tmp_path: Path) -> None:
    content = script("prostate_policy").main(prostates(tmp_path, "--weights", "5", "--rungs", "1"))
    first, *others = content["tables"].values()
    check(content, tmp_path / "found", "prostate_policy", len(first))
    assert 1 <= len(first) <= 6  # as many as searching men tell apart
    assert all(len(other) == len(first) for other in others)
    assert all(0 <= float(row["could be saved at its AUC [%]"]) <= 100 for row in first)


def test_less_is_saved_where_one_stage_tells_all_and_where_the_order_of_all_counts(script: Any) -> None:
    stages = script("_stopping").Stages
    most = stages(np.array([0.0, 10.0]), np.array([0.55, 0.9]), 0.3)
    many = stages(np.array([0.0, 6.0, 6.5, 20.0]), np.array([0.75, 0.84, 0.88, 0.9]), 0.3)
    assert 0 <= most.saved_at_equal_auc()[0] < 0.05
    assert (many.saved_at_equal_net_benefit(0.1)[1:] > many.saved_at_equal_auc()[1:]).all()
    for price, minutes, stage in ((0.0, 20.0, 3), (1.0, 0.0, 0)):  # all go on, or nobody
        *where, spent = many.stopped(np.abs(np.linspace(-1, 1, 401)), price)
        assert spent == pytest.approx(minutes, abs=1e-3)
        np.testing.assert_allclose(where, many.fixed(stage), atol=1e-5)
    diseased, others = many.fixed(3)
    assert diseased @ (np.cumsum(others) - others / 2) == pytest.approx(0.9, abs=1e-3)
    with pytest.raises(ScanwiseError, match="must ascend"):
        stages(np.array([0.0, 1.0]), np.array([0.9, 0.8]), 0.3)


@needs_data
def test_heart_policy_compares_policies_at_equal_prices(script: Any, tmp_path: Path) -> None:
    tiny = ["--set", "model.steps=5", "split.repeats=1", "split.folds=2", "split.inner=2"]
    content = script("heart_policy").main(["--runs", str(tmp_path / "runs"), "--out", str(tmp_path / "found"), *tiny])
    check(content, tmp_path / "found", "heart_policy", 8)


def test_cube_looks_ahead(script: Any, tmp_path: Path) -> None:
    tiny = ["--seeds", "2", "--rows", "200", "--judges", "200", "--steps", "10"]
    content = script("cube").main([*tiny, "--out", str(tmp_path)])
    check(content, tmp_path, "cube", 8)
    assert len(content["tables"]["CUBE-NM: accuracy [%], 200 rows learn"]) == 6


def test_staged_tests_are_decided_patient_by_patient(script: Any, tmp_path: Path) -> None:
    content = script("staged_tests").main(["--repeats", "1", "--folds", "2", "--out", str(tmp_path)])
    check(content, tmp_path, "staged_tests", 8)
    assert len(next(iter(content["tables"].values()))) == 4 + 8


def test_objectives_are_compared_at_equal_lines(script: Any, tmp_path: Path) -> None:
    tiny = ["--steps", "2", "--learned-steps", "1", "--swaps", "0", "--keep", str(tmp_path / "kept.json")]
    script("objective_study").main(prostates(tmp_path, *tiny, "--seeds", "1"))
    content = script("objective_study").main(prostates(tmp_path, *tiny, "--seeds", "2"))
    check(content, tmp_path / "found", "objective_study", 9)
    assert any("taken over" in note for note in content["notes"])
    assert len(content["tables"]["16 of 64 lines at most"]) == 6


def test_lattice_speed_times_whole_lattices(script: Any, tmp_path: Path) -> None:
    few = ["--patients", "20", "--tests", "5", "--sizes", "2", "3", "--few", "12"]
    menu = ["menu.modalities.dwi.averages=[1,1,1,2]"]
    out = ["--out", str(tmp_path / "found"), "--runs", str(tmp_path / "runs")]
    content = script("lattice_speed").main(
        [*few, *out, "--set", *menu, *[one for one in PROSTATES if "cache" not in one]]
    )
    check(content, tmp_path / "found", "lattice_speed", 5)
    grown = content["tables"]["Menus that grow, 12 patients"]
    assert [(row["kind"], row["modalities"], row["protocols"]) for row in grown[:2]] == [
        ("tests", 2, 16),
        ("tests", 3, 64),
    ]
    assert [target["met"] for target in content["targets"][-2:]] == [True, True]


def test_samplers_are_judged_against_the_lattice(script: Any, tmp_path: Path) -> None:
    tiny = ["--seeds", "2", "--patients", "40", "--menus", "virtual panel, history always", "prostate"]
    menu = ["menu.modalities.dwi.averages=[1,1,1,2]", *[one for one in PROSTATES if "cache" not in one]]
    out = ["--out", str(tmp_path / "found"), "--runs", str(tmp_path / "runs")]
    content = script("samplers").main([*tiny, *out, "--set", *menu])
    check(content, tmp_path / "found", "samplers", 14)
    (table,) = content["tables"].values()
    samplers = ["tpe", "random", "nsga2 by itself", "nsga2, the same start"]
    assert [row["sampler"] for row in table] == samplers * 2
    assert table[0]["protocols"] == 256
    assert table[0]["evaluations"] == 13
    assert all(0.5 < row["counted from 0"] <= 1.0 + 1e-9 for row in table)


def test_generation_speed_counts_studies(script: Any, tmp_path: Path) -> None:
    content = script("generation_speed").main(["--n", "60", "--repeats", "1", "--out", str(tmp_path)])
    check(content, tmp_path, "generation_speed", 1)


def test_workers_are_timed_and_killed(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(SCRIPTS.parent / "scale")
    tiny = ["--workers", "1", "2", "--trials", "12", "--batch-size", "4", "--seconds", "0.05", "--patients", "0"]
    content = script("workers").main([*tiny, "--kill-runs", "1", "--kill-trials", "48", "--out", str(tmp_path)])
    check(content, tmp_path, "workers", 4)
    assert content["command"].startswith("python experiments/scale/workers.py ")
    assert [row["workers"] for row in content["tables"]["Together"]] == [1, 2]
    (killed,) = content["tables"]["Killed"]
    assert (killed["complete"], killed["lost"], killed["duplicate"]) == (48, 0, 0)
    assert killed["as without a kill"] is True
