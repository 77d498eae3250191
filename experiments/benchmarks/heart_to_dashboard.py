"""How long from nothing to a dashboard on real patients? ``scanwise experiment=heart``, as a newcomer types it."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _result import Result, parser

from scanwise.artifacts import read_json

LIMIT_SECONDS = 180.0


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    arguments = sys.argv[1:] if argv is None else list(argv)
    cli = parser(__doc__)
    cli.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="further settings, e.g. split.repeats=1")
    options = cli.parse_args(arguments)
    result = Result("heart_to_dashboard", str(__doc__), arguments)
    typed = ["experiment=heart", *options.set]
    with tempfile.TemporaryDirectory() as folder:
        began = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-m", "scanwise.cli", *typed, f"out={folder}"], capture_output=True, text=True, check=False
        )
        seconds = time.monotonic() - began
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            sys.exit(f"scanwise {' '.join(typed)} ended with {done.returncode}:\n{done.stderr[-2000:]}")
        (dashboard,) = Path(folder).glob("*/*/dashboard.html")
        size = dashboard.stat().st_size / 1e6
        manifest = read_json(dashboard.parent / "manifest.json")
        content = read_json(dashboard.parent / "recommendation.json")
    result.target(
        f"scanwise {' '.join(typed)}: from nothing to the dashboard in under {LIMIT_SECONDS:g} s",
        f"{seconds:.1f} s",
        bool(seconds < LIMIT_SECONDS),
    )
    result.table(
        "Where the time went",
        ("stage", "seconds"),
        [
            *([name, stage["seconds"]] for name, stage in manifest["stages"].items()),
            ["starting, reading, the rest", seconds - sum(stage["seconds"] for stage in manifest["stages"].values())],
        ],
    )
    result.table(
        "What it took",
        ("processor seconds", "peak memory, MB", "dashboard, MB"),
        [[used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, size]],
    )
    result.note(f"It said: {content['decision']['headline']}")
    result.note("One process with one thread; the processor seconds say how much of the time others held the machine.")
    return result.publish(options.out, patients=content["study"]["n_patients"], seeds=[manifest["seed"]])


if __name__ == "__main__":
    main()
