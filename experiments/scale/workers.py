"""How many trials per second do 1, 2 and 4 workers make together, and what is lost when they are killed?"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from filelock import FileLock

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from _result import Result, parser

from scanwise.artifacts import hash_json

WORKER = Path(__file__).with_name("_work.py")
ENOUGH = 0.8
"""Speed-up that counts as scaling, as a share of the number of workers."""
SPACING_S = 0.02
"""A shorter time without a trial is no wait for a batch."""


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    cli.add_argument("--trials", type=int, default=48, help="per measurement (default %(default)s)")
    cli.add_argument("--batch-size", type=int, default=16)
    cli.add_argument("--seconds", type=float, nargs="+", default=[0.5, 2.0], help="of the sleeping objectives")
    cli.add_argument("--patients", type=int, default=2400, help="of the real study, 0 = leave it out")
    cli.add_argument("--settle", type=float, default=25.0, help="seconds the workers of the real study get for loading")
    cli.add_argument("--kill-runs", type=int, default=10, help="runs of four workers in which every one is killed")
    cli.add_argument("--kill-trials", type=int, default=100)
    cli.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    options = cli.parse_args(arguments)
    result = Result("workers", str(__doc__), arguments, folder="scale")

    rows: list[list[Any]] = []
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        for seconds in options.seconds:
            compare(
                result,
                rows,
                f"{seconds:g} s of sleep",
                [
                    (n, sleepers(home / f"{seconds}-{n}", seconds, n, options.trials, options.batch_size))
                    for n in options.workers
                ],
                target=True,
            )
        if options.patients:
            study = Study(home / "study", options.patients, options.trials, options.batch_size, options.settle)
            measured = [(n, study.searched(n)) for n in options.workers]
            compare(result, rows, "virtual prostates, a network", measured, target=False)
        columns = ("objective", "workers", "trials per second", "speed-up", "of the ideal", "seconds between batches")
        result.table("Together", columns, rows)

        rng = np.random.default_rng(options.seed)
        through = digest(sleepers(home / "through", 0.02, 1, options.kill_trials, 8))
        table = []
        for run in range(options.kill_runs):
            trials = killed(home / f"killed-{run}", options.kill_trials, rng)
            scored = Counter(one.user_attrs["protocol"] for one in trials if one.user_attrs["outcome"] == "scored")
            complete = sum(one.state == optuna.trial.TrialState.COMPLETE for one in trials)
            lost = options.kill_trials - complete
            table.append([run, complete, lost, sum(scored.values()) - len(scored), digest(trials) == through])
    if table:
        good = sum(row[1] == options.kill_trials == len(trials) and row[3] == 0 for row in table)
        result.target(
            f"4 workers, {options.kill_trials} trials, one SIGKILL each: all complete, 0 lost, 0 duplicate, "
            "journal readable",
            f"{good} of {len(table)} runs",
            good == len(table),
        )
        equal = sum(row[4] for row in table)
        result.target("the same trials as without a kill", f"{equal} of {len(table)} runs", equal == len(table))
        result.table("Killed", ("run", "complete", "lost", "duplicate", "as without a kill"), table)
    result.note(
        "Measured from the first trial taken to the last one recorded. Sleeping takes no processor, so it shows what "
        "sharing costs on any number of cores. The network needs them: 4 workers on 2 cores cannot be 4 times as fast, "
        "and other programs on this machine slow it down."
    )
    result.note(
        "Seconds between batches: the median time in which nothing is scored because one worker proposes the next "
        "batch, one trial after the other (TPE)."
    )
    result.note("The virtual prostates are experiment=prostate_small with few patients, all workers on one journal.")
    return result.publish(options.out, patients=f"{options.patients} virtual", seeds=[options.seed])


def compare(
    result: Result, rows: list[list[Any]], name: str, measured: Sequence[tuple[int, list[Any]]], *, target: bool
) -> None:
    """Enter what several numbers of workers made of one objective."""
    n_first, first = measured[0]
    base = len(first) / seconds_of(first) / n_first
    for n_workers, trials in measured:
        speed = len(trials) / seconds_of(trials)
        gain = speed / base
        rows.append([name, n_workers, speed, gain, f"{gain / n_workers:.0%}", between_batches(trials)])
    result.target(
        f"{name}: {n_workers} workers make at least {ENOUGH:.0%} of {n_workers} times as many trials per second",
        f"{gain:.2f} times",
        bool(gain >= ENOUGH * n_workers) if target else None,
    )
    n_results = len({digest(trials) for _, trials in measured})
    result.target(
        f"{name}: the same trials bit for bit, whatever the number of workers",
        "the same" if n_results == 1 else f"{n_results} different results",
        n_results == 1,
    )


def sleepers(folder: Path, seconds: float, n_workers: int, trials: int, batch_size: int) -> list[Any]:
    """Let workers search together with an objective that sleeps; return the trials."""
    folder.mkdir(parents=True)
    wait([start(folder, seconds, trials, batch_size, n_workers) for _ in range(n_workers)])
    return trials_of(folder / "search")


class Study:
    """A real study: fitted once, then searched anew by different numbers of workers that are given the same command."""

    def __init__(self, folder: Path, patients: int, trials: int, batch_size: int, settle_s: float) -> None:
        self._folder = folder
        self._settle_s = settle_s
        self._settings = [
            "experiment=prostate_small",
            *(f"cohort.n={patients}", f"cohort.cache={folder / 'cache'}"),
            *("model.steps=20", "trainer.log=false", "search=tpe"),
            *(f"search.n_trials={trials}", f"search.batch_size={batch_size}"),
        ]
        wait([self._command("fit", "fitted")])

    def searched(self, n_workers: int) -> list[Any]:
        """Return the trials of a search by so many workers."""
        shutil.copytree(self._folder / "fitted", self._folder / f"by-{n_workers}")
        (run,) = (self._folder / f"by-{n_workers}").glob("*/*")
        locks = run / "search" / "r0f0" / "locks"
        locks.mkdir(parents=True)
        with FileLock(locks / "mutex"):  # nobody begins while the others still load their libraries
            workers = [self._command("search", f"by-{n_workers}") for _ in range(n_workers)]
            time.sleep(self._settle_s)
        wait(workers)
        return trials_of(locks.parent)

    def _command(self, stage: str, out: str) -> subprocess.Popen[bytes]:
        words = [*self._settings, f"stage={stage}", f"out={self._folder / out}"]
        return subprocess.Popen([sys.executable, "-m", "scanwise.cli", *words], stdout=subprocess.DEVNULL)  # noqa: S603


def killed(folder: Path, trials: int, rng: np.random.Generator) -> list[Any]:
    """Let four workers search together, kill each of them once and start another; return the trials."""
    folder.mkdir()
    workers = [start(folder, 0.02, trials, 8, 4) for _ in range(4)]
    journal = folder / "search" / "journal.log"
    for index, share in enumerate(np.sort(rng.uniform(0.05, 0.8, size=4))):
        # a trial writes two or three lines
        while not journal.exists() or journal.read_bytes().count(b"\n") < share * 2 * trials:
            if workers[index].poll() is not None:
                raise RuntimeError("a worker ended before it was killed")
            time.sleep(0.001)
        time.sleep(rng.uniform(0.0, 0.05))
        workers[index].kill()
        workers[index].wait()
        workers[index] = start(folder, 0.02, trials, 8, 1)
    wait(workers)
    return trials_of(folder / "search")


def start(folder: Path, seconds: float, trials: int, batch_size: int, crew: int) -> subprocess.Popen[bytes]:
    words = [folder, seconds, trials, batch_size, crew]
    return subprocess.Popen([sys.executable, str(WORKER), *map(str, words)])  # noqa: S603


def wait(workers: Sequence[subprocess.Popen[bytes]]) -> None:
    codes = [worker.wait() for worker in workers]
    if any(codes):
        raise RuntimeError(f"workers ended with {codes}")


def trials_of(folder: Path) -> list[Any]:
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    backend = optuna.storages.journal.JournalFileBackend(str(folder / "journal.log"))
    study = optuna.load_study(study_name="scanwise", storage=optuna.storages.JournalStorage(backend))
    optuna.logging.set_verbosity(verbosity)
    return study.get_trials(deepcopy=False)


def seconds_of(trials: Sequence[Any]) -> float:
    began = min(trial.datetime_start for trial in trials if trial.datetime_start is not None)
    return (max(trial.datetime_complete for trial in trials) - began).total_seconds()


def between_batches(trials: Sequence[Any]) -> float:
    """Return the median time in which no trial is being scored, seconds."""
    spans = sorted((one.datetime_start, one.datetime_complete) for one in trials if one.datetime_start is not None)
    gaps, end = [], spans[0][1]
    for began, ended in spans:
        gaps.append((began - end).total_seconds())
        end = max(end, ended)
    return float(np.median([gap for gap in gaps if gap > SPACING_S] or [0.0]))


def digest(trials: Sequence[Any]) -> str:
    """Return a hash of all of the trials but their clocks."""
    return hash_json([[one.number, one.state.name, one.params, one.values, one.user_attrs] for one in trials])


if __name__ == "__main__":
    main()
