"""The script that finds interpreters prints usable ones only, the oldest first."""

import os
import subprocess

from tests.conftest import ROOT


def find(**variables: str) -> list[str]:
    done = subprocess.run(
        [ROOT / ".ci" / "pythons"], env={**os.environ, **variables}, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_each_supported_version_is_found_once_in_order():
    code = "import sys; print(*sys.version_info[:2])"
    found = [
        tuple(map(int, subprocess.run([path, "-c", code], capture_output=True, text=True, check=True).stdout.split()))
        for path in find()
    ]
    assert found == sorted(set(found))
    assert set(found) <= {(3, 11), (3, 12), (3, 13), (3, 14)}


def test_an_interpreter_that_cannot_create_environments_is_left_out(tmp_path):
    for version in ("3.11", "3.12", "3.13", "3.14"):
        broken = tmp_path / "bin" / f"python{version}"
        broken.parent.mkdir(exist_ok=True)
        broken.write_text("#!/bin/sh\nexit 1\n")
        broken.chmod(0o755)
    assert find(PATH=f"{tmp_path}/bin:/usr/bin:/bin", PYENV_ROOT=str(tmp_path)) == []
