"""What all tests share: where real data are, and the command line in this process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Answer:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data; the test is skipped where it is absent."""
    root = Path(os.environ.get("SCANWISE_DATA", ROOT.parent / "shared" / "data"))
    if not root.is_dir():
        pytest.skip("needs the real data: set SCANWISE_DATA to their folder")
    return root


@pytest.fixture
def scanwise_command(monkeypatch, capfd) -> Callable[..., Answer]:
    """Run the command in this process: ``scanwise_command("experiment=heart")``."""
    from scanwise.cli import main

    def call(*arguments: str) -> Answer:
        monkeypatch.setattr(sys, "argv", ["scanwise", *arguments])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1
        printed = capfd.readouterr()
        return Answer(code, printed.out, printed.err)

    return call
