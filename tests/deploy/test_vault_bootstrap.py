"""deploy/vault/bootstrap.sh, with a program in Vault's place that notes what it is asked."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

SECRETS = {"vault_root_token": "root-token", "vault_psql_pw": "manager-password", "vault_secret_id": "the-secret-id"}
# Lists what has been enabled, and lets nobody log in before a secret id was registered.
VAULT = """#!{python}
import json, os, sys
noted = os.path.join(os.path.dirname(__file__), "noted")
before = [json.loads(line) for line in open(noted)] if os.path.exists(noted) else []
asked = sys.argv[1:]
assert os.environ["VAULT_TOKEN"] == "root-token"
if asked[1:] == ["list", "-format=json"]:
    print(json.dumps({{b[2] + "/": {{}} for b in before if b[:2] == [asked[0], "enable"]}}))
with open(noted, "a") as file:
    print(json.dumps(asked), file=file)
registered = any(b[1:2] == ["auth/approle/role/loaner/custom-secret-id"] for b in before)
sys.exit(2 if asked[:2] == ["write", "auth/approle/login"] and not registered else 0)
"""


@pytest.fixture
def bootstrap(tmp_path):
    """Run the script. Gives what Vault was asked, and what was printed."""
    program = tmp_path / "vault"
    program.write_text(VAULT.format(python=sys.executable))
    program.chmod(0o755)
    for name, secret in SECRETS.items():
        (tmp_path / name).write_text(secret)

    def run(**changes: str) -> tuple[list[list[str]], subprocess.CompletedProcess[str]]:
        known = len((tmp_path / "noted").read_text().splitlines()) if (tmp_path / "noted").exists() else 0
        environment = {
            "PATH": f"{tmp_path}:{os.environ['PATH']}", "SECRETS_DIR": str(tmp_path),
            "VAULT_ADDR": "http://vault:8200", "PSQL_HOST": "database", **changes,
        }  # fmt: skip
        script = ROOT / "deploy" / "vault" / "bootstrap.sh"
        done = subprocess.run(["sh", script], env=environment, capture_output=True, text=True)
        lines = (tmp_path / "noted").read_text().splitlines()[known:] if (tmp_path / "noted").exists() else []
        return [json.loads(line) for line in lines], done

    return run


def written(asked: list[list[str]], path: str) -> dict[str, str]:
    """What was written to a path of Vault."""
    (found,) = [line[2:] for line in asked if line[:2] == ["write", path]]
    return dict(member.split("=", 1) for member in found)


def test_roles_policy_and_login_are_set_up(bootstrap):
    asked, done = bootstrap()
    assert done.returncode == 0, done.stderr
    assert ["secrets", "enable", "database"] in asked
    assert ["auth", "enable", "approle"] in asked
    config = written(asked, "database/config/loaner")
    assert config["connection_url"].startswith("postgresql://{{username}}:{{password}}@database:5432/loaner?")
    for role in ("readonly", "posting"):
        statements = written(asked, f"database/roles/{role}")
        for name in ("creation_statements", "revocation_statements"):
            assert Path(statements[name].removeprefix("@")).is_file()
    assert written(asked, "auth/approle/role/loaner")["token_policies"] == "loaner"
    assert asked[-1][:2] == ["write", "auth/approle/login"]


def test_it_can_be_run_again(bootstrap):
    bootstrap()
    asked, done = bootstrap()
    assert done.returncode == 0, done.stderr
    assert not [line for line in asked if "enable" in line or "custom-secret-id" in line[1]]


def test_no_secret_is_on_a_command_line_or_printed(bootstrap):
    asked, done = bootstrap()
    told = json.dumps(asked) + done.stdout + done.stderr
    assert not [secret for secret in SECRETS.values() if secret in told]


@pytest.mark.parametrize("missing", ["VAULT_ADDR", "PSQL_HOST"])
def test_what_is_not_set_is_named(bootstrap, missing):
    asked, done = bootstrap(**{missing: ""})
    assert done.returncode != 0
    assert missing in done.stderr
    assert asked == []


def test_the_policy_allows_what_the_service_asks_for_and_no_more():
    policy = (ROOT / "deploy" / "vault" / "loaner.hcl").read_text()
    assert "*" not in policy
    assert policy.count("path ") == 5
