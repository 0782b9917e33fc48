"""The factory against a real sshd and container engine: what runs on the host after each success and failure."""

import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_network
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.conftest import ROOT
from tests.deploy.engine import Engine
from tests.deploy.ssh_host import SshHost, make_key
from tests.fakes import tcp_proxy
from tests.fakes.kong import fake_kong
from tests.support.ports import free_port

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

PASSWORD = "a-made-up-password"
NUMBERS = count()
IMAGES = "{{.ID}} {{.Repository}} {{.Tag}}"
PASSED_ON = ("PATH", "HOME", "DOCKER_HOST")  # other variables of this environment may be settings


@dataclass
class Site:
    """A container name on the host, and the factory that deploys to it."""

    engine: Engine
    host: SshHost
    keys: Path
    name: str = field(default_factory=lambda: f"factory-test-{os.getpid()}-{next(NUMBERS)}")
    port: int = field(default_factory=free_port)
    sent: set[str] = field(default_factory=set)

    def start(self, image: str, *options: str, target: str = "", **settings: str) -> subprocess.Popen[str]:
        environment = {
            **{name: value for name, value in self.engine.environment.items() if name in PASSED_ON},
            "CONTAINER": self.name, "PORT": str(self.port), "LISTEN_HOST": "127.0.0.1", "KEYS_DIR": str(self.keys),
            "SSH_CONFIG": str(self.host.config), "PATIENCE_S": "40", "PSQL_HOST": "db", "PSQL_PW": PASSWORD,
            **settings,
        }  # fmt: skip
        command = [sys.executable, "-m", "deploy.factory", "--image", image, *options, target or self.host.target]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def deploy(self, image: str, *options: str, **settings: str) -> tuple[int, str]:
        """Return the factory's exit status and its output."""
        with self.start(image, *options, **settings) as process:
            output, _ = process.communicate(timeout=120)
        assert PASSWORD not in output
        self.sent.update(re.findall(r"(?m)^3/4 transfer (\S+)", output))
        return process.returncode, output

    def deployed(self, image: str, **settings: str) -> str:
        status, output = self.deploy(image, **settings)
        assert status == 0, output
        return output

    def report(self) -> dict:
        """What the small service reports about its container."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/report", timeout=5) as reply:
            return json.load(reply)

    def release(self) -> str:
        return self.report()["release"]

    def containers(self) -> dict[str, str]:
        """The state of each container of this site, by the suffix of its name."""
        form = "{{.Names}} {{.State}}"
        lines = self.engine.run("ps", "--all", "--filter", f"name=^/{self.name}", "--format", form).splitlines()
        return {name.removeprefix(self.name): state for name, state in map(str.split, lines)}

    def volumes(self) -> list[str]:
        return self.engine.run("volume", "ls", "--quiet", "--filter", f"label=factory.of={self.name}").split()

    def clear(self) -> None:
        for suffix in self.containers():
            self.engine.run("rm", "--force", self.name + suffix)
        for volume in self.volumes():
            self.engine.run("volume", "rm", volume)
        for tag in self.sent:
            subprocess.run(["docker", "rmi", tag], env=self.engine.environment, capture_output=True)
        Path(f"/tmp/factory-{self.name}.lock").unlink(missing_ok=True)


@pytest.fixture
def site(engine, ssh_host, keys_dir) -> Iterator[Site]:
    site = Site(engine, ssh_host, keys_dir)
    yield site
    site.clear()


@pytest.fixture(scope="session")
def small(engine, tmp_path_factory) -> Iterator[Callable[..., str]]:
    """Build small images that stand in for releases of the service and behave as requested."""
    folder = tmp_path_factory.mktemp("small")
    for file in ("deploy/docker/healthcheck.py", "tests/deploy/small/Dockerfile", "tests/deploy/small/small.py"):
        shutil.copy(ROOT / file, folder)
    repository = f"loaner-test/small-{os.getpid()}"
    tags = set()

    def build(release: str, behavior: str = "well") -> str:
        tag = f"{repository}:{release}-{behavior}"
        build_arguments = {"BASE": engine.base, "RELEASE": release, "BEHAVIOR": behavior}
        arguments = [part for name, value in build_arguments.items() for part in ("--build-arg", f"{name}={value}")]
        engine.run("build", "--tag", tag, *arguments, str(folder))
        tags.add(tag)
        return tag

    yield build
    for tag in engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", repository).split():
        engine.run("rmi", "--force", tag)


@contextmanager
def watched_command_lines() -> Iterator[set[str]]:
    """Collect the command lines of all processes of this machine while it is open."""
    lines: set[str] = set()
    stopped = threading.Event()

    def watch() -> None:
        while not stopped.wait(0.002):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    lines.add(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # the process has exited

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lines
    finally:
        stopped.set()
        thread.join()


def read_until(process: subprocess.Popen[str], words: str) -> None:
    """Read output up to a line that contains these words."""
    for line in process.stdout:
        if words in line:
            return
    pytest.fail(f"the factory exited without printing: {words}")


def kill(matches: Callable[[list[bytes]], bool]) -> None:
    """Kill the processes with a matching command line. Match only names that this test made unique."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # the process has exited
            if matches(file.read_bytes().split(b"\0")):
                os.kill(int(file.parent.name), signal.SIGKILL)


