"""The Docker factory against an sshd and an engine: what runs on the host afterwards, whatever went wrong."""

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
from tests.fakes.kong import fake_kong as stand_in
from tests.support.processes import free_port

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

PASSWORD = "a-made-up-password"
NUMBERS = count()
IMAGES = "{{.ID}} {{.Repository}} {{.Tag}}"
KEPT = ("PATH", "HOME", "DOCKER_HOST")  # of this environment, which may have settings of its own


@dataclass
class Site:
    """One container name on the host, and the factory that deploys there."""

    engine: Engine
    host: SshHost
    keys: Path
    name: str = field(default_factory=lambda: f"factory-test-{os.getpid()}-{next(NUMBERS)}")
    port: int = field(default_factory=free_port)
    sent: set[str] = field(default_factory=set)

    def start(self, image: str, *options: str, target: str = "", **settings: str) -> subprocess.Popen[str]:
        environment = {
            **{name: value for name, value in self.engine.environment.items() if name in KEPT},
            "CONTAINER": self.name, "PORT": str(self.port), "LISTEN_HOST": "127.0.0.1", "KEYS_DIR": str(self.keys),
            "SSH_CONFIG": str(self.host.config), "PATIENCE_S": "40", "PSQL_HOST": "db", "PSQL_PW": PASSWORD,
            **settings,
        }  # fmt: skip
        command = [sys.executable, "-m", "deploy.factory", "--image", image, *options, target or self.host.target]
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def deploy(self, image: str, *options: str, **settings: str) -> tuple[int, str]:
        """Returns: the factory's status, and what it said."""
        with self.start(image, *options, **settings) as process:
            said, _ = process.communicate(timeout=120)
        assert PASSWORD not in said
        self.sent.update(re.findall(r"(?m)^3/4 ship (\S+)", said))
        return process.returncode, said

    def deployed(self, image: str, **settings: str) -> str:
        status, said = self.deploy(image, **settings)
        assert status == 0, said
        return said

    def seen(self) -> dict:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/seen", timeout=5) as reply:
            return json.load(reply)

    def release(self) -> str:
        return self.seen()["release"]

    def containers(self) -> dict[str, str]:
        """The state of each container of this name, by what is behind the name."""
        form = "{{.Names}} {{.State}}"
        lines = self.engine.run("ps", "--all", "--filter", f"name=^/{self.name}", "--format", form).splitlines()
        return {name.removeprefix(self.name): state for name, state in map(str.split, lines)}

    def volumes(self) -> list[str]:
        return self.engine.run("volume", "ls", "--quiet", "--filter", f"label=factory.of={self.name}").split()

    def clear(self) -> None:
        for behind in self.containers():
            self.engine.run("rm", "--force", self.name + behind)
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
    """Makes a small image of a release that behaves in a certain way."""
    folder = tmp_path_factory.mktemp("small")
    for file in ("deploy/docker/healthcheck.py", "tests/deploy/small/Dockerfile", "tests/deploy/small/small.py"):
        shutil.copy(ROOT / file, folder)
    repository = f"loaner-test/small-{os.getpid()}"
    tags = set()

    def make(release: str, behaviour: str = "well") -> str:
        tag = f"{repository}:{release}-{behaviour}"
        given = {"BASE": engine.base, "RELEASE": release, "BEHAVIOUR": behaviour}
        arguments = [part for name, value in given.items() for part in ("--build-arg", f"{name}={value}")]
        engine.run("build", "--tag", tag, *arguments, str(folder))
        tags.add(tag)
        return tag

    yield make
    for tag in engine.run("images", "--format", "{{.Repository}}:{{.Tag}}", repository).split():
        engine.run("rmi", "--force", tag)


