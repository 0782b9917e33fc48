"""The commands of the documents work as they are written.

A shell block runs here if its fence says `sh test`. In a block with prompts (`$ `), other lines are the output.
"""

import re
import subprocess
import sys

from tests.architecture.word_list import tracked_files
from tests.conftest import ROOT
from tests.support.checkout import checkout
from tests.support.ports import free_port
from tests.support.processes import started, wait_until_up

DOCUMENTED_URL = "http://localhost:5555"
_BLOCK = re.compile(r"(?ms)^```sh test\n(.*?)^```$")
# a reply of 400 or above fails the block
_PREAMBLE = 'set -euo pipefail; curl() { command curl --silent --show-error --fail-with-body "$@"; }\n'


def documented_commands():
    """Yield each block as (place, commands, output or None); README.md first, because its output needs fresh data."""
    for path in sorted(tracked_files(ROOT, "*.md"), key=lambda path: (path != ROOT / "README.md", path)):
        text = path.read_text()
        for match in _BLOCK.finditer(text):
            line = text.count("\n", 0, match.start()) + 1
            lines = match[1].splitlines()
            prompted = [each[2:] for each in lines if each.startswith("$ ")]
            output = "\n".join(each for each in lines if not each.startswith("$ "))
            yield f"{path.relative_to(ROOT)}:{line}", *((prompted, output) if prompted else (lines, None))


def test_documented_commands_run_on_a_standalone_service():
    blocks = list(documented_commands())
    assert blocks[0][0].startswith("README.md")
    url = f"http://localhost:{(port := free_port())}"
    with checkout() as clone, started("--standalone", cwd=clone, PORT=str(port), WORKERS="1") as (process, read_log):
        wait_until_up(process, f"{url}/healthcheck", read_log)
        (clone / ".venv").symlink_to(sys.prefix)
        for place, commands, output in blocks:
            script = _PREAMBLE + "\n".join(commands).replace(DOCUMENTED_URL, url)
            done = subprocess.run(["bash", "-c", script], cwd=clone, capture_output=True, text=True, timeout=30)
            assert done.returncode == 0, f"{place}: {done.stdout}{done.stderr}"
            assert output in (None, done.stdout.strip()), place