def wait_until(condition: Callable[[], bool], within_s: float = 40) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_first_deployment_sends_settings_keys_and_files_and_hardens_the_container(site, small, tmp_path):
    certificate = tmp_path / "kong.pem"
    certificate.write_text("a certificate")
    output = site.deployed(
        small("1"), LOG_LEVEL="DEBUG", PSQL_ADMIN_PW="local-only", API_GATEWAY_CA=str(certificate), MEMORY="64m"
    )
    assert "MB with zstd" in output or "MB with gzip" in output
    report = site.report()
    assert report["variables"]["LOG_LEVEL"] == "DEBUG"
    assert report["variables"]["SERVICE_PORT"] == str(site.port)
    assert report["variables"]["API_GATEWAY_CA"] == "/run/secrets/files/api_gateway_ca"
    assert report["files"] == {
        "psql_pw": PASSWORD,
        "files/api_gateway_ca": "a certificate",
        **{f"microkubes/{name}": (site.keys / name).read_text() for name in ("loaner", "loaner.pub", "default.pub")},
    }
    assert {report["modes"][place] for place in ("microkubes", "files")} == {"0o700"}
    assert {report["modes"][file] for file in report["files"]} == {"0o600"}
    assert (report["user"], report["writable"]) == ([10001, 10001], ["/tmp"])
    assert int(report["capabilities"], 16) == 0
    assert site.containers() == {"": "running"}
    limits = site.engine.run(
        "inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}", site.name
    )
    assert limits == f"{64 << 20} unless-stopped"


def test_no_secret_is_in_a_command_line_an_image_or_the_output_of_docker(site, small):
    with watched_command_lines() as lines:
        site.deployed(small("1"))
    private = (site.keys / "loaner").read_text().splitlines()[5]
    shown = site.engine.run("inspect", site.name, *site.volumes()) + site.engine.run(
        "history", "--no-trunc", small("1")
    )
    assert any("docker create" in line for line in lines)
    for secret in (PASSWORD, private):
        assert not [line for line in lines if secret in line]
        assert secret not in shown


def test_upgrade_keeps_only_the_previous_release(site, small):
    for release in ("1", "2", "3"):
        site.deployed(small(release))
        assert site.release() == release
    assert site.containers() == {"": "running", "-previous": "exited"}
    assert len(site.volumes()) == 2
    images = site.engine.run("ps", "--all", "--filter", f"name=^/{site.name}", "--format", "{{.Image}}").split()
    assert [image.partition(":")[2][0] for image in images] == ["3", "2"]
    assert not [tag for tag in site.engine.run("images", "--format", "{{.Tag}}").split() if tag.startswith("1-well-")]


def test_image_that_the_host_has_is_not_sent_again(site, small):
    site.deployed(small("1"))
    assert "the host has this image already" in site.deployed(small("1"))
    assert site.containers() == {"": "running", "-previous": "exited"}


