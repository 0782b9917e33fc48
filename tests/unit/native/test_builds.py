"""Selection of the compiled or interpreted build, and day numbers."""

import os
import subprocess
import sys
from datetime import date

import pytest

import native
from tests.conftest import ROOT


def print_implementation(directory, requested: str | None) -> subprocess.CompletedProcess[str]:
    """Import the core in a new process, with LOANER_NATIVE set to `requested` or unset."""
    environment = {name: value for name, value in os.environ.items() if name != "LOANER_NATIVE"}
    if requested is not None:
        environment["LOANER_NATIVE"] = requested
    command = [sys.executable, "-c", "import native; print(native.IMPLEMENTATION)"]
    return subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True)


@pytest.fixture
def source_only(tmp_path):
    """A directory with a copy of the core that is not compiled."""
    (tmp_path / "native").mkdir()
    for path in (ROOT / "native").glob("*.py"):
        (tmp_path / "native" / path.name).write_text(path.read_text())
    return tmp_path


def test_source_runs_interpreted_without_compiled_core(source_only):
    assert print_implementation(source_only, None).stdout.strip() == "interpreted"


def test_selecting_missing_compiled_core_fails(source_only):
    done = print_implementation(source_only, "compiled")
    assert done.returncode != 0
    assert "LOANER_NATIVE=compiled: the compiled core is missing" in done.stderr


def test_selecting_unknown_build_fails_and_names_the_setting(source_only):
    done = print_implementation(source_only, "fast")
    assert "LOANER_NATIVE: expected compiled or interpreted, not 'fast'" in done.stderr


def test_interpreted_core_can_be_selected():
    assert print_implementation(ROOT, "interpreted").stdout.strip() == "interpreted"


@pytest.mark.parametrize(
    ("day", "number"), [("1970-01-01", 0), ("1969-12-31", -1), ("2020-02-29", 18321), ("9999-12-31", 2932896)]
)
def test_day_numbers_count_from_1970(day, number):
    assert native.day_number(date.fromisoformat(day)) == number
    assert native.to_date(number) == date.fromisoformat(day)
