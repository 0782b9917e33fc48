"""Names in issued tokens: the identity that a token establishes has what its client was given."""

import json

import pytest

from security import JWTProvider, KeyStore
from security.keys.signing_key import SigningKeys
from service.tokens.clients_file import add_client, read_clients
from service.tokens.issuer import Subject, TokenIssuer
from tests.support.issuing import ask

SUBJECT = Subject(
    "reports",
    ("api:read", "api:write"),
    ("guest admin", "auditor"),
    ("Acme Corp", "M\u00fcller & S\u00f6hne"),
    ("eu west",),
)


@pytest.fixture
def issue(keys_dir, tmp_path):
    """Return a function that stores a client, reads it again, issues its token, and returns the token's identity."""

    def issue(subject: Subject):
        path = tmp_path / "clients.json"
        add_client(path, subject)
        store = KeyStore(keys_dir)
        [client] = read_clients(path)
        return ask(JWTProvider(store), TokenIssuer(SigningKeys(store, "loaner"), "loaner", 60).issue(client.subject()))

    return issue


def test_names_with_spaces_arrive_as_they_were_given(issue):
    auth = issue(SUBJECT)
    assert auth.scopes == ["api:read", "api:write"]
    assert auth.roles == ["guest admin", "auditor"]
    assert auth.organizations == ["Acme Corp", "M\u00fcller & S\u00f6hne"]
    assert auth.namespaces == ["eu west"]


def test_name_with_a_space_gives_no_other_right(issue):
    assert issue(Subject("reports", roles=("guest admin",))).roles == ["guest admin"]


def test_clients_file_with_a_byte_order_mark_is_read(tmp_path):
    path = tmp_path / "clients.json"
    add_client(path, SUBJECT)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(json.loads(path.read_bytes())).encode())
    assert [client.roles for client in read_clients(path)] == [SUBJECT.roles]
