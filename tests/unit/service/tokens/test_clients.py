"""The clients file is edited by commands and reloaded when it changes."""

import json
import os
import stat

import pytest
from pydantic import SecretStr

from security.secret_hash import hash_secret
from service.errors import SettingsError
from service.settings import TokenSettings
from service.tokens import client_registry as module
from service.tokens.client_registry import ClientRegistry, open_clients
from service.tokens.clients_file import add_client, read_clients, remove_client
from service.tokens.issuer import Subject
from tests.fakes.clocks import Ticking

HASH = hash_secret("s3cret")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "clients.json"


def write(path, *clients: dict) -> None:
    path.write_text(json.dumps({"clients": clients}))


def entry(client_id: str = "reports", **more) -> dict:
    return {"client_id": client_id, "secret_hash": HASH, **more}


def test_an_added_client_authenticates_with_its_secret_only(path):
    secret = add_client(path, Subject("reports", ("api:read", "api:write"), ("auditor",), ("acme",), ("eu",)))
    clients = ClientRegistry(path)
    client = clients.authenticate("reports", secret)
    assert client.subject() == Subject("reports", ("api:read", "api:write"), ("auditor",), ("acme",), ("eu",))
    for name, wrong in (("reports", secret + "x"), ("reports", ""), ("other", secret), ("-", "-"), ("", "")):
        assert clients.authenticate(name, wrong) is None
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_clients_can_be_added_and_removed(path):
    add_client(path, Subject("a"))
    path.chmod(0o640)
    add_client(path, Subject("b"))
    assert [client.client_id for client in read_clients(path)] == ["a", "b"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    with pytest.raises(SettingsError, match="client a already exists"):
        add_client(path, Subject("a"))
    remove_client(path, "a")
    assert [client.client_id for client in read_clients(path)] == ["b"]
    with pytest.raises(SettingsError, match="no such client: a"):
        remove_client(path, "a")
    assert sorted(os.listdir(path.parent)) == [".clients.json.lock", "clients.json"]


@pytest.mark.parametrize(
    ("subject", "field"),
    [
        (Subject("a b"), "client_id"),
        (Subject("a", scopes=()), "scopes"),
        (Subject("a", scopes=("api:read,api:write",)), "scopes[0]"),
        (Subject("a", scopes=("api:read", "api:write api:admin")), "scopes[1]"),
        (Subject("a", roles=("x", "y,z")), "roles[1]"),
        (Subject("a", organizations=(" Acme",)), "organizations[0]"),
        (Subject("a", namespaces=("",)), "namespaces[0]"),
        (Subject("a", namespaces=("a\nb",)), "namespaces[0]"),
    ],
)
def test_values_that_a_token_cannot_contain_are_rejected(path, subject, field):
    with pytest.raises(SettingsError) as caught:
        add_client(path, subject)
    assert str(caught.value).startswith(field)
    assert not path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON: line 1"),
        ("[" * 100_000, "is not JSON"),
        ("\udcff", "is not JSON"),
        ("[]", "file: "),
        ('{"client": []}', "client: unknown field"),
        ('{"clients": [{"client_id": "a"}]}', "clients[0].secret_hash: "),
        (json.dumps({"clients": [entry(), entry("b", secret="plain-text")]}), "clients[1].secret: plaintext secrets"),
        (json.dumps({"clients": [entry(secret_hash="plain-text")]}), "clients[0].secret_hash: expected a hash"),
        (json.dumps({"clients": [entry(secret_hash=HASH.replace("t=2", "t=1"))]}), "clients[0].secret_hash"),
        (json.dumps({"clients": [entry(scope="api:read")]}), "clients[0].scope: unknown field; expected client_id"),
        (json.dumps({"clients": [entry(scopes="api:read")]}), "clients[0].scopes: "),
        (json.dumps({"clients": [entry(scopes=["a,b"])]}), "clients[0].scopes[0]: expected printable"),
        (json.dumps({"clients": [entry(), entry()]}), "client_id: duplicate reports"),
        ('{"clients": [], "clients": []}', "duplicate member name"),
    ],
)
def test_an_invalid_file_is_rejected_without_showing_its_values(path, content, message, caplog):
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(SettingsError) as caught:
        ClientRegistry(path)
    assert str(caught.value).startswith(f"CLIENTS_FILE: {path}")
    assert message in str(caught.value)
    assert "plain-text" not in str(caught.value)

    write(path, entry())
    clients = ClientRegistry(path, now=Ticking())
    path.write_bytes(content.encode("utf-8", "surrogateescape"))
    for _ in range(3):
        assert clients.authenticate("reports", "s3cret")  # a running service keeps its clients
    assert caplog.text.count("keeping the current clients") == 1
    assert message in caplog.text
    assert "plain-text" not in caplog.text


