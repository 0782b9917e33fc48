"""Shows how far a long command has come: a bar in a terminal, and a line every few seconds elsewhere."""

import threading
import time
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from service.bulk_load.progress import Progress

LINE_INTERVAL_S = 5.0


def show_progress() -> "AbstractContextManager[_Bars | _Lines]":
    """Return what shows progress on standard error. Call `update` with each state."""
    console = Console(stderr=True)
    return _Bars(console) if console.is_terminal else _Lines()


def _rows(progress: Progress) -> str:
    return f"{progress.rows:,} {'row' if progress.rows == 1 else 'rows'}"


class _Bars:
    """A bar for each step."""

    def __init__(self, console: Console) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rows]}"),
            TimeElapsedColumn(),
        )
        self._bars = Bars(*columns, console=console)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._finish()
        self._bars.stop()

    def update(self, progress: Progress) -> None:
        if progress.step not in self._tasks:
            self._finish()
            self._tasks[progress.step] = self._bars.add_task(f"{progress.step:<8}", rows="", total=progress.total)
        task = self._tasks[progress.step]
        self._bars.update(task, completed=progress.done, total=progress.total, rows=_rows(progress))

    def _finish(self) -> None:
        """Stop the pulse of a step whose end was not known."""
        for task in self._bars.tasks:
            if task.total is None:
                self._bars.update(task.id, total=1, completed=1)


class _Lines:
    """A line for each step, and every few seconds during a step."""

    def __init__(self) -> None:
        self._latest: Progress | None = None
        self._begun = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if kind is None:
            self._print()

    def update(self, progress: Progress) -> None:
        if self._latest is None or progress.step != self._latest.step:
            self._print()
            self._begun = time.monotonic()
        self._latest = progress

    def _repeat(self) -> None:
        while not self._ended.wait(LINE_INTERVAL_S):
            self._print()

    def _print(self) -> None:
        latest = self._latest
        if latest is not None:
            percent = f", {100 * latest.done // latest.total} %" if latest.total else ""
            seconds = time.monotonic() - self._begun
            click.echo(f"{latest.step}: {_rows(latest)}{percent}, {seconds:.0f} s", err=True)
