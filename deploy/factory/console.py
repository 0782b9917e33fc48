"""What people see of the steps: one line each, what goes on within, and how much has left."""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import FileSizeColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

HIDDEN = "********"
PASSWORD_IN_URL = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")


class Report:
    """secrets: what is never shown, whoever says it. steps: how many there are."""

    def __init__(self, console: Console, secrets: list[str], steps: int) -> None:
        self._console = console
        self._steps = steps
        lines = {line for secret in secrets for line in secret.splitlines() if line.strip()}
        self._secrets = sorted(lines, key=len, reverse=True)  # one may hold another one
        self._step = 0

    def step(self, title: str) -> None:
        """Say what comes next."""
        self._step += 1
        self._print(f"{self._step}/{self._steps} {title}", style="bold")

    def say(self, line: str) -> None:
        """Say what goes on within a step."""
        self._print(f"    {line}")

    def command(self, *pipeline: list[str], stdin: str = "") -> None:
        """Say which commands would run. stdin: what the first one would read."""
        told = " | ".join(shlex.join(command) for command in pipeline)
        self.say(f"$ {told}" + (f"   # stdin: {stdin}" if stdin else ""))

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int], object]]:
        """Show bytes as they leave. Gives: what is to be called with their number."""
        columns = (TextColumn("    {task.description}"), FileSizeColumn(), TransferSpeedColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task(title, total=None)
            yield lambda count: progress.advance(task, count)

    def masked(self, text: str) -> str:
        """The text as it can be shown: without secrets, and without what would move a terminal's cursor."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = PASSWORD_IN_URL.sub(rf"\1{HIDDEN}@", text)
        return "".join(letter if letter.isprintable() else " " for letter in text)

    def _print(self, line: str, style: str | None = None) -> None:
        self._console.print(self.masked(line), style=style, markup=False, highlight=False, soft_wrap=True)
