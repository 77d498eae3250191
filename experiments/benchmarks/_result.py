"""How benchmarks write what they found: one JSON and one Markdown file, with command, versions, seeds and seconds."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from scanwise.artifacts import read_json, write_json, write_text
from scanwise.errors import ScanwiseError
from scanwise.evidence import AucEstimates, Interval, normal_interval

DEFAULT_OUT = "reports/published/benchmarks"
_VERSIONED = ("scanwise", "torch", "lightning", "optuna", "scikit-learn", "scipy", "numpy")


def parser(text: str | None) -> argparse.ArgumentParser:
    """Return a parser with ``--out``, told what the benchmark asks."""
    made = argparse.ArgumentParser(description=text, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--out", type=Path, default=Path(DEFAULT_OUT), help="folder of the results (default %(default)s)")
    return made


class Result:
    """What one benchmark found; the clock runs from here to `publish`.

    Parameters
    ----------
    name : stem of the files, and of the script.
    question : what was asked.
    argv : what was typed after the name of the script; the folder of the results is left out of what is written.
    script, folder : where the script is, unless its name is `name`, or it is elsewhere in ``experiments``.
    """

    def __init__(
        self, name: str, question: str, argv: Sequence[str], *, script: str | None = None, folder: str = "benchmarks"
    ) -> None:
        self._began = time.monotonic()
        self._lines = [f"# {name}", "", question.strip(), ""]
        self._tables: list[str] = []
        self._notes: list[str] = []
        self._name = name
        self.content: dict[str, Any] = {
            "benchmark": name,
            "question": question.strip(),
            "command": " ".join([f"python experiments/{folder}/{script or name}.py", *_without_out(argv)]),
            "versions": {package: importlib.metadata.version(package) for package in _VERSIONED},
            "python": platform.python_version(),
            "cores": os.cpu_count(),
            "load_at_start": round(os.getloadavg()[0], 2),
            "targets": [],
            "tables": {},
            "notes": self._notes,
        }

    def target(self, wanted: str, figure: str, met: bool | None) -> None:
        """Add a target: what was wanted, what was found, whether that is enough (`None` = no verdict, a reference)."""
        self.content["targets"].append({"wanted": wanted, "figure": figure, "met": met})

    def table(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add a table."""
        self.content["tables"][title] = [dict(zip(columns, row, strict=True)) for row in rows]
        self._tables += [f"## {title}", "", *_markdown(columns, rows), ""]

    def note(self, text: str) -> None:
        """Add a sentence on how to read the figures."""
        self._notes.append(text)

    def publish(self, out: Path, *, patients: Any, seeds: Any) -> dict[str, Any]:
        """Write both files, print the Markdown, and return the content."""
        content = self.content
        content |= {"patients": patients, "seeds": seeds, "seconds": round(time.monotonic() - self._began, 1)}
        verdict = {True: "yes", False: "**no**", None: "-"}
        rows = [[row["wanted"], row["figure"], verdict[row["met"]]] for row in content["targets"]]
        versions = ", ".join(f"{package} {version}" for package, version in content["versions"].items())
        lines = [*self._lines, *_markdown(("target", "measured", "reached"), rows), "", *self._tables]
        lines += [*(f"* {note}" for note in self._notes), ""] if self._notes else []
        lines += [
            f"`{content['command']}`: {content['seconds']:.0f} s on {content['cores']} cores "
            f"(load of the machine at the start {content['load_at_start']:g}); patients: {patients}; seeds: {seeds}; "
            f"Python {content['python']}, {versions}.",
            "",
        ]
        text = "\n".join(lines)
        write_json(out / f"{self._name}.json", content)
        write_text(out / f"{self._name}.md", text)
        print(text)
        return content


class Kept:
    """What a long benchmark has done so far, in a file, so that one that was broken off goes on there.

    Parameters
    ----------
    path : of the file, or `None` to keep nothing.
    settings : what the work depends on; a file of other settings is refused.
    result : is told where something was taken over.

    Attributes
    ----------
    content : plain data, changed by the benchmark; its keys keep their order.
    """

    def __init__(self, path: Path | None, settings: Mapping[str, Any], result: Result) -> None:
        self._path, self._settings = path, dict(settings)
        self.content: dict[str, Any] = {}
        if path is None or not path.exists():
            return
        found = read_json(path)
        if found["settings"] != self._settings:
            raise ScanwiseError(
                f"{path} was made with other settings: {found['settings']}, asked for are {self._settings}",
                "name another file",
            )
        self.content = dict(found["content"])
        if self.content:
            result.note("What an earlier start had done was taken over (`--keep`); the seconds are those of the rest.")

    def save(self) -> None:
        """Write the file."""
        if self._path is not None:
            content = [[key, value] for key, value in self.content.items()]  # JSON objects are written in sorted order
            write_json(self._path, {"settings": self._settings, "content": content})


def packed(hits: NDArray[np.floating[Any]]) -> str:
    """Return who was told right, 0 or 1, in a few letters: how many, and their bits in hexadecimal digits."""
    return f"{len(hits)}:{np.packbits(hits > 0).tobytes().hex()}"


def unpacked(text: str) -> NDArray[np.float64]:
    """Return what was packed."""
    count, bits = text.split(":")
    return np.unpackbits(np.frombuffer(bytes.fromhex(bits), np.uint8), count=int(count)).astype(np.float64)


def weighted_auc(estimates: AucEstimates, weights: Mapping[str, float]) -> Interval:
    """Return a weighted sum of AUCs on the same patients, one network given, with its 95 % interval."""
    vector = np.array([weights.get(key, 0.0) for key in estimates.protocols])
    variance = max(float(vector @ estimates.covariance @ vector), 0.0)
    return normal_interval(float(vector @ estimates.value), variance**0.5, 0.95)


def in_words(found: Interval, *, digits: int = 3, signed: bool = False, percent: bool = False) -> str:
    """Return a figure with its interval in words, e.g. ``+0.012 (+0.003 to +0.021)``."""
    times, form = 100 if percent else 1, f"{'+' if signed else ''}.{digits}f"
    return f"{times * found.value:{form}} ({times * found.low:{form}} to {times * found.high:{form}})"


def _markdown(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    return lines + ["| " + " | ".join(_cell(value) for value in row) + " |" for row in rows]


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _without_out(argv: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for argument in argv:
        if skip or argument.startswith(("--out=", "out=", "--runs=", "--specialists=", "--keep=")):
            skip = False
        elif argument in ("--out", "--runs", "--specialists", "--keep"):
            skip = True
        else:
            kept.append(argument)
    return kept