def test_a_directory_in_place_of_the_file_is_rejected(path):
    path.mkdir()
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        ClientRegistry(path)


def test_changes_of_the_file_are_loaded(path):
    clients = ClientRegistry(path, now=Ticking())
    assert not clients
    write(path, entry())
    assert clients.authenticate("reports", "s3cret")
    write(path, entry("other"))
    assert not clients.authenticate("reports", "s3cret")
    path.unlink()
    assert not clients


def test_an_unreadable_file_keeps_the_current_clients(path, caplog):
    write(path, entry())
    clients = ClientRegistry(path, now=Ticking())
    path.unlink()
    path.symlink_to(path)  # a link to itself cannot be read
    assert clients.authenticate("reports", "s3cret")
    assert "keeping the current clients" in caplog.text


def test_the_settings_define_an_additional_client(path):
    write(path, entry())
    clients = ClientRegistry(path, "loaner-client", SecretStr("of the settings"))
    assert set(clients.by_name()) == {"loaner-client", "reports"}
    assert clients.authenticate("loaner-client", "of the settings").scopes == ("api:read",)
    with pytest.raises(SettingsError, match="reports is already defined by CLIENT_ID"):
        ClientRegistry(path, "reports", SecretStr("x"))


def test_an_unknown_client_takes_as_long_as_a_wrong_secret(path, monkeypatch):
    write(path, entry())
    clients = ClientRegistry(path)
    hashes = []
    monkeypatch.setattr(module, "matches", lambda secret, hashed: hashes.append(hashed))
    clients.authenticate("reports", "x")
    clients.authenticate("unknown", "x")
    known, unknown = hashes
    assert known == HASH
    assert unknown.split("$")[:4] == known.split("$")[:4]  # the same algorithm and cost


def test_a_repaired_file_is_loaded(path):
    write(path, entry())
    clients = ClientRegistry(path, now=Ticking())
    path.write_text("{")
    assert clients.authenticate("reports", "s3cret")
    write(path, entry("other"))
    assert clients.authenticate("other", "s3cret")


def test_a_replacement_worker_starts_despite_an_invalid_file(path, caplog):
    path.write_text("{")
    clients = ClientRegistry(path, "loaner-client", SecretStr("of the settings"), now=Ticking(), strict=False)
    assert "is not JSON" in caplog.text
    assert clients.authenticate("loaner-client", "of the settings")
    write(path, entry())
    assert clients.authenticate("reports", "s3cret")


def test_a_changed_file_keeps_its_owner_and_symbolic_link(path, tmp_path):
    real = tmp_path / "real.json"
    add_client(real, Subject("a"))
    path.symlink_to(real)
    if os.geteuid() == 0:
        os.chown(real, 12345, 12346)
    add_client(path, Subject("b"))
    assert path.is_symlink()
    assert [client.client_id for client in read_clients(real)] == ["a", "b"]
    if os.geteuid() == 0:
        assert (real.stat().st_uid, real.stat().st_gid) == (12345, 12346)


def test_a_missing_file_that_the_settings_name_is_logged(path, caplog):
    assert not open_clients(TokenSettings(clients_file=str(path)))
    assert f"CLIENTS_FILE: {path} does not exist" in caplog.text
