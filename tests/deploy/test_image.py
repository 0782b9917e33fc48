"""The image: its user, its contents, and what must not be in it."""

import json

import pytest

from service import __version__
from tests.deploy.test_packages import required

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def inside(engine, image: str, command: str) -> str:
    """Run a shell command in a container that can write only to /tmp, and return its output."""
    return engine.run("run", "--rm", "--read-only", "--tmpfs", "/tmp", "--entrypoint", "sh", image, "-c", command)


def test_image_runs_unprivileged_and_has_no_tools(engine, loaner_image):
    assert inside(engine, loaner_image, "id -u; id -g").split() == ["10001", "10001"]
    assert inside(engine, loaner_image, "command -v cc gcc curl /venv/bin/pip || echo none") == "none"
    assert inside(engine, loaner_image, "find /app /venv -writable -not -type l | head") == ""


def test_core_and_bytecode_are_compiled(engine, loaner_image):
    program = "import native, service.cli; print(native.IMPLEMENTATION, service.cli.__cached__)"
    core, bytecode = inside(engine, loaner_image, f"python -c '{program}'").split()
    assert core == "compiled"
    assert inside(engine, loaner_image, f"ls {bytecode}") == bytecode


def test_arguments_are_passed_to_the_service(engine, loaner_image):
    output = engine.run("run", "--rm", "--read-only", "--tmpfs", "/tmp", loaner_image, "--version")
    assert output.startswith("loaner, version ")


def test_image_declares_user_entrypoint_port_and_health_check(engine, loaner_image):
    (image,) = json.loads(engine.run("inspect", loaner_image))
    config = image["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["python", "service.py"]
    assert list(config["ExposedPorts"]) == ["5555/tcp"]
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_image_names_its_version_and_revision(engine, loaner_image):
    (image,) = json.loads(engine.run("inspect", loaner_image))
    labels = {name.rpartition(".")[2]: value for name, value in image["Config"]["Labels"].items()}
    assert labels.items() >= {"title": "loaner", "version": __version__, "licenses": "Apache-2.0"}.items()
    assert labels["revision"]


def test_image_lists_its_packages(engine, loaner_image):
    listed = json.loads(inside(engine, loaner_image, "cat /app/sbom.cdx.json"))
    assert listed["bomFormat"] == "CycloneDX"
    components = {component["name"].lower(): component["version"] for component in listed["components"]}
    assert components["granian"] == required()["granian"]
    assert not components.keys() & {"pip", "cyclonedx-bom", "cython"}


def test_only_listed_files_get_into_the_image(engine, loaner_image):
    """The fixture `context` plants keys and settings in the build context."""
    assert inside(engine, loaner_image, "cd /app && ls -A").split() == [
        "__pycache__", "healthcheck.py", "native", "sbom.cdx.json", "security", "service", "service.py",
    ]  # fmt: skip
    assert inside(engine, loaner_image, "grep -rl planted-secret /app /venv || echo none") == "none"
    assert "planted-secret" not in engine.run("history", "--no-trunc", loaner_image)
