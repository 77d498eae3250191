"""The same command started several times: by hand, by the launcher of this machine, and as jobs of a made-up Slurm."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock

import scanwise
from scanwise.artifacts import read_json
from scanwise.config import STAGES

SETTINGS = (
    "cohort.n=180",
    "trainer.log=false",
    "evidence.n_resamples=200",
    "model.steps=10",
    "split=crossfit",
    "split.folds=2",
    "split.inner=2",
    "split.repeats=1",
    "search=tpe",
    "search.n_trials=18",
    "search.batch_size=4",
    "out=runs",
)
STARTED = [sys.executable, "-m", "scanwise.cli", *SETTINGS]


@pytest.fixture(scope="module")
def alone(tmp_path_factory) -> Path:
    """The folder of the same run, made by one process."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        scanwise.run(*SETTINGS)
    return only_run(folder)


@pytest.fixture
def start(tmp_path) -> Iterator:
    """Start the command; what is still there after the test is killed."""
    started = []

    def call(*more: str, path: str = "") -> subprocess.Popen[str]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": path + os.environ["PATH"]}
        process = subprocess.Popen(
            [*STARTED, *more], cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def only_run(folder: Path) -> Path:
    (run,) = (folder / "runs" / "demo").iterdir()
    return run


def without_provenance(run: Path) -> dict:
    return {key: value for key, value in read_json(run / "recommendation.json").items() if key != "provenance"}


def same(run: Path, other: Path) -> None:
    """Two run folders hold the same networks, the same searches and the same advice."""
    assert without_provenance(run) == without_provenance(other)
    for part in ("fit/*/*.ckpt", "search/*.json"):
        names = sorted(path.relative_to(other).as_posix() for path in other.glob(part))
        assert names == sorted(path.relative_to(run).as_posix() for path in run.glob(part))
        assert names
        assert [(run / name).read_bytes() == (other / name).read_bytes() for name in names] == [True] * len(names)
    assert set(read_json(run / "manifest.json")["stages"]) == set(STAGES)


def test_the_same_command_started_three_times_is_one_run(alone, start, tmp_path):
    processes = [start() for _ in range(3)]
    said = []
    for process in processes:
        out, error = process.communicate(timeout=150)
        assert process.returncode == 0, error
        assert "Recommendation (no limit): " in out
        said.append(error)

    same(only_run(tmp_path), alone)
    for stage in ("fit", "confirm", "recommend", "report"):
        left = [
            text for text in said if re.search(rf"^{stage} .*done (by another process|before)$", text, re.MULTILINE)
        ]
        assert len(left) == 2, f"{stage} is done once"


def test_who_finds_another_process_at_a_stage_waits_for_it_and_says_so(alone, start, tmp_path):
    run = tmp_path / alone.relative_to(alone.parents[2])
    run.mkdir(parents=True)
    with FileLock(run / "run.lock"):
        process = start()
        line = next((line for line in process.stderr if "waiting" in line), "")
        held = sorted(path.name for path in run.iterdir())

    _, error = process.communicate(timeout=150)
    assert line.split(maxsplit=2)[2] == "another process is at it: waiting\n"
    assert held == ["run.lock"], "nothing is written while another process works"
    assert process.returncode == 0, error
    same(run, alone)


def test_another_process_goes_on_where_the_fitting_one_was_killed(alone, start, tmp_path):
    first = start()
    deadline = time.monotonic() + 90
    while not list((tmp_path / "runs").glob("demo/*/fit/r0f0/done.json")):
        assert first.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    second = start()
    os.kill(first.pid, signal.SIGKILL)

    _, error = second.communicate(timeout=150)
    assert second.returncode == 0, error
    same(only_run(tmp_path), alone)


def test_one_command_starts_three_workers(alone, start, tmp_path):
    process = start("launcher.workers=3")
    _, error = process.communicate(timeout=150)

    assert process.returncode == 0, error
    assert "3 workers share batches of 4, so some of them wait: search.batch_size=6" in error
    run = only_run(tmp_path)
    same(run, alone)
    logs = sorted(path.name for path in (run / "workers").iterdir())
    assert logs == ["worker-1.log", "worker-2.log"]
    for log in logs:
        assert "Recommendation (no limit): " in (run / "workers" / log).read_text("utf-8")


def test_many_workers_for_the_work_of_one_are_told_so(scanwise_command, tmp_path):
    answer = scanwise_command(f"out={tmp_path}", "search=lattice", "launcher.dry_run=true", "launcher.workers=2")

    assert answer.code == 0, answer.err
    assert "this search is the work of one process" in answer.err
    assert not list(tmp_path.iterdir()), "a dry run writes nothing"


def test_a_dry_run_shows_the_command(scanwise_command, tmp_path):
    answer = scanwise_command(f"out={tmp_path}", "search=tpe", "launcher.dry_run=true", "launcher.workers=4")

    assert answer.code == 0, answer.err
    assert f"4 x {sys.executable} -m scanwise.cli out={tmp_path} search=tpe launcher=local launcher.workers=1\n" in (
        answer.out
    )
    assert not list(tmp_path.iterdir())


# ---- Slurm -----------------------------------------------------------------------------------------------------------

SLURM = (
    "launcher=slurm",
    "launcher.workers=2",
    "launcher.partition=short",
    "launcher.minutes=7",
    "launcher.memory_gb=1.5",
    "launcher.cpus=3",
    "launcher.setup=['module load python']",
)


@pytest.fixture
def submitit():
    return pytest.importorskip("submitit", reason="submitit is not installed: pip install 'scanwise[slurm]'")


def test_a_dry_run_shows_the_job_without_slurm(submitit, scanwise_command, tmp_path):
    answer = scanwise_command(*SLURM, "search=tpe", "launcher.dry_run=true", f"out={tmp_path}")

    assert answer.code == 0, answer.err
    for line in (
        "#!/bin/bash",
        "#SBATCH --partition=short",
        "#SBATCH --time=7",
        "#SBATCH --mem=1536M",
        "#SBATCH --cpus-per-task=3",
        "#SBATCH --array=0-1%2",
        "#SBATCH --requeue",
        "module load python",
    ):
        assert line in answer.out.splitlines()
    assert (
        f"# {sys.executable} -m scanwise.cli search=tpe out={tmp_path} launcher=local launcher.workers=1" in answer.out
    )
    assert "across machines use search.storage=postgresql://" in answer.err
    assert not list(tmp_path.iterdir())


def test_a_job_that_shall_not_be_requeued(submitit, scanwise_command, tmp_path):
    answer = scanwise_command(*SLURM, "launcher.requeue=false", "launcher.dry_run=true", f"out={tmp_path}")

    assert "#SBATCH --no-requeue" in answer.out.splitlines()
    assert "#SBATCH --requeue" not in answer.out


def test_slurm_is_needed_to_submit(submitit, scanwise_command, tmp_path, monkeypatch):
    monkeypatch.setattr("scanwise.launch.shutil.which", lambda name: None)
    answer = scanwise_command(*SLURM, "search=tpe", f"out={tmp_path}")

    assert answer.code == 2
    assert "no sbatch and srun" in answer.err
    assert "launcher.dry_run=true" in answer.err
    assert not list(tmp_path.iterdir())


def test_a_missing_submitit_names_the_extra(scanwise_command, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "submitit", None)
    answer = scanwise_command(*SLURM, "search=tpe", "launcher.dry_run=true", f"out={tmp_path}")

    assert answer.code == 2
    assert "scanwise[slurm]" in answer.err


SBATCH = """#!/bin/bash
# A Slurm of one machine: the jobs of an array, each in the background, with the variables that submitit reads.
cp "$1" job.sh
n=$(sed -n 's/^#SBATCH --array=0-\\([0-9]*\\).*/\\1/p' "$1")
for task in $(seq 0 "$n"); do
  SLURM_JOB_ID=7$task SLURM_ARRAY_JOB_ID=7 SLURM_ARRAY_TASK_ID=$task SLURM_NTASKS=1 SLURM_JOB_NUM_NODES=1 \\
  SLURM_LOCALID=0 SLURM_NODEID=0 SLURM_PROCID=0 SLURM_JOB_NODELIST=here nohup bash job.sh > job-$task.log 2>&1 &
  echo $! >> job.pids
done
echo "Submitted batch job 7"
"""
SRUN = """#!/bin/bash
while [[ "$1" == -* ]]; do
  if [[ "$1" == --output || "$1" == --error ]]; then shift; fi
  shift
done
exec "$@"
"""


def test_jobs_do_the_work(submitit, alone, start, tmp_path):
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, script in (("sbatch", SBATCH), ("srun", SRUN), ("scontrol", "#!/bin/bash\n")):
        (tools / name).write_text(script, "utf-8")
        (tools / name).chmod(0o755)
    process = start("launcher=slurm", "launcher.workers=2", path=f"{tools}:")
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert "submitted 2 jobs: 7_0, 7_1\n" in out
    deadline = time.monotonic() + 120
    while not list((tmp_path / "runs").glob("demo/*/dashboard.html")):
        assert time.monotonic() < deadline, "".join(path.read_text() for path in tmp_path.glob("job-*.log"))
        time.sleep(0.1)
    for pid in map(int, (tmp_path / "job.pids").read_text().split()):
        while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
    same(only_run(tmp_path), alone)
