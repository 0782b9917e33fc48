"""Which build of the core is in use, and that one asks for it by name."""

import os
import subprocess
import sys
from datetime import date

import pytest

import native
from tests.conftest import ROOT


def _implementation(folder, asked: str | None) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name != "LOANER_NATIVE"}
    if asked is not None:
        environment["LOANER_NATIVE"] = asked
    command = [sys.executable, "-c", "import native; print(native.IMPLEMENTATION)"]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


@pytest.fixture
def source_only(tmp_path):
    """A copy of the core that was never compiled."""
    (tmp_path / "native").mkdir()
    for path in (ROOT / "native").glob("*.py"):
        (tmp_path / "native" / path.name).write_text(path.read_text())
    return tmp_path


def test_without_a_compiled_core_the_source_runs(source_only):
    assert _implementation(source_only, None).stdout.strip() == "interpreted"


def test_asking_for_a_compiled_core_that_is_missing_is_an_error(source_only):
    asked = _implementation(source_only, "compiled")
    assert asked.returncode != 0
    assert "LOANER_NATIVE: the compiled core is missing" in asked.stderr


def test_an_unknown_build_is_an_error_that_names_the_setting(source_only):
    assert "LOANER_NATIVE: expected compiled or interpreted, not 'fast'" in _implementation(source_only, "fast").stderr


def test_the_interpreted_core_can_be_asked_for():
    assert _implementation(ROOT, "interpreted").stdout.strip() == "interpreted"


@pytest.mark.parametrize(
    ("day", "number"), [("1970-01-01", 0), ("1969-12-31", -1), ("2020-02-29", 18321), ("9999-12-31", 2932896)]
)
def test_days_count_from_1970(day, number):
    assert native.day_number(date.fromisoformat(day)) == number
    assert native.to_date(number) == date.fromisoformat(day)