def test_without_zstd_the_image_is_compressed_with_gzip(site, small, tmp_path):
    for tool in ("docker", "gzip", "ssh"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    assert "MB with gzip" in site.deployed(small("gzip"), PATH=str(tmp_path))
    assert site.release() == "gzip"


@pytest.mark.parametrize(("behavior", "reason"), [("ends", "it exited"), ("unready", "it is alive but not ready")])
def test_broken_image_is_rolled_back(site, small, behavior, reason):
    site.deployed(small("1"))
    status, output = site.deploy(small("2", behavior), PATIENCE_S="15")
    assert status == 1
    assert reason in output
    assert output.rstrip().endswith("rolled back: the previous container is ready again")
    if behavior == "ends":
        assert "  | cannot start with ********" in output
    assert site.release() == "1"
    assert site.containers() == {"": "running"}
    assert len(site.volumes()) == 1


def test_broken_first_deployment_leaves_nothing(site, small):
    status, output = site.deploy(small("1", "ends"))
    assert (status, site.containers(), site.volumes()) == (1, {}, [])
    assert f"no container is running: no earlier container {site.name} to roll back to" in output


def test_occupied_port_is_reported_and_rolled_back(site, small):
    site.deployed(small("1"))
    taken = free_port()
    blocker = site.engine.run("run", "--detach", "--rm", "--publish", f"127.0.0.1:{taken}:5555", small("9"))
    try:
        status, output = site.deploy(small("2"), PORT=str(taken))
    finally:
        site.engine.run("stop", "--time", "0", blocker)
    assert status == 1
    assert "port is already allocated" in output
    assert site.release() == "1"


def test_lost_connection_does_not_stop_the_replacement(site, small):
    site.deployed(small("1"))
    with site.start(small("2", "late")) as process:
        read_until(process, "starting the new container")
        kill(lambda line: line[0] == b"ssh" and str(site.host.config).encode() in line)
        process.communicate(timeout=20)
    assert process.returncode == 1
    wait_until(lambda: site.containers() == {"": "running", "-previous": "exited"})
    assert site.release() == "2"
    site.deployed(small("3"))
    assert site.release() == "3"


def test_interruption_during_the_replacement_says_that_the_host_continues(site, small):
    with site.start(small("1", "late")) as process:
        read_until(process, "starting the new container")
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "interrupted; the host completes the replacement or rolls it back" in output
    wait_until(lambda: site.containers() == {"": "running"})


def test_next_run_repairs_a_replacement_that_was_killed_halfway(site, small):
    site.deployed(small("1"))
    with site.start(small("2", "late")) as process:
        read_until(process, "waiting up to 40 s")
        kill(lambda line: line[:2] == [b"sh", b"-c"] and site.name.encode() in line)
        process.communicate(timeout=20)
    assert process.returncode == 1
    assert site.containers() == {"": "exited", "-next": "running"}
    status, output = site.deploy(small("3", "ends"))
    assert status == 1
    assert "an earlier run was interrupted: removed its container" in output
    assert (site.release(), site.containers()) == ("1", {"": "running"})


def test_next_run_repairs_a_replacement_that_was_killed_between_the_renames(site, small):
    site.deployed(small("1"))
    site.deployed(small("2"))
    site.engine.run("rename", site.name, f"{site.name}-next")
    status, output = site.deploy(small("3", "ends"))
    assert status == 1
    assert f"an earlier run was interrupted: restored container {site.name}" in output
    assert (site.release(), site.containers()) == ("2", {"": "running", "-previous": "exited"})


def test_second_deployment_at_the_same_time_is_rejected(site, small):
    site.deployed(small("1"))
    with Path(f"/tmp/factory-{site.name}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, output = site.deploy(small("2"))
    assert status == 1
    assert f"another deployment of {site.name} is running" in output
    assert site.release() == "1"


def test_dry_run_prints_the_commands_and_changes_nothing(site, small, tmp_path):
    image = small("1")
    unreachable = site.host.config_with(tmp_path, Port=1)
    before = site.engine.run("images", "--no-trunc", "--format", IMAGES).splitlines()
    status, output = site.deploy(image, "--dry-run", SSH_CONFIG=str(unreachable))
    assert status == 0
    assert "$ docker save" in output
    assert "StrictHostKeyChecking=yes" in output
    assert "secret PSQL_PW=********" in output
    assert (site.containers(), site.volumes()) == ({}, [])
    assert site.engine.run("images", "--no-trunc", "--format", IMAGES).splitlines() == before


def test_unknown_host_key_is_rejected_in_spite_of_the_ssh_configuration(site, small, tmp_path):
    (tmp_path / "known_hosts").touch()
    changes = {"UserKnownHostsFile": tmp_path / "known_hosts", "StrictHostKeyChecking": "no"}
    status, output = site.deploy(small("1"), SSH_CONFIG=str(site.host.config_with(tmp_path, **changes)))
    assert (status, site.containers()) == (1, {})
    assert "its host key is not known" in output
    assert (tmp_path / "known_hosts").read_text() == ""


def test_changed_host_key_is_rejected(site, small, tmp_path):
    port = site.host.target.rpartition(":")[2]
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {make_key(tmp_path / 'other')}")
    config = site.host.config_with(tmp_path, UserKnownHostsFile=tmp_path / "known_hosts", StrictHostKeyChecking="no")
    status, output = site.deploy(small("1"), SSH_CONFIG=str(config))
    assert (status, site.containers()) == (1, {})
    assert "its host key has changed" in output


def test_rejected_login_key_is_reported(site, small, tmp_path):
    make_key(tmp_path / "identity")
    config = site.host.config_with(tmp_path, IdentityFile=tmp_path / "identity")
    status, output = site.deploy(small("1"), SSH_CONFIG=str(config))
    assert (status, site.containers()) == (1, {})
    assert "it does not accept your key" in output


def test_unreachable_host_is_reported(site, small, tmp_path):
    config = site.host.config_with(tmp_path, HostName="127.0.0.1", Port=free_port())
    status, output = site.deploy(small("1"), SSH_CONFIG=str(config), target="no-such-host")
    assert status == 1
    assert "no-such-host cannot be reached" in output
    assert "Connection refused" in output


@contextmanager
def reachable_by_containers(engine: Engine, port: int) -> Iterator[str]:
    """The address at which containers reach a server that listens on this loopback port."""
    subnet = engine.run("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}")
    gateway = str(ip_network(subnet)[1])
    with tcp_proxy.running(tcp_proxy.TcpProxy(port, gateway)) as proxy:
        yield f"{gateway}:{proxy.port}"


@pytest.mark.timeout(900)
def test_the_real_service_is_deployed_and_a_failed_start_is_explained(site, loaner_image, settings, bearer):
    wanted = {
        "PSQL_DB": settings.database, "PSQL_USER": settings.user, "PSQL_PW": settings.password.get_secret_value(),
        "WORKERS": "1", "PATIENCE_S": "90",
    }  # fmt: skip
    with fake_kong.running(fake_kong.FakeKong()) as kong, ExitStack() as proxies:
        ports = {"PSQL_HOST": settings.port, "API_GATEWAY_URL": urlsplit(kong.url).port}
        addresses = {
            name: proxies.enter_context(reachable_by_containers(site.engine, port)) for name, port in ports.items()
        }
        wanted |= {"PSQL_HOST": addresses["PSQL_HOST"], "API_GATEWAY_URL": f"http://{addresses['API_GATEWAY_URL']}"}
        site.deployed(loaner_image, **wanted)
        assert kong.services["loaner"]["port"] == site.port  # the published port, not the port in the container
        request = urllib.request.Request(f"http://127.0.0.1:{site.port}/status", headers=bearer)
        with urllib.request.urlopen(request, timeout=5) as reply:
            assert reply.status == 200
        status, output = site.deploy(loaner_image, **(wanted | {"PSQL_PW": "wrong-password"}))
        assert status == 1
        assert "PSQL_PW" in output
        assert "wrong-password" not in output
        with urllib.request.urlopen(request, timeout=5) as reply:
            assert reply.status == 200
