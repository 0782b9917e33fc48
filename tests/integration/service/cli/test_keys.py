"""The commands for keys, clients and tokens, as an administrator types them."""

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
    """Variables that name a key directory with the platform's key only, and a file of clients."""
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    shutil.copy(keys_dir / "default.pub", folder)
    return {"KEYS_DIR": str(folder), "CLIENTS_FILE": str(tmp_path / "clients.json"), "COLUMNS": "40"}


def test_a_key_from_its_making_to_its_end(place):
    assert "has no signing key" in run("keys", "check", **place).stdout
    first = re.search(f"made ({NAME}), which is active", run("keys", "generate", **place).stdout)[1]
    begun = time.monotonic()
    told = run("keys", "rotate", "--wait", "2", **place).stdout
    assert time.monotonic() - begun > 1
    second = re.search(f"({NAME}) is published; it signs in [12] s", told)[1]
    assert f"{second} signs from now on; {first} verifies until " in told
    rows = {line.split()[0]: line for line in run("keys", "list", **place).stdout.splitlines()}
    assert "retiring  RSA 2048" in rows[first]
    assert re.search(r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ", rows[first])
    assert "active    RSA 2048" in rows[second]
    assert "3600 s after it is rotated" in rows[second]
    assert "platform  RSA 2048" in rows["default"]
    out = run("keys", "retire", first, second, **place)
    assert f"{first} is out; that breaks: every token it has signed" in out.stdout
    assert f"{second} is out" in out.stdout
    done = run("keys", "check", **place)
    assert (done.returncode, "nothing is wrong" in done.stdout) == (0, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["rotate"], "has no key of this service; create one: keys generate"),
        (["rotate", "--wait", "-1"], "--wait"),
        (["retire", "default"], "key default: is not a key of this service"),
        (["retire", "../x"], "is not in this directory"),
        (["retire"], "Missing argument"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(place, arguments, said):
    done = run("keys", *arguments, **place)
    assert done.returncode > 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_what_keeps_services_from_taking_up_a_change_is_to_be_mended_first(place):
    first = re.search(f"made ({NAME})", run("keys", "generate", **place).stdout)[1]
    (ROOT / place["KEYS_DIR"] / "half.pub").write_text("-----BEGIN")
    for command in (["generate"], ["rotate", "--wait", "0"]):
        done = run("keys", *command, **place)
        assert done.returncode == 1
        assert "half.pub: is not a public key" in done.stderr
        assert "mend that first, nothing was done" in done.stderr
    assert run("keys", "check", **place).returncode == 1
    done = run("keys", "retire", f"{first}.pub", **place)  # this cannot wait
    assert done.returncode == 0
    assert "half.pub: is not a public key" in done.stderr


def test_a_key_directory_that_is_missing_is_named(place):
    for command in ("list", "check", "generate", "rotate"):
        done = run("keys", command, **{**place, "KEYS_DIR": "/nowhere"})
        assert done.returncode == 1
        assert done.stderr.startswith("Error: key /nowhere: ")
        assert len(done.stderr.splitlines()) == 1


def test_a_read_only_directory_is_named(place):
    # not even root may write to what is mounted so
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", 'mount --bind -o ro "$KEYS_DIR" "$KEYS_DIR" 2>/dev/null'
         ' && mount -o remount,ro,bind "$KEYS_DIR" && exec "$0" service.py keys generate', sys.executable],
        cwd=ROOT, env=environment(**place), capture_output=True, text=True,
    )  # fmt: skip
    if "Error" not in done.stderr:
        pytest.skip(f"cannot mount here: {done.stderr}")
    assert "cannot be changed: Read-only file system" in done.stderr


def test_a_client_is_made_and_its_secret_shown_once(place):
    done = run("client", "add", "reports", "--scope", "api:read", "--scope", "api:write", "--role", "auditor", **place)
    secret = re.search(r"client_secret  (\S{43})\n", done.stdout)[1]
    kept = (ROOT / place["CLIENTS_FILE"]).read_text()
    assert secret not in kept
    [client] = json.loads(kept)["clients"]
    assert (client["scopes"], client["roles"]) == (["api:read", "api:write"], ["auditor"])
    assert run("client", "list", **place).stdout == "reports  api:read api:write\n"
    assert "a client reports already" in run("client", "add", "reports", **place).stderr
    assert run("client", "remove", "reports", **place).returncode == 0
    assert "/nowhere does not exist" in run("client", "list", **{**place, "CLIENTS_FILE": "/nowhere"}).stderr
    assert "CLIENT_ID" in run("client", "add", "loaner-client", **place).stderr


def test_a_token_for_people_and_clients(place):
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
        assert "expected somebody's name" in run("token", name, **place).stderr
    assert claims("ann@example.com", "--scope", "api:write")["scopes"] == "api:write"
    client = claims("reports")
    assert (client["sub"], client["scopes"]) == ("reports", "api:write")
    assert (client["organizations"], client["namespaces"]) == ("acme", "eu")
    refused = run("token", "reports", "--scope", "api:read", **place)
    assert refused.returncode > 0
    assert "the client reports may ask for api:write only" in refused.stderr
    assert "scope: expected printable ASCII" in run("token", "ann", "--scope", "a b", **place).stderr
