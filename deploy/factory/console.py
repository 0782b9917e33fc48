"""Progress output of a deployment, with secrets redacted."""

import re
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import rich.console
from rich.progress import FileSizeColumn, Progress, TextColumn, TimeElapsedColumn, TransferSpeedColumn

HIDDEN = "********"
PASSWORD_IN_URL = re.compile(r"(://[^/\s:@]*:)[^/\s@]+@")


class Console:
    """Prints numbered steps and their details, and redacts secrets in every line.

    Args:
        terminal: Where lines are printed.
        secrets: Values that are never shown.
        steps: Total number of steps.
    """

    def __init__(self, terminal: rich.console.Console, secrets: list[str], steps: int) -> None:
        self._terminal = terminal
        self._steps = steps
        lines = {line for secret in secrets for line in secret.splitlines() if line.strip()}
        self._secrets = sorted(lines, key=len, reverse=True)  # a secret may contain a shorter one
        self._step = 0

    def step(self, title: str) -> None:
        """Print the heading of the next step."""
        self._step += 1
        self._print(f"{self._step}/{self._steps} {title}", style="bold")

    def detail(self, line: str) -> None:
        """Print a line about the current step."""
        self._print(f"    {line}")

    def command(self, *pipeline: list[str], stdin: str = "") -> None:
        """Print a command as a shell would take it.

        Args:
            pipeline: One or more commands, joined by pipes.
            stdin: Description of what the first command reads.
        """
        text = " | ".join(shlex.join(command) for command in pipeline)
        self.detail(f"$ {text}" + (f"   # stdin: {stdin}" if stdin else ""))

    @contextmanager
    def progress(self, title: str) -> Iterator[Callable[[int], object]]:
        """Show a transfer's progress; yields a callback that takes the number of bytes sent."""
        columns = (TextColumn("    {task.description}"), FileSizeColumn(), TransferSpeedColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._terminal) as progress:
            task = progress.add_task(title, total=None)
            yield lambda count: progress.advance(task, count)

    def redact(self, text: str) -> str:
        """Return the text without secrets, passwords in URLs, and terminal control characters."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        text = PASSWORD_IN_URL.sub(rf"\1{HIDDEN}@", text)
        return "".join(letter if letter.isprintable() else " " for letter in text)

    def _print(self, line: str, style: str | None = None) -> None:
        self._terminal.print(self.redact(line), style=style, markup=False, highlight=False, soft_wrap=True)
