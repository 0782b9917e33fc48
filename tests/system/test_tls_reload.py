"""HTTPS: certificates are checked before use, and reloaded without losing a request."""

import json
import socket
import ssl
import threading
from pathlib import Path

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from urllib3.util.retry import Retry

from service.errors import SettingsError
from service.gateway import KongGatewayRegistrator
from service.gateway.consul import ConsulAgent
from service.runtime.gateway_setup import build_definition
from service.runtime.tls import CertificateReloader, read_certificate
from service.settings import TlsSettings, load_settings
from tests.fakes.certificates import DAY, write_certificate
from tests.fakes.http_server import serving
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.support.ports import free_port
from tests.support.processes import reach, run, started, workers
from tests.support.waiting import wait_until
from tests.system.test_instance import UPSTREAM

CURVE = ec.SECP256R1()


@pytest.fixture
def pair(tmp_path):
    """A certificate and its key, in one file."""
    return write_certificate(tmp_path / "pair.pem")


def https(cert: Path | str, key: Path | str | None = None):
    return load_settings(tls_cert=str(cert), tls_key=str(key or cert))


def test_certificate_and_key_become_one_pem(pair):
    found = read_certificate(https(pair).tls)
    assert x509.load_pem_x509_certificates(found.pem)[0].not_valid_after_utc == found.expires
    assert serialization.load_pem_private_key(found.pem, None)
    assert read_certificate(TlsSettings()) is None


def test_a_certificate_without_a_key_or_the_reverse_is_rejected(pair):
    with pytest.raises(SettingsError, match=r"^TLS_KEY is not set; HTTPS requires it together with TLS_CERT"):
        read_certificate(TlsSettings(cert=str(pair)))
    with pytest.raises(SettingsError, match=r"^TLS_CERT is not set; HTTPS requires it together with TLS_KEY"):
        read_certificate(TlsSettings(key=str(pair)))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: https(folder / "none.pem", folder / "pair.pem"), "^TLS_CERT: .* cannot be read: No such"),
        (lambda folder: https(folder / "pair.pem", folder), "^TLS_KEY: .* cannot be read: Is a directory"),
        (lambda folder: https(folder / "pair.pem", folder / "text"), "^TLS_KEY: .* no readable PEM private key"),
        (lambda folder: https(folder / "text", folder / "pair.pem"), "^TLS_CERT: .* no readable PEM certificate"),
        (lambda folder: https(write_certificate(folder / "x"), folder / "pair.pem"), "^TLS_KEY: .* is not the key of"),
        (lambda folder: https(write_certificate(folder / "x", valid=(-2 * DAY, -DAY))), "^TLS_CERT: .* expired at"),
        (lambda folder: https(write_certificate(folder / "x", valid=(DAY, 2 * DAY))), "^TLS_CERT: .* not valid before"),
        (lambda folder: https(folder / "pair.pem", encrypted(folder / "x")), "^TLS_KEY: .* is encrypted"),
        (lambda folder: https(of(folder, ec.generate_private_key(ec.SECP521R1()))), "^TLS_KEY: expected RSA of 2048"),
        (lambda folder: https(of(folder, rsa.generate_private_key(65537, 1024))), "^TLS_KEY: expected RSA of 2048"),
    ],
)  # fmt: skip
def test_an_unusable_certificate_or_key_is_named(pair, spoil, message):
    (pair.parent / "text").write_text("no PEM")
    with pytest.raises(SettingsError, match=message):
        read_certificate(spoil(pair.parent).tls)


def of(folder: Path, key) -> Path:
    return write_certificate(folder / "other.pem", key)


def encrypted(path: Path) -> Path:
    encryption = serialization.BestAvailableEncryption(b"pw")
    path.write_bytes(
        ec.generate_private_key(CURVE).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )
    )
    return path


