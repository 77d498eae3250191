"""The command line: checks what was typed before anything heavy is loaded, then runs the stages.

Nothing here imports torch, lightning, optuna, scikit-learn or plotly at module level: the shell asks for completions
through this module, and a typing error deserves an answer at once.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from scanwise.composing import CONF, compose_config, read_values, setting_names
from scanwise.errors import ScanwiseError
from scanwise.launch import worker_command

if TYPE_CHECKING:
    from scanwise.pipeline import Run

EXIT_USER_ERROR = 2
_PATTERN_HELP = """One sampling pattern for a matrix of your own, exact in the number of shots, to a file:

  scanwise pattern scheme=poisson_disc_2d 'size=[320,256]' acceleration=4 seed=1 out=mask.npy

count=20480 in place of the acceleration says how many shots. out=mask.npy is the mask, with mask.npy.json beside it
that says how it was made; out=mask.csv lists the shots that are taken. Without out= nothing is written. Schemes:
"""
_PAGE_HELP = """Draw a report again from its numbers, such as a published one:

  scanwise page report=reports/published/heart out=heart-report

Writes the dashboard, the protocol card, the methods text and the checklists; without out= beside report.json.
"""
_INDEX_HELP = """One page with all runs below a folder; any two of them stand side by side there:

  scanwise index root=reports

It is written as index.html into that folder, and lists benchmarks below published/ too. Every run brings it up to date
at its end; the command does it by hand, e.g. after runs were copied or deleted.
"""
_EXPORT_HELP = """A protocol of a finished run for those who acquire it, into a folder:

  scanwise export from_run=reports/runs/prostate/1a2b3c4d out=prostate-protocol

protocol.json says what to set at the console and what it costs; every scan and test has its sampling mask as .npy and
.csv, every Cartesian scan its sequence as .seq (needs pip install 'scanwise[pulseq]'), the report its tables as .csv.

  protocol=reference   today's protocol in place of the proposal, or the key of any protocol of the menu in quotes
