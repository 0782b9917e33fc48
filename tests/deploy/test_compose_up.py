"""docker-compose.yml running, with fakes for the gateway, Vault and Consul, and real servers for the rest."""

import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import yaml

from tests.deploy.engine import Engine
from tests.support.ports import free_port

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

UP_S = 240
SUBNET = "172.30.56.0/24"


class Project:
    """A running docker-compose.yml in its own directory, with the fakes as an override."""

    def __init__(self, engine: Engine, folder: Path, tag: str) -> None:
        self.engine, self.folder = engine, folder
        self.https, self.small = free_port(), free_port()
        self.name = f"loaner-{tag}"
        self._environment = {
            **engine.environment, "COMPOSE_PROJECT_NAME": self.name, "LOANER_TAG": tag, "LOANER_SUBNET": SUBNET,
            "HTTP_PORT": str(free_port()), "HTTPS_PORT": str(self.https), "LOANER_PORT": str(self.small),
            "LOANER_WORKERS": "1",
        }  # fmt: skip
        self._compose = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]

    def run(self, *arguments: str) -> str:
        """Run docker compose and return its output; fail the test, with the logs, if it fails."""
        files = ["--file", "docker-compose.yml", "--file", "tests/deploy/fakes.yml", "--profile", "small"]
        done = subprocess.run(
            [*self._compose, *files, *arguments], cwd=self.folder, env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=UP_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        """Return the last log lines of every container."""
        logs = (f"{name}: {self.engine.run('logs', '--tail', '15', name)}" for name in self.containers())
        return "\n".join(logs)

    def containers(self, service: str = "") -> list[str]:
        """Return the names of the containers of a service, or of all."""
        label = f"label=com.docker.compose.project={self.name}"
        of_service = ["--filter", f"label=com.docker.compose.service={service}"] if service else []
        listed = self.engine.run("ps", "--all", "--format", "{{.Names}}", "--filter", label, *of_service)
        return sorted(listed.split())

    def inspect(self, container: str) -> dict:
        """Return the output of `docker inspect` for a container."""
        (inspected,) = json.loads(self.engine.run("inspect", container))
        return inspected

    def secret(self, name: str) -> str:
        """Return a secret as it is mounted."""
        return (self.folder / "deploy" / "compose" / "secrets" / name).read_text()

    def request(self, method: str, path: str, **options: object) -> requests.Response:
        """Send a request through nginx, verifying its certificate."""
        certificate = str(self.folder / "deploy" / "compose" / "secrets" / "tls_cert")
        url = f"https://localhost:{self.https}{path}"
        return requests.request(method, url, verify=certificate, timeout=10, allow_redirects=False, **options)

    def token(self) -> dict[str, str]:
        """Request a token through nginx and return it as headers."""
        form = {"grant_type": "client_credentials"}
        reply = self.request("POST", "/loaner/token", auth=("loaner-client", self.secret("client_secret")), data=form)
        assert reply.status_code == 200, reply.text
        return {"Authorization": f"Bearer {reply.json()['access_token']}"}

    def request_inside(self, service: str, url: str) -> Any:
        """Request a URL inside a service's container and return the JSON."""
        program = f"import urllib.request; print(urllib.request.urlopen('{url}').read().decode())"
        (container,) = self.containers(service)
        return json.loads(self.engine.run("exec", container, "python", "-c", program))

    def targets(self) -> set[str]:
        """Return the instances that the gateway routes to."""
        listed = self.request_inside("kong", "http://127.0.0.1:8001/upstreams/loaner.upstream/targets")
        return {target["target"] for target in listed["data"]}

    def registered(self) -> set[str]:
        """Return the instances registered in Consul."""
        services = self.request_inside("consul", "http://127.0.0.1:8500/v1/agent/services").values()
        return {f"{service['address']}:{service['port']}" for service in services}


def until(condition, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def project(engine, context, loaner_image) -> Iterator[Project]:
    """All services and the profile `small`, on one database with sample loans."""
    started = Project(engine, context, loaner_image.removeprefix("loaner:"))
    assert engine.tools
    subprocess.run([context / "deploy" / "compose" / "secrets.sh"], check=True, capture_output=True)
    try:
        started.run("up", "--detach", "--no-build", "nginx", "small")
        for command in ("sample", "load"):
            started.run("exec", "-T", "small", "python", "service.py", command, "/tmp/loans.csv", "/tmp/events.csv")
        until(started.targets)
        yield started
    finally:
        started.run("down", "--volumes", "--timeout", "5")


def test_all_services_become_healthy(project):
    def unhealthy() -> list[str]:
        states = {name: project.inspect(name)["State"] for name in project.containers()}
        return [
            name
            for name, state in states.items()
            if (state["Health"]["Status"] != "healthy" if "Health" in state else state["ExitCode"] != 0)
        ]

    until(lambda: not unhealthy())
    services = yaml.safe_load((project.folder / "docker-compose.yml").read_text())["services"]
    assert len(project.containers()) == len(services)


def test_token_reads_a_balance_through_tls_and_the_gateway(project):
    reply = project.request("GET", "/loaner/api/v1/loan/1/2020-07-01", headers=project.token())
    assert reply.status_code == 200
    assert reply.json()["loan_id"] == 1
    assert project.request("GET", "/loaner/api/v1/loan/1/2020-07-01").status_code == 401


def test_small_profile_answers_without_the_gateway(project):
    url = f"http://localhost:{project.small}"
    credentials = {"user": "loaner-client", "pw": project.secret("client_secret")}
    token = requests.post(f"{url}/token", json=credentials, timeout=10).json()["access_token"]
    reply = requests.get(f"{url}/1/2020-07-01", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert reply.status_code == 200
    assert requests.get(f"{url}/ready", timeout=10).json()["memcached"]


def test_links_use_the_public_prefix_and_internal_routes_are_not_exposed(project):
    page = project.request("GET", "/loaner/api/v1")
    assert '<base href="/loaner/api/v1/">' in page.text
    assert page.headers["Strict-Transport-Security"]
    for path in ("/loaner/ready", "/loaner/metrics"):
        assert project.request("GET", path).status_code == 404


def test_no_secret_is_in_container_metadata_process_lists_or_logs(project):
    secrets = [path.read_text() for path in (project.folder / "deploy" / "compose" / "secrets").iterdir()]
    assert len(secrets) == 12
    for name in project.containers():
        metadata = json.dumps(project.inspect(name))
        assert not [secret for secret in secrets if secret.strip() in metadata], name
        if "Health" in project.inspect(name)["State"]:
            assert not [secret for secret in secrets if secret.strip() in project.engine.run("top", name)], name
    logs = project.logs()
    assert not [secret for secret in secrets if secret.strip() in logs]


def test_application_runs_unprivileged_and_read_only(project):
    (app,) = project.containers("app")
    host = project.inspect(app)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert project.engine.run("exec", app, "id", "-u") == "10001"
    assert "Permission denied" not in project.engine.run("logs", app)
    output = project.engine.run("exec", app, "sh", "-c", "touch /app/x /run/secrets/microkubes/x 2>&1 || true")
    assert output.count("Read-only file system") == 2


def test_scaled_instances_register_and_leave_gracefully(project):
    project.run("up", "--detach", "--no-build", "--scale", "app=2", "app")
    until(lambda: len(project.targets()) == 2)
    until(lambda: project.registered() == project.targets())
    headers = project.token()
    statuses = [project.request("GET", "/loaner/api/v1/loan/1", headers=headers).status_code for _ in range(4)]
    assert statuses == [200] * 4
    leaving = project.containers("app")[-1]
    started = time.monotonic()
    project.engine.run("stop", "--time", "45", leaving)
    assert time.monotonic() - started < 40
    assert project.inspect(leaving)["State"]["ExitCode"] == 0
    assert len(project.targets()) == 1
    assert project.registered() == project.targets()
    assert project.request("GET", "/loaner/api/v1/loan/1", headers=headers).status_code == 200
