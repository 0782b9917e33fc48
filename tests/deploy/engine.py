"""A container engine, the images that tests build with it, and a build context.

Nothing is pulled: base images are made from Debian packages with debootstrap.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pytest

from tests.conftest import ROOT

SUITE, SUITE_PYTHON = "bookworm", "3.11"
START_S = 30
PYTHON = "ca-certificates,python3,python3-venv"
NOT_COPIED = shutil.ignore_patterns(".*_cache", ".git", ".local", ".venv", "__pycache__", "secrets")
TOOLS = f"{PYTHON},gcc,libc6-dev,python3-dev,memcached,netcat-openbsd,nginx-light,postgresql,wget"


class Engine:
    """A running Docker engine.

    Args:
        host: Address of the engine; None uses Docker's default.
    """

    def __init__(self, host: str | None = None) -> None:
        self.environment = {**os.environ, **({"DOCKER_HOST": host} if host else {})}

    def run(self, *arguments: str, **options: object) -> str:
        """Run docker and return its output; fail the test, with the output, if docker fails."""
        done = subprocess.run(
            ["docker", *arguments], env=self.environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            **options,
        )  # fmt: skip
        assert done.returncode == 0, f"docker {' '.join(arguments)}: {done.returncode}\n{done.stdout}"
        return done.stdout.strip()

    def has(self, image: str) -> bool:
        """Return whether the engine has this image."""
        return bool(self.run("images", "--quiet", image))

    @cached_property
    def base(self) -> str:
        """An image with Python, for the Dockerfile's BASE."""
        return self._bootstrapped("base", PYTHON)

    @cached_property
    def tools(self) -> str:
        """The same with a compiler, for BUILD_BASE, and with servers that replace the images of docker-compose.yml."""
        return self._bootstrapped("tools", TOOLS)

    def build(self, context: Path, tag: str) -> str:
        """Build the service's image from a context with wheels, on the images above, without network access."""
        arguments = {"BASE": self.base, "BUILD_BASE": self.tools, "INDEX": ""}
        build_arguments = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        self.run(
            "build", "--network", "none", "--file", str(context / "deploy" / "docker" / "Dockerfile"), "--tag", tag,
            *build_arguments, str(context),
        )  # fmt: skip
        return tag

    def _bootstrapped(self, name: str, packages: str) -> str:
        image = f"loaner-test/{name}:{SUITE}"
        if not self.has(image):
            if shutil.which("debootstrap") is None or os.geteuid() != 0:
                pytest.skip(f"building {image} requires root and debootstrap")
            with tempfile.TemporaryDirectory(prefix="loaner-debootstrap-") as folder:
                root = Path(folder) / "root"
                command = ["debootstrap", "--variant=minbase", f"--include={packages}", SUITE, str(root)]
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
                if done.returncode != 0:
                    pytest.skip(f"debootstrap could not build {image}: {done.stdout[-500:]}")
                tree = ["tar", "--directory", str(root), "--exclude=./var/cache/apt/archives/*.deb", "--create", "."]
                with subprocess.Popen(tree, stdout=subprocess.PIPE) as archive:
                    self.run("import", "-", image, stdin=archive.stdout)
        return image


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    """The engine that is running, or else one that this test run starts."""
    if shutil.which("docker") is None:
        pytest.skip("docker is not installed")
    if _answers(Engine()):
        yield Engine()
    elif shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.skip("no container engine is running, and starting one requires root and dockerd")
    else:
        with _started_engine() as started:
            yield started


@pytest.fixture(scope="session")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build context: the project's files, every wheel of the image, and secrets that must not get into the image."""
    folder = tmp_path_factory.mktemp("context") / "loaner"
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
    for secret in (".auth", ".env", "clients.json", "keys/loaner", "service/.env", "deploy/docker/wheels/loaner.pem"):
        (folder / secret).write_text("planted-secret")
    locks = folder / "deploy" / "docker"
    command = [
        sys.executable, "-m", "pip", "download", "--quiet", "--only-binary", ":all:", "--require-hashes",
        "--python-version", SUITE_PYTHON, "--requirement", str(locks / "build.lock"),
        "--requirement", str(locks / "run.lock"), "--dest", str(locks / "wheels"),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        pytest.skip(f"downloading the wheels of the image failed: {done.stdout[-500:]}")
    return folder


@pytest.fixture(scope="session")
def loaner_image(engine: Engine, context: Path) -> Iterator[str]:
    """The service's image."""
    yield (tag := engine.build(context, f"loaner:test-{os.getpid()}"))
    engine.run("rmi", "--force", tag)


def _answers(engine: Engine) -> bool:
    done = subprocess.run(["docker", "version"], env=engine.environment, capture_output=True, timeout=START_S)
    return done.returncode == 0


@contextmanager
def _started_engine() -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix="loaner-engine-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        host = f"unix://{folder}/docker.sock"
        command = [
            "dockerd", "--host", host, "--data-root", str(folder / "data"), "--exec-root", str(folder / "exec"),
            "--pidfile", str(folder / "dockerd.pid"),
        ]  # fmt: skip
        with (folder / "log").open("w+") as output:
            daemon = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
            try:
                engine = Engine(host)
                deadline = time.monotonic() + START_S
                while not _answers(engine):
                    if daemon.poll() is not None or time.monotonic() > deadline:
                        output.seek(0)
                        pytest.skip(f"dockerd did not start: {output.read()[-500:]}")
                    time.sleep(0.2)
                yield engine
            finally:
                daemon.terminate()
                daemon.wait(START_S)