def test_an_invalid_certificate_stops_the_start_before_the_registration(pair):
    with running(FakeKong()) as kong:
        done = run(TLS_CERT=str(pair), API_GATEWAY_URL=kong.url, PORT=str(free_port()))
    assert (done.returncode, kong.requests) == (1, [])
    assert done.stderr.strip() == "Error: TLS_KEY is not set; HTTPS requires it together with TLS_CERT"


def test_the_declaration_depends_on_the_certificate(pair):
    assert build_definition(load_settings()).protocol == "http"
    assert build_definition(https(pair)).protocol == "https"
    assert build_definition(load_settings()).declaration_tag != build_definition(https(pair)).declaration_tag


@pytest.mark.parametrize("version", ["3.9.3", "1.0.4", "0.14.1"])
def test_every_gateway_connects_over_https(pair, version):
    with running(FakeKong(version)) as kong:
        registrator = KongGatewayRegistrator(kong.url)
        for settings, protocol in ((https(pair), "https"), (load_settings(), "http")):
            registrator.reconcile(build_definition(settings))
            url = f"{protocol}://loaner.service.consul:5555"
            if kong.legacy:
                assert kong.entities["apis"]["loaner"]["upstream_url"] == url
            else:
                service = kong.services["loaner"]
                assert f"{service['protocol']}://{service['host']}:{service['port']}" == url
            assert registrator.reconcile(build_definition(settings)) == []


def test_consul_checks_over_https():
    registrations = []

    def answer(method, path, headers, body):
        registrations.append(json.loads(body))
        return 200, b""

    with serving(answer) as url:
        for scheme in ("https", "http"):
            ConsulAgent(url).register(
                "loaner", "loaner-1", "10.0.0.1", 5555, f"{scheme}://10.0.0.1:5555", is_ready=True
            )
    checks = [check for each in registrations for check in each["checks"]]
    assert [check["http"] for check in checks] == [
        f"{scheme}://10.0.0.1:5555/{path}" for scheme in ("https", "http") for path in ("healthcheck", "ready")
    ]
    assert [check.get("TLSSkipVerify") for check in checks] == [True, True, None, None]


class Caller(threading.Thread):
    """Sends requests in a loop. Like a gateway, it repeats a request whose new connection was closed before the reply.

    Args:
        url: The URL to request.
        headers: Headers of each request.
        trusted: A file of trusted certificates.
    """

    def __init__(self, url: str, headers: dict[str, str], trusted: Path) -> None:
        super().__init__()
        self.answers: list[int | str] = []
        self._url, self._headers, self._trusted = url, headers, trusted
        self._finished = threading.Event()

    def run(self) -> None:
        while not self._finished.wait(0.01):
            with requests.Session() as session:
                session.trust_env = False  # the environment's certificates would take precedence
                session.verify = str(self._trusted)
                retries = Retry(total=1, connect=0, status=0, backoff_factor=0)
                session.mount("https://", requests.adapters.HTTPAdapter(max_retries=retries))
                try:
                    self.answers.append(session.get(self._url, headers=self._headers, timeout=20).status_code)
                except requests.RequestException as err:
                    self.answers.append(repr(err))

    def finish(self) -> set[int | str]:
        self._finished.set()
        self.join()
        return set(self.answers)


