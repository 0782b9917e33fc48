"""docker-compose.yml, brought up: with stand-ins for what cannot be pulled, and real servers for everything else."""

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
from tests.support.processes import free_port

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

UP_S = 240
SUBNET = "172.30.56.0/24"


class Project:
    """docker-compose.yml in a folder of its own, with the stand-ins on top."""

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
        """What `docker compose` with these arguments prints. A failure is the test's, with the logs."""
        files = ["--file", "docker-compose.yml", "--file", "tests/deploy/fakes.yml", "--profile", "small"]
        done = subprocess.run(
            [*self._compose, *files, *arguments], cwd=self.folder, env=self._environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=UP_S,
        )  # fmt: skip
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}\n{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        """What every container has said last."""
        told = (f"{name}: {self.engine.run('logs', '--tail', '15', name)}" for name in self.containers())
        return "\n".join(told)

    def containers(self, service: str = "") -> list[str]:
        """The names of a service's containers, or of all."""
        label = f"label=com.docker.compose.project={self.name}"
        of_service = ["--filter", f"label=com.docker.compose.service={service}"] if service else []
        listed = self.engine.run("ps", "--all", "--format", "{{.Names}}", "--filter", label, *of_service)
        return sorted(listed.split())

    def inspect(self, container: str) -> dict:
        """All that the engine tells of a container."""
        (told,) = json.loads(self.engine.run("inspect", container))
        return told

    def secret(self, name: str) -> str:
        """A secret as it is mounted."""
        return (self.folder / "deploy" / "compose" / "secrets" / name).read_text()

    def ask(self, method: str, path: str, **options: object) -> requests.Response:
        """A reply through nginx, whose certificate is checked."""
        certificate = str(self.folder / "deploy" / "compose" / "secrets" / "tls_cert")
        url = f"https://localhost:{self.https}{path}"
        return requests.request(method, url, verify=certificate, timeout=10, allow_redirects=False, **options)

    def token(self) -> dict[str, str]:
        """Headers of a client that has asked /token through nginx."""
        form = {"grant_type": "client_credentials"}
        reply = self.ask("POST", "/loaner/token", auth=("loaner-client", self.secret("client_secret")), data=form)
        assert reply.status_code == 200, reply.text
        return {"Authorization": f"Bearer {reply.json()['access_token']}"}

    def ask_inside(self, service: str, url: str) -> Any:
        """The JSON that a service's container gets from itself."""
        program = f"import urllib.request; print(urllib.request.urlopen('{url}').read().decode())"
        (container,) = self.containers(service)
        return json.loads(self.engine.run("exec", container, "python", "-c", program))

    def targets(self) -> set[str]:
        """The instances that the gateway sends requests to."""
        listed = self.ask_inside("kong", "http://127.0.0.1:8001/upstreams/loaner.upstream/targets")
        return {target["target"] for target in listed["data"]}

    def known(self) -> set[str]:
        """The instances that Consul knows."""
        services = self.ask_inside("consul", "http://127.0.0.1:8500/v1/agent/services").values()
        return {f"{service['address']}:{service['port']}" for service in services}


def until(condition, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.5)


@pytest.fixture(scope="module")
def project(engine, context, loaner_image) -> Iterator[Project]:
    """Everything, and the small set beside it, over one database with sample loans."""
    made = Project(engine, context, loaner_image.removeprefix("loaner:"))
    assert engine.tools
    subprocess.run([context / "deploy" / "compose" / "secrets.sh"], check=True, capture_output=True)
    try:
        made.run("up", "--detach", "--no-build", "nginx", "small")
        for command in ("sample", "load"):
            made.run("exec", "-T", "small", "python", "service.py", command, "/tmp/loans.csv", "/tmp/events.csv")
        until(made.targets)
        yield made
    finally:
        made.run("down", "--volumes", "--timeout", "5")


def test_everything_becomes_healthy(project):
    def unwell() -> list[str]:
        states = {name: project.inspect(name)["State"] for name in project.containers()}
        return [
            name
            for name, state in states.items()
            if (state["Health"]["Status"] != "healthy" if "Health" in state else state["ExitCode"] != 0)
        ]

    until(lambda: not unwell())
    services = yaml.safe_load((project.folder / "docker-compose.yml").read_text())["services"]
    assert len(project.containers()) == len(services)


def test_a_token_reads_a_balance_through_tls_and_the_gateway(project):
    reply = project.ask("GET", "/loaner/api/v1/loan/1/2020-07-01", headers=project.token())
    assert reply.status_code == 200
    assert reply.json()["loan_id"] == 1
    assert project.ask("GET", "/loaner/api/v1/loan/1/2020-07-01").status_code == 401


def test_the_small_set_answers_by_itself(project):
    url = f"http://localhost:{project.small}"
    asked = {"user": "loaner-client", "pw": project.secret("client_secret")}
    token = requests.post(f"{url}/token", json=asked, timeout=10).json()["access_token"]
    reply = requests.get(f"{url}/1/2020-07-01", headers={"Authorization": f"Bearer {token}"}, timeout=10)
    assert reply.status_code == 200
    assert requests.get(f"{url}/ready", timeout=10).json()["memcached"]


def test_links_lead_back_through_tls_and_what_is_internal_stays_so(project):
    page = project.ask("GET", "/loaner/api/v1")
    assert '<base href="/loaner/api/v1/">' in page.text
    assert page.headers["Strict-Transport-Security"]
    for path in ("/loaner/ready", "/loaner/metrics"):
        assert project.ask("GET", path).status_code == 404


def test_nothing_tells_a_secret(project):
    secrets = [path.read_text() for path in (project.folder / "deploy" / "compose" / "secrets").iterdir()]
    assert len(secrets) == 12
    for name in project.containers():
        told = json.dumps(project.inspect(name))
        assert not [secret for secret in secrets if secret.strip() in told], name
        if "Health" in project.inspect(name)["State"]:
            assert not [secret for secret in secrets if secret.strip() in project.engine.run("top", name)], name
    said = project.logs()
    assert not [secret for secret in secrets if secret.strip() in said]


def test_the_application_is_nobody_special_and_writes_nowhere(project):
    (app,) = project.containers("app")
    host = project.inspect(app)["HostConfig"]
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert "no-new-privileges:true" in host["SecurityOpt"]
    assert project.engine.run("exec", app, "id", "-u") == "10001"
    assert "Permission denied" not in project.engine.run("logs", app)
    wrote = project.engine.run("exec", app, "sh", "-c", "touch /app/x /run/secrets/microkubes/x 2>&1 || true")
    assert wrote.count("Read-only file system") == 2


def test_there_may_be_several_and_each_leaves_in_order(project):
    project.run("up", "--detach", "--no-build", "--scale", "app=2", "app")
    until(lambda: len(project.targets()) == 2)
    until(lambda: project.known() == project.targets())
    headers = project.token()
    asked = [project.ask("GET", "/loaner/api/v1/loan/1", headers=headers).status_code for _ in range(4)]
    assert asked == [200] * 4
    leaving = project.containers("app")[-1]
    begun = time.monotonic()
    project.engine.run("stop", "--time", "45", leaving)
    assert time.monotonic() - begun < 40
    assert project.inspect(leaving)["State"]["ExitCode"] == 0
    assert len(project.targets()) == 1
    assert project.known() == project.targets()
    assert project.ask("GET", "/loaner/api/v1/loan/1", headers=headers).status_code == 200
