"""The program starts and ends without tracebacks: at Ctrl-C, and where packages are missing."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

HOOK = """
import atexit, os, signal, sys

class Hook:
    def find_spec(self, name, *_):
        if name == "service.cli.main":
            {at_import}

sys.meta_path.insert(0, Hook())
sys.argv = ["service.py", "--version"]
from service.cli.console import main
{before}
main()
"""
INTERRUPT = "os.kill(os.getpid(), signal.SIGINT)"


def run(at_import: str = "return", before: str = "") -> subprocess.CompletedProcess[str]:
    program = HOOK.format(at_import=at_import, before=before)
    return subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_an_interrupt_while_modules_are_imported_is_one_line():
    done = run(INTERRUPT)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Interrupted\n")


def test_an_ignored_interrupt_stays_ignored_while_modules_are_imported():
    done = run(INTERRUPT, "signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (done.returncode, done.stderr) == (0, "")


def test_an_interrupt_after_the_end_of_a_command_keeps_its_status():
    done = run(before=f"atexit.register(lambda: {INTERRUPT})")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("is_checkout", "remedy"), [(True, "make run"), (False, "pip install 'loaner[service]'")])
def test_a_missing_package_is_named_with_what_to_run(is_checkout, remedy):
    before = f"import service.cli.console; service.cli.console.is_checkout = lambda: {is_checkout}"
    done = run("raise ModuleNotFoundError('No module', name='psycopg2')", before)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: the service is not installed (psycopg2 is missing); run: {remedy}")
    assert len(done.stderr.splitlines()) == 1


def test_a_missing_module_of_the_service_is_a_fault():
    done = run("raise ModuleNotFoundError('No module', name='service.domain')")
    assert "Traceback" in done.stderr
