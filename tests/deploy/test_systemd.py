"""deploy/systemd/loaner.service is valid, hardened, and leaves the service the time and the rights that it needs."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.runtime.server import KILL_TIMEOUT_S
from service.settings import ServerSettings
from tests.conftest import ROOT
from tests.support.ports import free_port
from tests.support.processes import ask, reach, started, wait_until_up

UNIT = ROOT / "deploy" / "systemd" / "loaner.service"
MAX_EXPOSURE = 20  # in tenths; `systemd-analyze` calls less than 2.0 OK
# What systemd does for MemoryDenyWriteExecute=yes on Linux 6.3 and later; inherited by the program and its children.
DENY_WRITE_EXECUTE = """#!{python}
import ctypes, os, sys
if ctypes.CDLL(None, use_errno=True).prctl(65, 1, 0, 0, 0):
    sys.exit("no PR_SET_MDWE")
os.execv("{python}", ["{python}", "{program}"])
"""


@pytest.fixture
def unit(tmp_path) -> Path:
    """The unit with a program that exists."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/loaner/bin/loaner", "/bin/true"))
    return copy


def test_the_unit_is_valid(unit):
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", unit], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_is_hardened(unit):
    command = ["systemd-analyze", "security", "--no-pager", "--offline=true", f"--threshold={MAX_EXPOSURE}", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_a_stop_has_the_time_to_drain_and_only_the_parent_process_gets_the_signal():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(UNIT)
    service = parser["Service"]
    assert float(service["TimeoutStopSec"].removesuffix("s")) > ServerSettings().drain_s + KILL_TIMEOUT_S
    assert service["KillMode"] == "mixed"


def test_the_service_runs_without_memory_that_is_writable_and_executable(settings, keys_dir, tmp_path):
    wrapper = tmp_path / "loaner"
    wrapper.write_text(DENY_WRITE_EXECUTE.format(python=sys.executable, program=ROOT / "service.py"))
    wrapper.chmod(0o755)
    port = free_port()
    variables = {
        **reach(settings), "KEYS_DIR": str(keys_dir), "SERVICE_DISCOVERY": "none", "LISTEN_HOST": "127.0.0.1",
        "PORT": str(port), "WORKERS": "1", "DRAIN_S": "0",
    }  # fmt: skip
    with started(cwd=tmp_path, program=wrapper, **variables) as (process, read_log):
        try:
            wait_until_up(process, f"http://127.0.0.1:{port}/healthcheck", read_log)
        except AssertionError:
            if "no PR_SET_MDWE" in read_log():
                pytest.skip("Linux before 6.3 cannot deny this to a single process")
            raise
        assert ask(f"http://127.0.0.1:{port}/ready")[0] == 200
