"""The command line: checks what was typed before anything heavy is loaded, then runs the stages.

Nothing here imports torch, lightning, optuna, scikit-learn or plotly at module level: the shell asks for completions
through this module, and a typing error deserves an answer at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from scanwise.composing import CONF, compose_config, setting_names
from scanwise.errors import ScanwiseError

EXIT_USER_ERROR = 2
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
        with ConsoleProgress() as progress:
            typed = setting_names(HydraConfig.get().overrides.task)
            run = open_run(config, typed=typed, command="scanwise " + " ".join(sys.argv[1:]), progress=progress)
            run.run(config.stage)
        progress.farewell(run)
    except ScanwiseError as error:
        _fail(error)
    except KeyboardInterrupt:
        sys.stderr.write("\nscanwise: stopped; start the same command again and it goes on where it was\n")
        sys.exit(130)


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


__all__ = ["main"]

if __name__ == "__main__":
    main()
