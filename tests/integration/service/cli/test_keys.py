"""The commands for keys, clients and tokens, run as processes."""

import json
import re
import shutil
import subprocess
import sys
import time

import jwt
import pytest

from tests.conftest import ROOT
from tests.support.processes import environment, run

NAME = r"loaner-\d{8}T\d{6}Z"


@pytest.fixture
def place(tmp_path, keys_dir):
    """Settings that name a key directory with only the platform's key, and a clients file."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    shutil.copy(keys_dir / "default.pub", folder)
    return {"KEYS_DIR": str(folder), "CLIENTS_FILE": str(tmp_path / "clients.json"), "COLUMNS": "40"}


def test_a_key_is_generated_rotated_and_retired(place):
    assert "has no signing key" in run("keys", "check", **place).stdout
    first = re.search(rf"generated ({NAME}) \(active\)", run("keys", "generate", **place).stdout)[1]
    begun = time.monotonic()
    output = run("keys", "rotate", "--wait", "2", **place).stdout
    assert time.monotonic() - begun > 1
    second = re.search(f"published ({NAME}); it signs in [12] s", output)[1]
    assert f"{second} signs from now on; {first} verifies until its last token expires, 20" in output
    rows = {line.split()[0]: line for line in run("keys", "list", **place).stdout.splitlines()}
    assert "retiring  RSA 2048" in rows[first]
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ", rows[first])
    assert "active    RSA 2048" in rows[second]
    assert "3600 s after rotation" in rows[second]
    assert "platform  RSA 2048" in rows["default"]
    retired = run("keys", "retire", first, second, **place)
    assert f"removed {first}; consequences: every token it has signed" in retired.stdout
    assert f"removed {second}" in retired.stdout
    done = run("keys", "check", **place)
    assert (done.returncode, "OK, with notes" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rotate"], "has no key of this service; create one: keys generate"),
        (["rotate", "--wait", "-1"], "--wait"),
        (["retire", "default"], "key default: is not a key of this service"),
        (["retire", "../x"], "is not in this directory"),
        (["retire"], "Missing argument"),
    ],
)
def test_impossible_key_commands_fail_with_a_clear_error(place, arguments, message):
    done = run("keys", *arguments, **place)
    assert done.returncode > 0
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_keys_are_not_changed_while_a_public_key_is_unusable(place):
    first = re.search(f"generated ({NAME})", run("keys", "generate", **place).stdout)[1]
    (ROOT / place["KEYS_DIR"] / "half.pub").write_text("-----BEGIN")
    for command in (["generate"], ["rotate", "--wait", "0"]):
        done = run("keys", *command, **place)
        assert done.returncode == 1
        assert "half.pub: is not a public key" in done.stderr
        assert "fix that first. Nothing was changed" in done.stderr
    assert run("keys", "check", **place).returncode == 1
    done = run("keys", "retire", f"{first}.pub", **place)  # a leaked key must be removable even now
    assert done.returncode == 0
    assert "half.pub: is not a public key" in done.stderr


def test_a_missing_key_directory_is_named(place):
    for command in ("list", "check", "generate", "rotate"):
        done = run("keys", command, **{**place, "KEYS_DIR": "/nowhere"})
        assert done.returncode == 1
        assert done.stderr.startswith("Error: key /nowhere: ")
        assert len(done.stderr.splitlines()) == 1


def test_a_read_only_directory_is_named(place):
    # a read-only mount, because permissions do not stop root
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount --bind -o ro "$KEYS_DIR" "$KEYS_DIR" 2>/dev/null'
         ' && mount -o remount,ro,bind "$KEYS_DIR" && exec "$0" service.py keys generate', sys.executable],
        cwd=ROOT, env=environment(**place), capture_output=True, text=True,
    )  # fmt: skip
    if "Error" not in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr}")
    assert "cannot be changed: Read-only file system" in done.stderr


def test_adding_a_client_prints_its_secret_and_stores_the_hash(place):
    done = run("client", "add", "reports", "--scope", "api:read", "--scope", "api:write", "--role", "auditor", **place)
    secret = re.search(r"client_secret  (\S{43})\n", done.stdout)[1]
    stored = (ROOT / place["CLIENTS_FILE"]).read_text()
    assert secret not in stored
    [client] = json.loads(stored)["clients"]
    assert (client["scopes"], client["roles"]) == (["api:read", "api:write"], ["auditor"])
    assert run("client", "list", **place).stdout == "reports  api:read api:write\n"
    assert "client reports already exists" in run("client", "add", "reports", **place).stderr
    assert run("client", "remove", "reports", **place).returncode == 0
    assert "/nowhere does not exist" in run("client", "list", **{**place, "CLIENTS_FILE": "/nowhere"}).stderr
    assert "CLIENT_ID" in run("client", "add", "loaner-client", **place).stderr


def test_tokens_can_be_issued_for_people_and_clients(place):
    done = run("token", "ann@example.com", **place)
    assert "no signing key" in done.stderr
    run("keys", "generate", **place)
    run("client", "add", "reports", "--scope", "api:write", "--organization", "acme", "--namespace", "eu", **place)

    def claims(*arguments: str) -> dict:
        done = run("token", *arguments, **place)
        assert done.returncode == 0, done.stderr
        return jwt.decode(done.stdout.strip(), options={"verify_signature": False})

    person = claims("ann@example.com")
    assert (person["username"], person["scopes"], person["organizations"]) == ("ann@example.com", "api:read", "")
    assert person["exp"] - person["iat"] == 3600
    for name in ("", " ", "a\nb"):
        assert "expected the name of a client or person" in run("token", name, **place).stderr
    assert claims("ann@example.com", "--scope", "api:write")["scopes"] == "api:write"
    client = claims("reports")
    assert (client["sub"], client["scopes"]) == ("reports", "api:write")
    assert (client["organizations"], client["namespaces"]) == ("acme", "eu")
    rejected = run("token", "reports", "--scope", "api:read", **place)
    assert rejected.returncode > 0
    assert "client reports may only request api:write" in rejected.stderr
    assert "scope: expected printable ASCII" in run("token", "ann", "--scope", "a b", **place).stderr
