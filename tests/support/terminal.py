"""The program in a pseudo-terminal, and Ctrl-C."""

import fcntl
import os
import select
import subprocess
import sys
import termios
import time
from contextlib import contextmanager

from tests.conftest import ROOT
from tests.support.processes import environment

LIMIT_S = 2


@contextmanager
def terminal(*arguments, **variables):
    """Run the program in a pseudo-terminal. Yields the process and its end of the terminal."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        [sys.executable, ROOT / "service.py", *map(str, arguments)],
        cwd=ROOT, env=environment(**variables, TERM="xterm"), stdin=theirs, stdout=theirs, stderr=theirs,
        start_new_session=True, preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(theirs)
    try:
        yield process, ours
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)


def read_until(ours: int, found, seconds: float = 60) -> str:
    """Read the terminal until its text contains something, or the program has ended."""
    text, deadline = "", time.monotonic() + seconds
    while time.monotonic() < deadline:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                piece = os.read(ours, 65_536).decode()
            except OSError:  # the program has closed its end
                return text
            text += piece
        if found(text):
            return text
    raise AssertionError(text[-500:])


def interrupt(process, ours: int) -> str:
    """Press Ctrl-C, and return the rest of the output."""
    begun = time.monotonic()
    os.write(ours, b"\x03")
    rest = read_until(ours, lambda _: False)
    assert process.wait(10) == 130, rest[-500:]
    assert time.monotonic() - begun < LIMIT_S + 1  # the interpreter's end included, on a busy machine
    return rest
