"""The script that compiles the core prints each step, and a failure is one line."""

import os
import shutil
import subprocess
import sys
from importlib.machinery import EXTENSION_SUFFIXES

import pytest

from tests.conftest import ROOT


@pytest.fixture
def project(tmp_path):
    """A folder with the script and three modules that are quick to compile."""
    folder = tmp_path / "native"
    folder.mkdir()
    shutil.copy(ROOT / "native" / "build.py", folder)
    for name in ("one", "three", "two"):
        (folder / f"{name}.py").write_text("# cython: language_level=3\n")
        (folder / f"{name}.c").write_text(f"int {name};\n")
    return tmp_path


def build(project, **variables):
    return subprocess.run(
        [sys.executable, "native/build.py", "arch"],
        cwd=project, env={**os.environ, **variables}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip


def built(project):
    return sorted(path.name for suffix in EXTENSION_SUFFIXES[:1] for path in project.glob(f"native/*{suffix}"))


@pytest.mark.skipif(shutil.which("cc") is None, reason="install a C compiler")
def test_each_module_is_a_line_and_the_last_line_has_the_time(project):
    done = build(project)
    assert done.returncode == 0, done.stderr
    first, *steps, last = done.stderr.splitlines()
    assert first == "Compiling the core: 3 modules, once"
    assert [step.split(":")[0] for step in steps] == ["  1 of 3", "  2 of 3", "  3 of 3"]
    assert sorted(step.split()[3].strip(",") for step in steps) == ["native.one", "native.three", "native.two"]
    assert last.startswith("Compiled the core in ")
    assert built(project) == [f"{name}{EXTENSION_SUFFIXES[0]}" for name in ("one", "three", "two")]


def test_a_failure_is_one_line_and_leaves_no_old_module(project):
    (project / "native" / f"one{EXTENSION_SUFFIXES[0]}").touch()
    done = build(project, CC="false")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("Error: compiling the core failed: ")
    assert "Traceback" not in done.stderr
    assert built(project) == []