"""
_WITH_VALUE = (
    "--config-dir",
    "-cd",
    "--config-name",
    "-cn",
    "--config-path",
    "-cp",
    "--package",
    "-p",
    "--cfg",
    "-c",
    "--info",
    "-i",
)


def main() -> None:
    """Entry point of the ``scanwise`` command."""
    arguments = sys.argv[1:]
    if "--version" in arguments:
        sys.stdout.write(f"scanwise {version('scanwise')}\n")
        return
    command = _COMMANDS.get(arguments[0]) if arguments else None
    if command is not None:
        try:
            sys.stdout.write(command(arguments[1:]))
        except ScanwiseError as error:
            _fail(error)
        except (KeyboardInterrupt, EOFError):
            sys.stderr.write("\nscanwise: stopped\n")
            sys.exit(130)
        return
    try:
        if not {"--help", "-h", "--hydra-help", "-sc", "--shell-completion"} & set(arguments):
            compose_config(
                _overrides(arguments), _config_dir(arguments), sweep=bool({"-m", "--multirun"} & set(arguments))
            )
    except ScanwiseError as error:
        _fail(error)
    _hydra_main()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(config: DictConfig) -> None:
    from scanwise.console import ConsoleProgress
    from scanwise.pipeline import open_run

    try:
        overrides = list(HydraConfig.get().overrides.task)
        with ConsoleProgress() as progress:
            typed = setting_names(overrides)
            run = open_run(config, typed=typed, command="scanwise " + " ".join(sys.argv[1:]), progress=progress)
            launcher, folder = run.launcher, run.directory / "workers"
            command = worker_command(overrides, _config_dir(sys.argv[1:]))
            for note in _notes(run, config.stage):
                progress.say(note)
            if launcher.dry_run:
                sys.stdout.write(launcher.describe(command, folder))
                return
            started = launcher.start(command, folder)
            if launcher.remote:
                sys.stdout.write(started)
                return
            run.run(config.stage)
            progress.say(started.finish())
        progress.farewell(run)
    except ScanwiseError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nscanwise: stopped; start the same command again and it goes on where it was\n")
        sys.exit(130)


def _notes(run: Run, stage: str) -> list[str]:
    """Check a run for which several workers are asked, and return what is to be said about them."""
    launcher = run.launcher
    if launcher.workers == 1 and not launcher.remote and not launcher.dry_run:
        return []
    return run.check(stage).notes_on_workers(launcher.workers, several_machines=launcher.remote)


def _pattern(arguments: Sequence[str]) -> str:
    """Make one sampling pattern and write it where ``out=`` says; return what the terminal shows."""
    from scanwise.design import make_scheme, sampling_pattern, schemes

    if not arguments or {"--help", "-h"} & set(arguments):
        kinds = {name: cls.kind for name, cls in schemes().items()}
        listed = [f"  {name:<22} size=[{','.join(kind.axes)}]  {kind.name}\n" for name, kind in sorted(kinds.items())]
        return f"{_PATTERN_HELP}\n{''.join(listed)}"
    given = read_values(arguments)
    for name in ("scheme", "size"):
        if name not in given:
            raise ScanwiseError(f"a pattern needs {name}=...", "scanwise pattern --help shows how")
    scheme, size = make_scheme(str(given.pop("scheme"))), given.pop("size")
    out = Path(str(given.pop("out"))) if "out" in given else None
    if not isinstance(size, int) and not isinstance(size, list):
        raise ScanwiseError(
            f"size must be whole numbers, but is {size!r}", f"write 'size=[{','.join(scheme.kind.axes)}]' in numbers"
        )
    pattern = sampling_pattern(scheme.name, size, **given)
    lines = [repr(pattern)]
    again = f"scanwise pattern {shlex.join(pattern.overrides())}"
    if out is not None:
        lines.append(f"Written to {' and '.join(path.as_posix() for path in pattern.save(out))}")
        again += f" {shlex.quote(f'out={out.as_posix()}')}"
    return "\n".join([*lines, f"Again: {again}"]) + "\n"


def _index(arguments: Sequence[str]) -> str:
    """Write the index of all runs below a folder; return what the terminal shows."""
    if {"--help", "-h"} & set(arguments):
        return _INDEX_HELP
    given = read_values(arguments)
    for name in given:
        if name != "root":
            raise ScanwiseError(f"scanwise index knows no {name!r}", "scanwise index --help shows how")
    from scanwise.report import write_index

    path, index = write_index(Path(str(given.get("root", "reports"))))
    listed = "".join(f"  {trouble.path}: {trouble.reason}\n" for trouble in index.troubles)
    return f"{index!r}\n{listed}Written to {path.as_posix()}\n"


def _page(arguments: Sequence[str]) -> str:
    """Draw a report.json again; return what the terminal shows."""
    if {"--help", "-h"} & set(arguments):
        return _PAGE_HELP
    given = read_values(arguments)
    for name in given:
        if name not in ("report", "out"):
            raise ScanwiseError(f"scanwise page knows no {name!r}", "scanwise page --help shows how")
    if "report" not in given:
        raise ScanwiseError("scanwise page needs report=...", "e.g. report=reports/published/heart/report.json")
    from scanwise.report import render_again

    file = Path(str(given["report"]))
    file = file / "report.json" if file.is_dir() else file
    written = render_again(file, Path(str(given.get("out", file.parent))))
    return "".join(f"Written: {path.as_posix()}\n" for path in written)


def _export(arguments: Sequence[str]) -> str:
    """Write a protocol of a run into a folder; return what the terminal shows."""
    if not arguments or {"--help", "-h"} & set(arguments):
        return _EXPORT_HELP
    which = [argument for argument in arguments if argument.startswith("protocol=")]  # keys are no grammar of Hydra
    given = read_values([argument for argument in arguments if argument not in which])
    if len(which) > 1:
        raise ScanwiseError("'protocol' is there twice", "give it once")
    for name in given:
        if name not in ("from_run", "out"):
            raise ScanwiseError(f"scanwise export knows no {name!r}", "scanwise export --help shows what it knows")
    for name in ("from_run", "out"):
        if not given.get(name):
            raise ScanwiseError(f"scanwise export needs {name}=...", "scanwise export --help shows how")
    from scanwise.pipeline import load_run

    protocol = which[0].partition("=")[2].strip("'\"") if which else "proposal"
    return f"{load_run(str(given['from_run'])).export(str(given['out']), protocol)!r}\n"


def _next(arguments: Sequence[str]) -> str:
    """Say what to acquire next in one patient; return what the terminal shows."""
    from scanwise.visit import HELP, answer

    if not arguments or {"--help", "-h"} & set(arguments):
        return HELP
    flags = [argument for argument in arguments if argument.startswith("-")]
    if set(flags) - {"--interactive"}:
        raise ScanwiseError(f"scanwise next knows no {flags[0]}", "scanwise next --help shows what it knows")
    given = read_values([argument for argument in arguments if argument not in flags])
    return answer(given, interactive=bool(flags))


def _overrides(arguments: Sequence[str]) -> list[str]:
    """Return the arguments that are settings, not flags or values of flags."""
    overrides, skip = [], False
    for argument in arguments:
        if skip:
            skip = False
        elif argument.startswith("-"):
            skip = argument in _WITH_VALUE
        else:
            overrides.append(argument)
    return overrides


def _config_dir(arguments: Sequence[str]) -> Path | None:
    for argument, following in zip(arguments, [*arguments, ""][1:], strict=True):
        for flag in ("--config-dir", "-cd"):
            if argument == flag:
                return Path(following)
            if argument.startswith(f"{flag}="):
                return Path(argument.partition("=")[2])
    return None


def _fail(error: ScanwiseError) -> None:
    sys.stderr.write(f"scanwise: {error}\n")
    sys.exit(EXIT_USER_ERROR)


_COMMANDS = {"pattern": _pattern, "index": _index, "page": _page, "export": _export, "next": _next}
"""What stands in the place of settings, and what the terminal shows then."""

__all__ = ["main"]

if __name__ == "__main__":
    main()
