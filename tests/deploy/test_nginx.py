"""deploy/nginx/nginx.conf in a real nginx, in front of a fake gateway and an application."""

import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urljoin
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
import requests
import yaml

from tests.conftest import ROOT, served
from tests.fakes.certificates import write_certificate
from tests.support.application import build_app
from tests.support.ports import free_port

__all__ = ["served"]


class Front:
    """A running nginx, and the requests that it passed on.

    Attributes:
        environs: WSGI environment of each request that reached the gateway.
        application: WSGI application that answers the requests.
    """

    def __init__(self, home: Path) -> None:
        self.https, self.http = free_port(), free_port()
        self.certificate = write_certificate(home / "tls_cert")
        shutil.copy(self.certificate, home / "tls_key")
        self.environs: list[dict] = []
        self.application = _ok

    def request(self, method: str, path: str, scheme: str = "https", **options: object) -> requests.Response:
        """Send a request, verifying the certificate, without following redirects."""
        url = f"{scheme}://127.0.0.1:{self.https if scheme == 'https' else self.http}{path}"
        return requests.request(
            method, url, verify=str(self.certificate), allow_redirects=False, timeout=10, **options
        )  # fmt: skip

    def gateway(self, environ, start_response):
        """Forward a request as the gateway does."""
        self.environs.append(dict(environ))
        environ["PATH_INFO"] = environ["PATH_INFO"].removeprefix("/loaner")
        environ["HTTP_X_FORWARDED_PREFIX"] = "/loaner"
        return self.application(environ, start_response)


def _ok(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def running_front() -> Iterator[Front]:
    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    home = Path(tempfile.mkdtemp(prefix="front-"))  # nginx's workers run as nobody and cannot read pytest's directory
    home.chmod(0o755)
    front = Front(home)
    with make_server("127.0.0.1", 0, front.gateway, handler_class=_Quiet) as gateway:
        threading.Thread(target=gateway.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        with _nginx(front, home, gateway.server_port):
            yield front
        gateway.shutdown()
    shutil.rmtree(home)


@contextmanager
def _nginx(front: Front, home: Path, gateway: int) -> Iterator[None]:
    configuration = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text()
    for original, replacement in {
        " /tmp/": f" {home}/", "/run/secrets/": f"{home}/", "http://kong:8000": f"http://127.0.0.1:{gateway}",
        "listen 8080": f"listen 127.0.0.1:{front.http}", "listen 8443": f"listen 127.0.0.1:{front.https}",
    }.items():  # fmt: skip
        assert original in configuration
        configuration = configuration.replace(original, replacement)
    (home / "nginx.conf").write_text(configuration)
    _run_command_of_compose(home, f"127.0.0.1:{front.https}")
    command = ["nginx", "-p", str(home), "-c", str(home / "nginx.conf")]
    checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
    assert "test is successful" in checked.stderr
    assert "warn" not in checked.stderr
    with (home / "log").open("w") as log:
        process = subprocess.Popen([*command, "-g", "daemon off;"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 10
        while not _answers(front):
            assert time.monotonic() < deadline, (home / "log").read_text()
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(10)


def _run_command_of_compose(home: Path, https_port: str) -> None:
    """Run what the container runs, up to nginx itself."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["nginx"]
    assert service["environment"] == {"HTTPS_PORT": "${HTTPS_PORT:-443}"}
    script = service["command"][2].replace("$$", "$").replace(">/tmp/", f">{home}/")
    (home / "bin").mkdir(exist_ok=True)
    (home / "bin" / "nginx").write_text("#!/bin/sh\n")
    (home / "bin" / "nginx").chmod(0o755)
    subprocess.run(["/bin/sh", "-c", script], check=True, env={"PATH": str(home / "bin"), "HTTPS_PORT": https_port})


def _answers(front: Front) -> bool:
    try:
        return front.request("GET", "/", "http").status_code == 308
    except requests.ConnectionError:
        return False


@pytest.fixture
def front(running_front) -> Front:
    running_front.application = _ok
    running_front.environs.clear()
    return running_front


def test_http_redirects_to_https(front):
    assert front.request("GET", "/loaner/version").text == "ok"
    redirect = front.request("GET", "/loaner/version?x=1", "http")
    expected = f"https://127.0.0.1:{front.https}/loaner/version?x=1"
    assert (redirect.status_code, redirect.headers["Location"]) == (308, expected)


def test_the_usual_port_is_not_part_of_redirects(tmp_path):
    _run_command_of_compose(tmp_path, "443")
    assert not (tmp_path / "https_port.map").exists()
    _run_command_of_compose(tmp_path, "8443")
    assert (tmp_path / "https_port.map").read_text() == "https :8443;\n"


def test_replies_have_security_headers(front):
    headers = front.request("GET", "/loaner/version").headers
    assert headers["Strict-Transport-Security"] == "max-age=31536000"
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Server"] == "nginx"
    assert "Retry-After" not in headers


def test_forwarding_headers_of_clients_are_overwritten(front):
    forged = {
        "X-Forwarded-For": "203.0.113.1", "X-Forwarded-Proto": "gopher", "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Prefix": "/evil", "Forwarded": "for=203.0.113.1", "X-Real-IP": "203.0.113.1",
    }  # fmt: skip
    assert front.request("GET", "/loaner/version", headers=forged).status_code == 200
    seen = {name: value for name, value in front.environs[-1].items() if "FORWARDED" in name or "REAL_IP" in name}
    assert seen == {
        "HTTP_X_FORWARDED_FOR": "127.0.0.1",
        "HTTP_X_FORWARDED_PROTO": "https",
        "HTTP_X_FORWARDED_HOST": f"127.0.0.1:{front.https}",
    }


def test_links_use_the_public_prefix_and_internal_routes_are_not_exposed(front, served):
    front.application = build_app(served)
    redirect = front.request("GET", "/loaner/")
    origin = f"https://127.0.0.1:{front.https}/loaner/"
    assert urljoin(origin, redirect.headers["Location"]) == f"{origin}api/v1"
    assert '<base href="/loaner/api/v1/">' in front.request("GET", "/loaner/api/v1").text
    assert [front.request("GET", f"/loaner/{path}").status_code for path in ("ready", "metrics")] == [404, 404]


def test_token_requests_are_rate_limited(front):
    replies = [front.request("POST", "/loaner/token", data={"grant_type": "none"}) for _ in range(20)]
    statuses = [reply.status_code for reply in replies]
    assert statuses[:11] == [200] * 11
    assert statuses.count(429) >= 5
    slow = next(reply for reply in replies if reply.status_code == 429)
    assert slow.headers["Retry-After"] == "1"
    assert slow.headers["Strict-Transport-Security"]
    assert slow.json()["error"] == "slow_down"
    assert [front.request("GET", "/loaner/1/2020-01-31").status_code for _ in range(20)] == [200] * 20


def test_oversized_body_is_not_passed_on(front):
    assert front.request("POST", "/loaner/api/v1/balances", data=b"x" * 7_000_000).status_code == 413
    assert front.environs == []
