"""Wheels of this project, and empty virtual environments to install them in."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.support.checkout import checkout
from tests.support.processes import environment

TIMEOUT_S = 600


def pip(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """Run pip with the versions of requirements.txt."""
    variables = environment(PIP_CONSTRAINT=str(ROOT / "requirements.txt"))
    return subprocess.run(
        [sys.executable, "-m", "pip", *arguments],
        cwd=cwd, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S,
    )  # fmt: skip


class VirtualEnv:
    """An empty virtual environment.

    It has no pip, which takes seconds to install. The pip of the tests' environment installs into it.

    Attributes:
        bin: The folder of its programs.
    """

    def __init__(self, folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=TIMEOUT_S)
        self.bin = folder / "bin"

    def run(self, *command: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a program as if the environment were activated."""
        variables = environment(PATH=f"{self.bin}:{os.environ['PATH']}", **variables)
        return subprocess.run(
            command, cwd=cwd, env=variables, capture_output=True, text=True, timeout=TIMEOUT_S, stdin=subprocess.DEVNULL
        )

    def install(self, *requirements: str) -> None:
        """Install packages with pip."""
        done = pip("--python", str(self.bin / "python"), "install", "--quiet", "--no-compile", *requirements)
        assert done.returncode == 0, done.stdout + done.stderr

    def packages(self) -> set[str]:
        """Return the names of the installed packages in lower case."""
        listed = pip("--python", str(self.bin / "python"), "list", "--format", "json").stdout
        return {package["name"].lower() for package in json.loads(listed)}


def build_wheel(folder: Path) -> Path:
    """Build the wheel of a clone in isolation, as `pip install .` does; skip the test if pip reaches no index."""
    probe = pip("download", "--no-deps", "--dest", str(folder / "probe"), "click")
    if probe.returncode != 0:
        pytest.skip(f"pip reaches no package index: {probe.stderr.strip().splitlines()[-1]}")
    with checkout() as clone:
        built = pip("wheel", "--no-deps", "--wheel-dir", str(folder), ".", cwd=clone)
    assert built.returncode == 0, built.stdout + built.stderr
    [wheel] = folder.glob("*.whl")
    return wheel
