"""The build commands in the document of the earlier Loaner."""

import re
import subprocess

import pytest

from tests.conftest import ROOT
from tests.support.seeds import document

TARGETS = sorted(set(re.findall(r"(?:make |`)(build(?:-\w+)?)\b", document("loaner"))))


def test_the_document_has_build_commands():
    assert TARGETS == ["build", "build-arch", "build-local", "build-source"]


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_the_target(target):
    done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "native/build.py" in done.stdout


def test_the_file_of_requirements_has_its_name():
    assert "pip install -r requirements.txt" in document("loaner")
    assert (ROOT / "requirements.txt").is_file()
