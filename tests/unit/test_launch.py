"""Launchers: what a worker is told to do, and what is said about those that fail."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from scanwise.errors import ScanwiseError
from scanwise.launch import LocalLauncher, SlurmLauncher, SlurmWorker, worker_command


def test_a_worker_is_told_what_was_typed_but_for_the_launcher() -> None:
    typed = ["experiment=heart", "launcher=slurm", "+launcher.setup=[a]", "launcher.workers=9", "search.n_trials=7"]
    assert worker_command(typed, Path("mine")) == [
        *(sys.executable, "-m", "scanwise.cli", "--config-dir", "mine", "experiment=heart", "search.n_trials=7"),
        *("launcher=local", "launcher.workers=1"),
    ]


def test_workers_that_failed_are_named_with_what_they_said(tmp_path: Path) -> None:
    script = "import os, sys; print('hello'); sys.exit(3 if len(os.listdir('.')) else 0)"
    crew = LocalLauncher(workers=3).start([sys.executable, "-c", script], tmp_path)
    said = crew.finish()
    assert said.splitlines() == [
        f"a worker stopped with exit code 3, the others did its work: {tmp_path}/worker-{index}.log" for index in (1, 2)
    ]
    assert (tmp_path / "worker-1.log").read_text() == "hello\n"


def test_one_worker_is_this_process_alone(tmp_path: Path) -> None:
    assert LocalLauncher().start(["nothing"], tmp_path).finish() == ""
    assert not list(tmp_path.iterdir())


def test_a_worker_that_cannot_be_started_is_a_plain_message(tmp_path: Path) -> None:
    with pytest.raises(ScanwiseError, match="worker 1 could not be started: No such file"):
        LocalLauncher(workers=2).start([str(tmp_path / "no-such-command")], tmp_path)


def test_a_job_whose_time_is_over_is_submitted_again_as_it_was() -> None:
    pytest.importorskip("submitit", reason="submitit is not installed: pip install 'scanwise[slurm]'")
    worker = SlurmWorker([sys.executable, "-c", "pass"])
    worker()
    again = worker.checkpoint()
    assert again.function is worker
    assert again.args == ()


@pytest.mark.parametrize(
    ("launcher", "settings", "words"),
    [
        (LocalLauncher, {"workers": 0}, "launcher.workers must be a whole number >= 1, but got 0"),
        (LocalLauncher, {"workers": 1.5}, r"launcher.workers must be a whole number >= 1, but got 1\.5"),
        (SlurmLauncher, {"workers": True}, "launcher.workers"),
        (SlurmLauncher, {"minutes": 0}, "launcher.minutes"),
        (SlurmLauncher, {"cpus": "two"}, "launcher.cpus"),
        (SlurmLauncher, {"memory_gb": 0.0}, "launcher.memory_gb must be above 0"),
        (SlurmLauncher, {"gpus": -1}, "launcher.gpus not below"),
    ],
)
def test_wrong_settings_are_refused(launcher: Any, settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ScanwiseError, match=words):
        launcher(**settings)
