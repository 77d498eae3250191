"""Starting the same command several times: as processes of this machine, or as jobs of a Slurm cluster.

The workers know nothing of each other and nothing of who started them; they meet in the run folder. One can as well
type the command in several terminals.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scanwise.errors import ScanwiseError


def worker_command(settings: Sequence[str], config_dir: Path | None = None) -> list[str]:
    """Return the command of one worker: what was typed, but without a launcher."""
    place = [] if config_dir is None else ["--config-dir", config_dir.as_posix()]
    kept = [text for text in settings if text.lstrip("+~").partition("=")[0].partition(".")[0] != "launcher"]
    return [sys.executable, "-m", "scanwise.cli", *place, *kept, "launcher=local", "launcher.workers=1"]


@dataclass(frozen=True, kw_only=True)
class LocalLauncher:
    """Workers on this machine; the process one looks at is the first of them.

    Parameters
    ----------
    workers : how many, this process included.
    dry_run : only show what would be started.
    """

    workers: int = 1
    dry_run: bool = False

    def __post_init__(self) -> None:
        _check_positive("workers", self.workers)

    @property
    def remote(self) -> bool:
        """Whether the work is done elsewhere, later."""
        return False

    def describe(self, command: Sequence[str], folder: Path) -> str:
        """Return what would be started, as text."""
        words = shlex.join(command)
        return f"{self.workers} x {words}\noutput of all but the first: {folder.as_posix()}/worker-*.log\n"

    def start(self, command: Sequence[str], folder: Path) -> LocalCrew:
        """Start all workers but the one that this process is."""
        crew = LocalCrew(folder)
        for index in range(1, self.workers):
            crew.add(index, command)
        return crew


class LocalCrew:
    """The other workers on this machine.

    Parameters
    ----------
    folder : of what they print.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: list[tuple[Path, subprocess.Popen[bytes]]] = []

    def add(self, index: int, command: Sequence[str]) -> None:
        """Start one more."""
        log = self._folder / f"worker-{index}.log"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with log.open("wb") as file:
                self._workers.append((log, subprocess.Popen(command, stdout=file, stderr=file)))  # noqa: S603
        except OSError as error:
            raise ScanwiseError(
                f"worker {index} could not be started: {error.strerror or error}",
                "free memory or disk space, or ask for fewer launcher.workers",
            ) from error

    def finish(self) -> str:
        """Wait for the others; return what is to be said about those that failed, or nothing."""
        failed = [(log, worker.wait()) for log, worker in self._workers]
        return "".join(
            f"a worker stopped with exit code {code}, the others did its work: {log.as_posix()}\n"
            for log, code in failed
            if code
        )


@dataclass(frozen=True, kw_only=True)
class SlurmLauncher:
    """Workers as jobs of a Slurm cluster, submitted through submitit.

    Parameters
    ----------
    workers : how many jobs.
    partition, account : of Slurm, `None` = the default of the cluster.
    minutes, memory_gb, cpus, gpus : of every job.
    requeue : let Slurm start a job again after preemption or when its time is over; it goes on where it was.
    setup : shell commands before the work.
    dry_run : only show the job script.
    """

    workers: int = 4
    partition: str | None = None
    account: str | None = None
    minutes: int = 60
    memory_gb: float = 8.0
    cpus: int = 2
    gpus: int = 0
    requeue: bool = True
    setup: Sequence[str] = ()
    dry_run: bool = False

    def __post_init__(self) -> None:
        for name in ("workers", "minutes", "cpus"):
            _check_positive(name, getattr(self, name))
        if not self.memory_gb > 0 or self.gpus < 0:
            raise ScanwiseError(
                f"launcher.memory_gb must be above 0 and launcher.gpus not below, but they are {self.memory_gb:g} and "
                f"{self.gpus}"
            )

    @property
    def remote(self) -> bool:
        """Whether the work is done elsewhere, later."""
        return True

    def describe(self, command: Sequence[str], folder: Path) -> str:
        """Return the job script that would be submitted, as text; needs no Slurm."""
        submitit = _submitit()
        # submitit looks for Slurm when an executor is made; a script can be written without
        anywhere = type("Anywhere", (submitit.SlurmExecutor,), {"affinity": classmethod(lambda _: 1)})
        executor = self._executor(anywhere, folder)
        if self.workers > 1:
            executor.parameters["map_count"] = self.workers  # what submitit sets when it submits a job array
        script = executor._make_submission_file_text(executor._submitit_command_str, "dry_run")
        return f"{script}\n# each of the {self.workers} jobs runs\n# {shlex.join(command)}\n"

    def start(self, command: Sequence[str], folder: Path) -> str:
        """Submit the jobs; return what is to be said about them.

        Raises
        ------
        ScanwiseError
            If there is no Slurm on this machine, or it refuses the jobs.
        """
        submitit = _submitit()
        if shutil.which("sbatch") is None or shutil.which("srun") is None:
            raise ScanwiseError(
                "launcher=slurm needs Slurm, but this machine has no sbatch and srun",
                "start it on a login node of the cluster, or look at the job with launcher.dry_run=true",
            )
        try:
            executor = self._executor(submitit.SlurmExecutor, folder)
            with executor.batch():
                jobs = [executor.submit(SlurmWorker(command)) for _ in range(self.workers)]
            names = [str(job.job_id) for job in jobs]
        except (RuntimeError, OSError, subprocess.SubprocessError) as error:
            raise ScanwiseError(
                f"Slurm did not take the jobs: {str(error).strip() or type(error).__name__}",
                "look at the job script with launcher.dry_run=true",
            ) from error
        return f"submitted {len(names)} jobs: {', '.join(names)}\noutput: {folder.as_posix()}\n"

    def _executor(self, kind: Any, folder: Path) -> Any:
        executor = kind(folder=folder, max_num_timeout=10_000 if self.requeue else 0)
        chosen = {"partition": self.partition, "account": self.account, "gpus_per_node": self.gpus or None}
        executor.update_parameters(
            job_name="scanwise",
            time=self.minutes,
            mem=f"{round(1024 * self.memory_gb)}M",
            cpus_per_task=self.cpus,
            setup=list(self.setup),
            additional_parameters={"requeue" if self.requeue else "no-requeue": True},
            **{name: value for name, value in chosen.items() if value is not None},
        )
        return executor


class SlurmWorker:
    """What a job runs; told that its time is over, it is submitted again.

    Parameters
    ----------
    command : of one worker.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.command = list(command)

    def __call__(self) -> None:
        """Run the command; a failure is a failed job."""
        subprocess.run(self.command, check=True)  # noqa: S603

    def checkpoint(self) -> Any:
        """Return what to submit again: the same, for a worker keeps nothing of its own."""
        return _submitit().helpers.DelayedSubmission(self)


def _submitit() -> Any:
    try:
        import submitit
        import submitit.helpers
    except ImportError as error:
        raise ScanwiseError(
            "launcher=slurm needs submitit, which is not installed", 'pip install "scanwise[slurm]"'
        ) from error
    return submitit


def _check_positive(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ScanwiseError(f"launcher.{name} must be a whole number >= 1, but got {value!r}")
