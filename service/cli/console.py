"""Starts the command line, as `python service.py` and as the command `loaner` of the installed package."""

import os
import signal
import sys
from typing import NoReturn

from service.invocation import is_checkout

_OWN_PACKAGES = ("native", "security", "service")
_INTERRUPTED = 128 + signal.SIGINT


def main() -> None:
    """Run the command line, or say what to install if packages are missing.

    Ctrl-C while modules are imported leaves without a traceback. Once a command has ended, Ctrl-C does not change its
    exit status.
    """
    is_default = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if is_default:
        signal.signal(signal.SIGINT, _leave)
    try:
        from service.cli.main import main as run
    except ModuleNotFoundError as err:
        if err.name is None or err.name.partition(".")[0] in _OWN_PACKAGES:
            raise
        remedy = "make run, or .venv/bin/python service.py" if is_checkout() else "pip install 'loaner[service]'"
        sys.exit(f"Error: the service is not installed ({err.name} is missing); run: {remedy}")
    finally:
        if is_default:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run(prog_name=None if is_checkout() else "loaner")
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _leave(*_: object) -> NoReturn:
    os.write(sys.stderr.fileno(), b"Interrupted\n")
    os._exit(_INTERRUPTED)