def presented(port: int) -> str:
    """Return the certificate that the server presents."""
    return ssl.get_server_certificate(("127.0.0.1", port), timeout=10)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_reloading_a_certificate_loses_no_request(served, bearer, tmp_path):
    """As in Kubernetes volumes, the files are links through a folder link, which is replaced."""
    port = free_port()
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    for name in ("first", "second", "broken"):
        (tmp_path / name).mkdir()
        write_certificate(tmp_path / name / "tls.crt")
        (tmp_path / name / "tls.key").write_bytes((tmp_path / name / "tls.crt").read_bytes())
    write_certificate(tmp_path / "broken" / "tls.key")

    def mount(name: str) -> None:
        (tmp_path / "link").symlink_to(tmp_path / name)
        (tmp_path / "link").rename(mounted / "..data")

    mount("first")
    for file in ("tls.crt", "tls.key"):
        (mounted / file).symlink_to(Path("..data") / file)
    first, second = ((tmp_path / name / "tls.crt").read_text() for name in ("first", "second"))
    (tmp_path / "both.pem").write_text(first + second)
    with running(FakeKong()) as kong:
        variables = {
            **reach(served.postgres), "API_GATEWAY_URL": kong.url, "KEYS_DIR": served.tokens.keys_dir,
            "LISTEN_HOST": "127.0.0.1", "WORKERS": "1", "SERVICE_DISCOVERY": "upstream", "DRAIN_S": "0",
            "PORT": str(port), "TLS_CERT": str(mounted / "tls.crt"), "TLS_KEY": str(mounted / "tls.key"),
            "TMPDIR": str(tmp_path),
        }  # fmt: skip
        with started(**variables) as (process, read_log):
            # a target is registered once the readiness check over https has passed
            wait_until(lambda: kong.targets.get(UPSTREAM), read_log=read_log)
            assert f"serving on https://127.0.0.1:{port}" in read_log()
            assert kong.services["loaner"]["protocol"] == "https"
            active = kong.entities["upstreams"][UPSTREAM]["healthchecks"]["active"]
            assert (active["type"], active["https_verify_certificate"]) == ("https", False)
            assert presented(port) in first
            assert supports(port, ssl.TLSVersion.TLSv1_2)
            assert not supports(port, ssl.TLSVersion.TLSv1_1)
            assert plain_reply(port) not in (b"HTTP/1.1 5", b"HTTP/1.0 5")
            [kept] = tmp_path.glob("loaner-*/certificate-*.pem")
            assert kept.stat().st_mode & 0o777 == 0o600
            caller = Caller(f"https://127.0.0.1:{port}/1/2020-02-29", bearer, tmp_path / "both.pem")
            caller.start()
            before = workers(process.pid)
            mount("broken")
            wait_until(lambda: "is not the key of the first certificate in TLS_CERT" in read_log(), read_log=read_log)
            assert presented(port) in first
            mount("second")
            wait_until(lambda: presented(port) in second, read_log=read_log)
            wait_until(
                lambda: not before & workers(process.pid), read_log=read_log
            )  # old workers present the old certificate
            assert {presented(port) in second for _ in range(10)} == {True}
            assert caller.finish() == {200}
            assert "Traceback" not in read_log()
            assert "panicked" not in read_log()


def supports(port: int, newest: ssl.TLSVersion) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.maximum_version = newest
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            with context.wrap_socket(plain):
                return True
        except OSError:
            return False


def plain_reply(port: int) -> bytes:
    """Return the start of the reply to a plain HTTP request."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(b"GET /healthcheck HTTP/1.1\r\nHost: x\r\n\r\n")
        return client.recv(10)


def test_a_starting_worker_finds_the_previous_file(tmp_path):
    pair = write_certificate(tmp_path / "pair.pem")
    reloader = CertificateReloader(https(pair).tls, tmp_path)
    taken = [reloader.current()]
    for _ in range(2):  # two changes before any worker starts
        write_certificate(pair)
        assert [reloader._reload() for _ in range(2)] == [False, True]  # a change counts once it is stable
    assert taken[-1].exists()
    taken += [reloader.current(), reloader.current()]
    assert taken[1] == taken[2] != taken[0]
    assert taken[1].read_bytes() == read_certificate(https(pair).tls).pem
    assert taken[0].exists()
    write_certificate(pair)
    reloader._reload()
    reloader._reload()
    reloader.current()
    assert [path.exists() for path in taken[:2]] == [False, True]


def test_without_tls_no_file_is_written(tmp_path):
    reloader = CertificateReloader(TlsSettings(), tmp_path)
    assert reloader.current() is None
