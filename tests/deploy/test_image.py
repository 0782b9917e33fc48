"""The image: who runs in it, what is in it and what is not."""

import json

import pytest

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def inside(engine, image: str, command: str) -> str:
    """What a shell prints in a container that can write to /tmp only."""
    return engine.run("run", "--rm", "--read-only", "--tmpfs", "/tmp", "--entrypoint", "sh", image, "-c", command)


def test_it_is_nobody_special_and_brings_no_tools(engine, loaner_image):
    assert inside(engine, loaner_image, "id -u; id -g").split() == ["10001", "10001"]
    assert inside(engine, loaner_image, "command -v cc gcc curl /venv/bin/pip || echo none") == "none"
    assert inside(engine, loaner_image, "find /app /venv -writable -not -type l | head") == ""


def test_the_core_is_compiled_and_the_bytecode_is_there(engine, loaner_image):
    program = "import native, service.cli; print(native.IMPLEMENTATION, service.cli.__cached__)"
    core, bytecode = inside(engine, loaner_image, f"python -c '{program}'").split()
    assert core == "compiled"
    assert inside(engine, loaner_image, f"ls {bytecode}") == bytecode


def test_its_arguments_are_those_of_the_program(engine, loaner_image):
    said = engine.run("run", "--rm", "--read-only", "--tmpfs", "/tmp", loaner_image, "--version")
    assert said.startswith("loaner, version ")


def test_what_is_told_of_it(engine, loaner_image):
    (told,) = json.loads(engine.run("inspect", loaner_image))
    config = told["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["python", "service.py"]
    assert list(config["ExposedPorts"]) == ["5555/tcp"]
    assert config["Healthcheck"]["Test"][0] == "CMD"


def test_nothing_gets_in_that_is_not_listed(engine, loaner_image):
    """The context holds keys and settings, see `context`."""
    assert inside(engine, loaner_image, "cd /app && ls -A").split() == [
        "__pycache__", "healthcheck.py", "native", "security", "service", "service.py",
    ]  # fmt: skip
    assert inside(engine, loaner_image, "grep -rl planted-secret /app /venv || echo none") == "none"
    assert "planted-secret" not in engine.run("history", "--no-trunc", loaner_image)
