"""What the terminal shows while stages run: bars with the time left, or plain lines in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

if TYPE_CHECKING:
    from scanwise.pipeline import Run

_LOG_EVERY_S = 10.0


class ConsoleProgress:
    """Receives ``(stage, done, total, text)`` from the stages and draws it on standard error."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._live = self._console.is_terminal
        self._bars = Progress(
            TextColumn("[bold]{task.fields[stage]:<10}"),
            BarColumn(bar_width=28),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            console=self._console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._began: dict[str, float] = {}
        self._said: dict[str, float] = {}

    def __enter__(self) -> Self:
        if self._live:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._bars.stop()

    def __call__(self, stage: str, done: int, total: int, text: str) -> None:
        """Show how far a stage is."""
        if self._live:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task("", total=total, stage=stage, text=text)
            self._bars.update(self._tasks[stage], completed=done, total=total, text=text[:80])
            return
        now = time.monotonic()
        began = self._began.setdefault(stage, now)
        if done >= total or now - self._said.get(stage, 0.0) >= _LOG_EVERY_S:
            self._said[stage] = now
            left = (now - began) / done * (total - done) if done else 0.0
            known = 0 < done < total and now - began > 1.0
            waiting = f", {left:.0f} s left" if known else ""
            self._console.print(f"{stage:<10} {done / total:4.0%}{waiting}  {text}", markup=False, soft_wrap=True)

    def say(self, text: str) -> None:
        """Say something that is no progress, on standard error."""
        if text:
            self._console.print(text.rstrip(), markup=False, soft_wrap=True)

    def farewell(self, run: Run) -> None:
        """Say what came out and where it is."""
        out = Console(file=sys.stdout, highlight=False)
        if run.done("recommend"):
            out.print(repr(run.last_recommendation()), markup=False, soft_wrap=True)
        if run.done("report"):
            out.print(f"Dashboard:     {run.dashboard.as_posix()}", markup=False, soft_wrap=True)
            out.print(f"Protocol card: {(run.directory / 'protocol-card.md').as_posix()}", markup=False, soft_wrap=True)
        out.print(f"Run folder:    {run.directory.as_posix()}", markup=False, soft_wrap=True)
        sys.stdout.flush()
