"""deploy/vault/bootstrap.sh, with a fake `vault` program that records its arguments."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SECRETS = {"vault_root_token": "root-token", "vault_psql_pw": "manager-password", "vault_secret_id": "the-secret-id"}
# Lists what has been enabled, and rejects logins until a secret id is registered.
VAULT = """#!{python}
import json, os, sys
log = os.path.join(os.path.dirname(__file__), "calls")
before = [json.loads(line) for line in open(log)] if os.path.exists(log) else []
arguments = sys.argv[1:]
assert os.environ["VAULT_TOKEN"] == "root-token"
if arguments[1:] == ["list", "-format=json"]:
    print(json.dumps({{b[2] + "/": {{}} for b in before if b[:2] == [arguments[0], "enable"]}}))
with open(log, "a") as file:
    print(json.dumps(arguments), file=file)
registered = any(b[1:2] == ["auth/approle/role/loaner/custom-secret-id"] for b in before)
sys.exit(2 if arguments[:2] == ["write", "auth/approle/login"] and not registered else 0)
"""


@pytest.fixture
def bootstrap(tmp_path):
    """A function that runs the script; returns the calls of `vault` and the completed process."""
    program = tmp_path / "vault"
    program.write_text(VAULT.format(python=sys.executable))
    program.chmod(0o755)
    for name, secret in SECRETS.items():
        (tmp_path / name).write_text(secret)

    def run(**changes: str) -> tuple[list[list[str]], subprocess.CompletedProcess[str]]:
        previous = len((tmp_path / "calls").read_text().splitlines()) if (tmp_path / "calls").exists() else 0
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}", "SECRETS_DIR": str(tmp_path),
            "VAULT_ADDR": "http://vault:8200", "PSQL_HOST": "database", **changes,
        }  # fmt: skip
        script = ROOT / "deploy" / "vault" / "bootstrap.sh"
        done = subprocess.run(["sh", script], env=environment, capture_output=True, text=True)
        lines = (tmp_path / "calls").read_text().splitlines()[previous:] if (tmp_path / "calls").exists() else []
        return [json.loads(line) for line in lines], done

    return run


def written(calls: list[list[str]], path: str) -> dict[str, str]:
    """Return what was written to a path of Vault."""
    (found,) = [line[2:] for line in calls if line[:2] == ["write", path]]
    return dict(member.split("=", 1) for member in found)


def test_roles_policy_and_login_are_configured(bootstrap):
    calls, done = bootstrap()
    assert done.returncode == 0, done.stderr
    assert ["secrets", "enable", "database"] in calls
    assert ["auth", "enable", "approle"] in calls
    config = written(calls, "database/config/loaner")
    assert config["connection_url"].startswith("postgresql://{{username}}:{{password}}@database:5432/loaner?")
    for role in ("readonly", "posting"):
        statements = written(calls, f"database/roles/{role}")
        for name in ("creation_statements", "revocation_statements"):
            assert Path(statements[name].removeprefix("@")).is_file()
    assert written(calls, "auth/approle/role/loaner")["token_policies"] == "loaner"
    assert calls[-1][:2] == ["write", "auth/approle/login"]


def test_script_is_idempotent(bootstrap):
    bootstrap()
    calls, done = bootstrap()
    assert done.returncode == 0, done.stderr
    assert not [line for line in calls if "enable" in line or "custom-secret-id" in line[1]]


def test_no_secret_is_on_a_command_line_or_printed(bootstrap):
    calls, done = bootstrap()
    output = json.dumps(calls) + done.stdout + done.stderr
    assert not [secret for secret in SECRETS.values() if secret in output]


@pytest.mark.parametrize("missing", ["VAULT_ADDR", "PSQL_HOST"])
def test_missing_variable_is_named(bootstrap, missing):
    calls, done = bootstrap(**{missing: ""})
    assert done.returncode != 0
    assert missing in done.stderr
    assert calls == []


@pytest.mark.parametrize("policy", ["loaner", "loaner-admin"])
def test_policies_have_no_wildcards(policy):
    assert "*" not in (ROOT / "deploy" / "vault" / f"{policy}.hcl").read_text()