@contextmanager
def watched() -> Iterator[set[str]]:
    """Every command line of this machine meanwhile."""
    lines: set[str] = set()
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.002):
            for process in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    lines.add(process.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
                except OSError:
                    continue  # it has ended

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield lines
    finally:
        over.set()
        thread.join()


def until(process: subprocess.Popen[str], words: str) -> None:
    """Read on until a line has these words."""
    for line in process.stdout:
        if words in line:
            return
    pytest.fail(f"it ended without: {words}")


def kill(chosen: Callable[[list[bytes]], bool]) -> None:
    """Kill the processes with such a command line. The test's own names are in it, so they are the test's own."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            if chosen(file.read_bytes().split(b"\0")):
                os.kill(int(file.parent.name), signal.SIGKILL)


def eventually(true: Callable[[], bool], within_s: float = 40) -> None:
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_the_first_deployment_brings_settings_keys_and_files_and_confines_the_container(site, small, tmp_path):
    certificate = tmp_path / "kong.pem"
    certificate.write_text("a certificate")
    said = site.deployed(
        small("1"), LOG_LEVEL="DEBUG", PSQL_ADMIN_PW="stays-here", API_GATEWAY_CA=str(certificate), MEMORY="64m"
    )
    assert "MB with zstd" in said or "MB with gzip" in said
    seen = site.seen()
    assert seen["variables"]["LOG_LEVEL"] == "DEBUG"
    assert seen["variables"]["SERVICE_PORT"] == str(site.port)
    assert seen["variables"]["API_GATEWAY_CA"] == "/run/secrets/files/api_gateway_ca"
    assert seen["files"] == {
        "psql_pw": PASSWORD,
        "files/api_gateway_ca": "a certificate",
        **{f"microkubes/{name}": (site.keys / name).read_text() for name in ("loaner", "loaner.pub", "default.pub")},
    }
    assert {seen["modes"][place] for place in ("microkubes", "files")} == {"0o700"}
    assert {seen["modes"][file] for file in seen["files"]} == {"0o600"}
    assert (seen["user"], seen["writable"]) == ([10001, 10001], ["/tmp"])
    assert int(seen["capabilities"], 16) == 0
    assert site.containers() == {"": "running"}
    limits = site.engine.run(
        "inspect", "--format", "{{.HostConfig.Memory}} {{.HostConfig.RestartPolicy.Name}}", site.name
    )
    assert limits == f"{64 << 20} unless-stopped"


def test_no_secret_is_in_a_command_line_an_image_or_what_docker_shows(site, small):
    with watched() as lines:
        site.deployed(small("1"))
    private = (site.keys / "loaner").read_text().splitlines()[5]
    shown = site.engine.run("inspect", site.name, *site.volumes()) + site.engine.run(
        "history", "--no-trunc", small("1")
    )
    assert any("docker create" in line for line in lines)
    for secret in (PASSWORD, private):
        assert not [line for line in lines if secret in line]
        assert secret not in shown


def test_an_upgrade_keeps_the_one_before_and_the_next_one_removes_it(site, small):
    for release in ("1", "2", "3"):
        site.deployed(small(release))
        assert site.release() == release
    assert site.containers() == {"": "running", "-previous": "exited"}
    assert len(site.volumes()) == 2
    images = site.engine.run("ps", "--all", "--filter", f"name=^/{site.name}", "--format", "{{.Image}}").split()
    assert [image.partition(":")[2][0] for image in images] == ["3", "2"]
    assert not [tag for tag in site.engine.run("images", "--format", "{{.Tag}}").split() if tag.startswith("1-well-")]


def test_an_image_that_is_there_is_not_sent_again(site, small):
    site.deployed(small("1"))
    assert "it is there already" in site.deployed(small("1"))
    assert site.containers() == {"": "running", "-previous": "exited"}


def test_without_zstd_it_is_sent_with_gzip(site, small, tmp_path):
    for tool in ("docker", "gzip", "ssh"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    assert "MB with gzip" in site.deployed(small("gzip"), PATH=str(tmp_path))
    assert site.release() == "gzip"


@pytest.mark.parametrize(
    ("behaviour", "why"), [("ends", "it ended by itself"), ("unready", "it is alive and not ready")]
)
def test_a_broken_image_is_rolled_back(site, small, behaviour, why):
    site.deployed(small("1"))
    status, said = site.deploy(small("2", behaviour), PATIENCE_S="15")
    assert status == 1
    assert why in said
    assert said.rstrip().endswith("rolled back: the container that ran before answers again")
    if behaviour == "ends":
        assert "  | cannot start with ********" in said
    assert site.release() == "1"
    assert site.containers() == {"": "running"}
    assert len(site.volumes()) == 1


def test_a_broken_first_deployment_leaves_nothing(site, small):
    status, said = site.deploy(small("1", "ends"))
    assert (status, site.containers(), site.volumes()) == (1, {}, [])
    assert f"nothing runs: there was no container {site.name} to go back to" in said


def test_a_port_that_is_taken_is_told_and_rolled_back(site, small):
    site.deployed(small("1"))
    taken = free_port()
    blocker = site.engine.run("run", "--detach", "--rm", "--publish", f"127.0.0.1:{taken}:5555", small("9"))
    try:
        status, said = site.deploy(small("2"), PORT=str(taken))
    finally:
        site.engine.run("stop", "--time", "0", blocker)
    assert status == 1
    assert "port is already allocated" in said
    assert site.release() == "1"


def test_a_lost_connection_does_not_stop_the_switch(site, small):
    site.deployed(small("1"))
    with site.start(small("2", "late")) as process:
        until(process, "starting the new one")
        kill(lambda line: line[0] == b"ssh" and str(site.host.config).encode() in line)
        process.communicate(timeout=20)
    assert process.returncode == 1
    eventually(lambda: site.containers() == {"": "running", "-previous": "exited"})
    assert site.release() == "2"
    site.deployed(small("3"))
    assert site.release() == "3"


def test_an_interruption_during_the_switch_says_that_the_host_goes_on(site, small):
    with site.start(small("1", "late")) as process:
        until(process, "starting the new one")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "interrupted; the host ends the switch by itself" in said
    eventually(lambda: site.containers() == {"": "running"})


def test_a_switch_that_was_killed_halfway_is_put_in_order_by_the_next_run(site, small):
    site.deployed(small("1"))
    with site.start(small("2", "late")) as process:
        until(process, "waiting 40 s at most")
        kill(lambda line: line[:2] == [b"sh", b"-c"] and site.name.encode() in line)
        process.communicate(timeout=20)
    assert process.returncode == 1
    assert site.containers() == {"": "exited", "-next": "running"}
    status, said = site.deploy(small("3", "ends"))
    assert status == 1
    assert "an earlier run was interrupted: its container is removed" in said
    assert (site.release(), site.containers()) == ("1", {"": "running"})


def test_a_kill_between_the_renames_is_put_in_order_by_the_next_run(site, small):
    site.deployed(small("1"))
    site.deployed(small("2"))
    site.engine.run("rename", site.name, f"{site.name}-next")
    status, said = site.deploy(small("3", "ends"))
    assert status == 1
    assert "an earlier run was interrupted: put in order" in said
    assert (site.release(), site.containers()) == ("2", {"": "running", "-previous": "exited"})


def test_of_two_factories_at_once_one_is_refused(site, small):
    site.deployed(small("1"))
    with Path(f"/tmp/factory-{site.name}.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        status, said = site.deploy(small("2"))
    assert status == 1
    assert "another factory is at work" in said
    assert site.release() == "1"


def test_a_dry_run_tells_the_commands_and_changes_nothing(site, small, tmp_path):
    image = small("1")
    lost = site.host.config_with(tmp_path, Port=1)
    before = site.engine.run("images", "--no-trunc", "--format", IMAGES).splitlines()
    status, said = site.deploy(image, "--dry-run", SSH_CONFIG=str(lost))
    assert status == 0
    assert "$ docker save" in said
    assert "StrictHostKeyChecking=yes" in said
    assert "secret PSQL_PW=********" in said
    assert (site.containers(), site.volumes()) == ({}, [])
    assert site.engine.run("images", "--no-trunc", "--format", IMAGES).splitlines() == before


def test_an_unknown_host_key_is_refused_whatever_the_configuration_says(site, small, tmp_path):
    (tmp_path / "known_hosts").touch()
    changes = {"UserKnownHostsFile": tmp_path / "known_hosts", "StrictHostKeyChecking": "no"}
    status, said = site.deploy(small("1"), SSH_CONFIG=str(site.host.config_with(tmp_path, **changes)))
    assert (status, site.containers()) == (1, {})
    assert "its host key is not known" in said
    assert (tmp_path / "known_hosts").read_text() == ""


def test_a_changed_host_key_is_refused(site, small, tmp_path):
    port = site.host.target.rpartition(":")[2]
    (tmp_path / "known_hosts").write_text(f"[127.0.0.1]:{port} {make_key(tmp_path / 'other')}")
    config = site.host.config_with(tmp_path, UserKnownHostsFile=tmp_path / "known_hosts", StrictHostKeyChecking="no")
    status, said = site.deploy(small("1"), SSH_CONFIG=str(config))
    assert (status, site.containers()) == (1, {})
    assert "it shows another host key than the known one" in said


def test_a_key_that_the_host_does_not_take_is_told(site, small, tmp_path):
    make_key(tmp_path / "identity")
    config = site.host.config_with(tmp_path, IdentityFile=tmp_path / "identity")
    status, said = site.deploy(small("1"), SSH_CONFIG=str(config))
    assert (status, site.containers()) == (1, {})
    assert "it does not accept your key" in said


def test_a_host_that_cannot_be_reached_is_told(site, small, tmp_path):
    config = site.host.config_with(tmp_path, HostName="127.0.0.1", Port=free_port())
    status, said = site.deploy(small("1"), SSH_CONFIG=str(config), target="nobody-there")
    assert status == 1
    assert "nobody-there cannot be reached" in said
    assert "Connection refused" in said


@contextmanager
def reachable_by_containers(engine: Engine, port: int) -> Iterator[str]:
    """The address at which containers reach what listens on this loopback port."""
    subnet = engine.run("network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Subnet}}")
    gateway = str(ip_network(subnet)[1])
    with tcp_proxy.running(tcp_proxy.TcpProxy(port, gateway)) as proxy:
        yield f"{gateway}:{proxy.port}"


@pytest.mark.timeout(900)
def test_the_service_itself_is_deployed_and_says_why_it_cannot_be(site, loaner_image, settings, bearer):
    wanted = {
        "PSQL_DB": settings.psql_db, "PSQL_USER": settings.psql_user, "PSQL_PW": settings.psql_pw.get_secret_value(),
        "WORKERS": "1", "PATIENCE_S": "90",
    }  # fmt: skip
    with stand_in.running(stand_in.StandInKong()) as kong, ExitStack() as ways:
        ports = {"PSQL_HOST": settings.psql_port, "API_GATEWAY_URL": urlsplit(kong.url).port}
        ways_in = {name: ways.enter_context(reachable_by_containers(site.engine, port)) for name, port in ports.items()}
        wanted |= {"PSQL_HOST": ways_in["PSQL_HOST"], "API_GATEWAY_URL": f"http://{ways_in['API_GATEWAY_URL']}"}
        site.deployed(loaner_image, **wanted)
        assert kong.services["loaner"]["port"] == site.port  # where the host publishes it, not where it listens
        request = urllib.request.Request(f"http://127.0.0.1:{site.port}/status", headers=bearer)
        with urllib.request.urlopen(request, timeout=5) as reply:
            assert reply.status == 200
        status, said = site.deploy(loaner_image, **(wanted | {"PSQL_PW": "wrong-password"}))
        assert status == 1
        assert "PSQL_PW" in said
        assert "wrong-password" not in said
        with urllib.request.urlopen(request, timeout=5) as reply:
            assert reply.status == 200
