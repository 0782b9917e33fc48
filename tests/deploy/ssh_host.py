"""A host to deploy to: an sshd on loopback with its own keys, in front of the same container engine."""

import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.engine import Engine
from tests.support.ports import free_port

START_S = 10


@dataclass(frozen=True)
class SshHost:
    """How to connect to the host.

    Args:
        target: The host, as the factory takes it.
        config: ssh configuration that connects.
        known_hosts: File with the host's key.
        identity: File of the login key.
    """

    target: str
    config: Path
    known_hosts: Path
    identity: Path

    def config_with(self, folder: Path, **changes: object) -> Path:
        """Write a configuration with changed options into another folder."""
        options = {"UserKnownHostsFile": self.known_hosts, "IdentityFile": self.identity, "IdentitiesOnly": "yes"}
        lines = [f"{name} {value}\n" for name, value in (options | changes).items()]
        config = folder / "ssh_config"
        config.write_text("".join([*lines, "IdentityAgent none\n", "GlobalKnownHostsFile /dev/null\n"]))
        return config


def make_key(file: Path) -> str:
    """Generate a key pair and return the public key."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(file)], check=True)
    return file.with_suffix(".pub").read_text()


@pytest.fixture(scope="session")
def ssh_host(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SshHost]:
    """A host that runs for the whole session."""
    sshd = shutil.which("sshd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if sshd is None:
        pytest.skip("openssh-server is not installed")
    folder = tmp_path_factory.mktemp("ssh")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    host_key = make_key(folder / "host")
    (folder / "authorized_keys").write_text(make_key(folder / "identity"))
    port = free_port()
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {host_key}")
    environment = {name: engine.environment[name] for name in ("PATH", "DOCKER_HOST") if name in engine.environment}
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {folder}/host\nAuthorizedKeysFile {folder}/authorized_keys\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        f"StrictModes no\nPidFile none\nSetEnv {' '.join(f'{name}={value}' for name, value in environment.items())}\n"
    )
    with (folder / "log").open("w+") as log:
        process = subprocess.Popen([sshd, "-D", "-e", "-f", str(folder / "sshd_config")], stdout=log, stderr=log)
        try:
            _wait(port, process, folder / "log")
            host = SshHost(
                f"{getpass.getuser()}@127.0.0.1:{port}", folder / "ssh_config", folder / "known_hosts",
                folder / "identity",
            )  # fmt: skip
            host.config_with(folder)
            yield host
        finally:
            process.terminate()
            process.wait(START_S)


def _wait(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"sshd did not start: {log.read_text()}")
            time.sleep(0.05)
        else:
            return
