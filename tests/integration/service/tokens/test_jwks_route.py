"""Other services fetch this service's public keys from its JWKS route."""

import time

import pytest

from security import JwksKeys, OAuth2Provider, Request, Response, ThreadLocalSecurityContext
from security.keys.rotation import PUBLISH_S, KeyRing
from tests.fakes.http_server import serving
from tests.support.application import build_app
from tests.support.settings import with_changes


@pytest.fixture
def ring(tmp_path, keys_dir):
    (tmp_path / "default.pub").write_bytes((keys_dir / "default.pub").read_bytes())
    ring = KeyRing(tmp_path, "loaner", 600)
    ring.generate()
    return ring


@pytest.fixture
def client(served, ring):
    return build_app(with_changes(served, keys_dir=str(ring.directory))).test_client()


def test_the_set_contains_exactly_the_keys_of_this_service(client, ring):
    second = ring.generate()
    time.sleep(1)  # the new key is loaded within this time
    keys = client.get("/.well-known/jwks.json").json["keys"]
    assert [key["kid"] for key in keys] == [ring.entries()[0].name, second]
    assert all(key["alg"] == "RS256" and "d" not in key for key in keys)


def test_copies_expire_before_a_new_key_signs(client):
    reply = client.get("/.well-known/jwks.json")
    assert reply.headers["Cache-Control"] == f"public, max-age={PUBLISH_S:.0f}"
    again = client.get("/.well-known/jwks.json", headers={"If-None-Match": reply.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_without_a_signing_key_the_set_is_empty(served, tmp_path, keys_dir):
    (tmp_path / "default.pub").write_bytes((keys_dir / "default.pub").read_bytes())
    app = build_app(with_changes(served, keys_dir=str(tmp_path)))
    assert app.test_client().get("/.well-known/jwks.json").json == {"keys": []}


def test_another_service_verifies_tokens_with_the_set(client, served):
    token = client.post("/token", json={"user": "loaner-client", "pw": "s3cret-of-the-client"}).json["access_token"]
    with serving(lambda *_: (200, client.get("/.well-known/jwks.json").data)) as url:
        provider = OAuth2Provider(keys=JwksKeys(f"{url}/.well-known/jwks.json"), issuer="loaner")
        context = ThreadLocalSecurityContext()
        provider(context, Request(type("R", (), {"headers": {"Authorization": f"Bearer {token}"}})), Response())
        assert context.get_auth().username == "loaner-client"
