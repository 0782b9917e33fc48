"""What a start says about a listener that does not speak what VAULT_ADDR says."""

import socket
import ssl
import threading
from contextlib import contextmanager, suppress

import pytest

from service.settings import VaultSettings
from service.vault.failure import VaultUnavailable
from service.vault.session import VaultSession
from tests.fakes.certificates import write_certificate
from tests.fakes.http_server import serving


def failure_of(addr: str, **changes) -> VaultUnavailable:
    session = VaultSession(VaultSettings(addr=addr, role_id="app", secret_id="right-secret", **changes))
    with pytest.raises(VaultUnavailable) as caught:
        session.start(0.1)
    session.stop()
    assert len(str(caught.value).splitlines()) == 1
    assert "right-secret" not in str(caught.value)
    return caught.value


@contextmanager
def tls_listener(certificate, host="127.0.0.1"):
    """Yield the port of a server that shakes hands and closes the connection."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with socket.create_server((host, 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = server.accept()
                    with suppress(OSError), context.wrap_socket(connection, server_side=True) as stream:
                        stream.recv(1000)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
    thread.join()


def test_an_https_address_of_a_plain_listener_is_named():
    with serving(lambda *_: (200, b"{}")) as url:
        failure = failure_of(url.replace("http:", "https:"))
    assert str(failure).endswith(
        "it does not speak TLS: VAULT_ADDR must begin with http://, or Vault's listener needs TLS"
    )
    assert not failure.is_temporary


def test_an_http_address_of_a_tls_listener_is_named():
    """Vault is written in Go, whose server answers so: https://github.com/golang/go/blob/master/src/net/http/server.go."""
    reply = b"Client sent an HTTP request to an HTTPS server.\n"
    with serving(lambda *_: (400, reply)) as url:
        failure = failure_of(url)
    assert str(failure).endswith("it speaks HTTPS only: VAULT_ADDR must begin with https://")
    assert not failure.is_temporary
    assert "lock" not in str(failure)


def test_an_http_address_of_another_tls_listener_is_named(tmp_path):
    with tls_listener(write_certificate(tmp_path / "server.pem")) as port:
        failure = failure_of(f"http://127.0.0.1:{port}")
    assert "if its listener uses TLS, VAULT_ADDR must begin with https://" in str(failure)
    assert failure.is_temporary


def test_a_certificate_that_is_not_trusted_is_named(tmp_path):
    with tls_listener(write_certificate(tmp_path / "server.pem")) as port:
        failure = failure_of(f"https://127.0.0.1:{port}")
    assert "its certificate is not trusted (VAULT_CA): self" in str(failure)
    assert not failure.is_temporary


def test_a_certificate_of_another_host_is_named(tmp_path):
    certificate = write_certificate(tmp_path / "server.pem")
    with tls_listener(certificate, "127.0.0.2") as port:
        failure = failure_of(f"https://127.0.0.2:{port}", ca=str(certificate))
    assert "IP address mismatch" in str(failure)
