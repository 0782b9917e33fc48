"""Sessions that connect directly to servers of the platform."""

from contextlib import contextmanager

import pytest
import requests

from service.net.session import direct_session
from tests.fakes.certificates import write_certificate
from tests.fakes.http_server import serving
from tests.fakes.kong.fake_kong import FakeKong, running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    return write_certificate(tmp_path_factory.mktemp("tls") / "server.pem")


@contextmanager
def tls_server(certificate, host="127.0.0.1"):
    """Yields the URL of a server whose certificate names only 127.0.0.1 and localhost."""
    with running(FakeKong(), certificate=certificate, host=host) as kong:
        yield kong.url.replace("127.0.0.1", host)


def test_the_environment_is_ignored(monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login user password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    headers = []

    def answer(method, path, received, body):
        headers.append(received)
        return 200, b""

    with serving(answer) as url, direct_session() as session:
        assert session.get(url, timeout=5).status_code == 200
    assert "Authorization" not in headers[0]


def test_certificate_bundles_of_the_environment_are_ignored(monkeypatch, certificate):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with tls_server(certificate) as url, direct_session() as session, pytest.raises(requests.exceptions.SSLError):
        session.get(url, timeout=5)


def test_a_certificate_is_verified_against_the_given_authorities(certificate):
    with tls_server(certificate) as url, direct_session(str(certificate)) as session:
        assert session.get(url, timeout=5).status_code == 200


def test_a_certificate_that_does_not_name_the_host_is_rejected(certificate):
    with (
        tls_server(certificate, "127.0.0.2") as url,
        direct_session(str(certificate)) as session,
        pytest.raises(requests.exceptions.SSLError, match=r"127\.0\.0\.2"),
    ):
        session.get(url, timeout=5)


def test_without_verification_any_certificate_is_accepted_without_a_warning(certificate):
    with tls_server(certificate, "127.0.0.2") as url, direct_session(verify=False) as session:
        assert session.get(url, timeout=5).status_code == 200
