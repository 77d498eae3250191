"""Every option of every group is composed and built; every experiment is run through all stages, only quicker."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_class

import scanwise
from scanwise.composing import CONF, compose_config
from scanwise.config import STAGES
from scanwise.pipeline import _instantiate, open_run

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")
OPTIONS = [(group, path.stem) for group in GROUPS for path in sorted((CONF / group).glob("*.yaml"))]
EXPERIMENTS = [option for group, option in OPTIONS if group == "experiment"]
NEEDED = {
    ("split", "site"): ("split.learn=[northside]", "split.judge=[southside]"),
    ("cohort", "prostate"): ("cohort.n=60", "cohort.cache=null"),
    ("cohort", "liver"): ("cohort.n=60", "cohort.cache=null"),
}
"""What an option cannot do without."""
QUICK = {
    "trainer": ("trainer.log=false", "trainer.threads=1"),
    "evidence": ("evidence.n_resamples=100",),
    "amortisedmodel": ("model.steps=3",),
    "imagemodel": ("model.steps=3", "model.width=8", "model.batch_size=16"),
    "virtualorgan": ("cohort.n=160", "cohort.cache=null", "doubts=4"),
    "crossfit": ("split.repeats=1", "split.folds=2", "split.inner=2"),
    "sitesplit": ("split.inner=2",),
}


def yaml_files() -> list[Path]:
    return sorted(CONF.rglob("*.yaml"))


def targets(node, at: str = ""):
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "_target_":
                yield at, value
            yield from targets(value, f"{at}.{key}" if at else str(key))
    elif isinstance(node, list):
        for index, value in enumerate(node):
            yield from targets(value, f"{at}[{index}]")


def text_of(path: Path) -> str:
    return path.read_text("utf-8")


def comment_header(path: Path) -> str:
    lines = []
    for line in text_of(path).splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return "\n".join(lines)


@pytest.fixture
def real_data(request, monkeypatch):
    """Point the cohorts at the real data; the test is skipped where they are absent."""

    def use() -> None:
        monkeypatch.setenv("SCANWISE_DATA", str(request.getfixturevalue("data_root")))

    return use


def test_there_is_something_to_test():
    assert {"cohort", "experiment", "launcher", "menu", "model", "search", "split", "trainer"} <= set(GROUPS)
    assert len(EXPERIMENTS) >= 4


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: path.relative_to(CONF).as_posix())
def test_every_target_is_a_class_of_this_package(path):
    for at, target in targets(yaml.safe_load(text_of(path))):
        assert target.startswith("scanwise."), f"{at} names foreign code"
        assert isinstance(get_class(target), type)


@pytest.mark.parametrize("path", yaml_files(), ids=lambda path: path.relative_to(CONF).as_posix())
def test_no_file_names_a_folder_of_one_machine(path):
    assert not re.search(r"(?<![\w.$}{-])/(home|root|tmp|work|Users|mnt|data)/", text_of(path))


@pytest.mark.parametrize(("group", "option"), [pair for pair in OPTIONS if pair[0] != "experiment"])
def test_every_option_composes_and_is_built(group, option, real_data, tmp_path):
    overrides = [f"{group}={option}", *NEEDED.get((group, option), ()), f"out={tmp_path}"]
    if group == "cohort":
        overrides.append(f"menu={option}")  # a cohort is read for a menu of its modalities
        if "SCANWISE_DATA" in text_of(CONF / group / f"{option}.yaml"):
            real_data()
    run = open_run(compose_config(overrides))

    built = {
        "cohort": lambda: run.cohort,
        "menu": lambda: run.menu,
        "split": lambda: run.folds,
        "model": lambda: run._model,
        "trainer": lambda: run.trainer,
        "search": lambda: _instantiate(run.config["search"], "search"),
        "policy": lambda: run._policy_settings,
        "launcher": lambda: run.launcher,
    }[group]()

    assert built
    assert not list(tmp_path.iterdir()), "looking at it writes nothing"


@pytest.mark.parametrize("name", [option for group, option in OPTIONS if group == "menu"])
def test_every_menu_prices_all_it_offers(name):
    menu = open_run(compose_config([f"menu={name}"])).menu
    config = compose_config([f"menu={name}"]).menu

    assert list(menu.modalities) == list(config.modalities)
    assert menu.currency
    assert menu.source
    assert menu.price(menu.everything()).money > menu.price(menu.always).money
    for modality in menu.modalities.values():
        told = config.modalities[modality.name].get("shots", modality.shots.names)  # scans make their own
        assert len(modality.shots) == len(told)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_says_what_it_asks(name):
    path = CONF / "experiment" / f"{name}.yaml"
    header = comment_header(path)

    assert text_of(path).startswith("# @package _global_\n")
    assert re.search(r"^Question: \w.+\?", header, re.MULTILINE), "a question"
    assert re.search(r"^Hypothesis: \w", header, re.MULTILINE)
    assert re.search(r"^Expected runtime: .*(minute|second)", header, re.MULTILINE)
    config = compose_config([f"experiment={name}"])
    assert config.name == name, "its runs are found under its own name"


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_runs_through_all_stages(name, real_data, tmp_path):
    config = compose_config([f"experiment={name}"])
    quick = [*QUICK["trainer"], *QUICK["evidence"]]
    for part in (config.split, config.model, config.cohort):
        quick += QUICK.get(str(part._target_).rpartition(".")[2].lower(), ())
    if "n_trials" in config.search:
        quick.append("search.n_trials=16")
    if "root" in config.cohort:
        real_data()

    run = scanwise.run(f"experiment={name}", *quick, f"out={tmp_path}")

    assert all(run.done(stage) for stage in STAGES)
    assert run.dashboard.stat().st_size > 100_000
    assert run.last_recommendation().status in ("change", "no change", "best affordable")
    assert not [card.id for card in run.report().cards if card.status == "error"]
