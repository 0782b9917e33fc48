"""Misspelt names of settings are found, and names of other programs are not taken for them."""

import re

import pytest

from service import settings as settings_module
from service.misspelling import closest, distance
from service.settings import all_settings, misspelt_settings
from tests.conftest import ROOT

KNOWN = {*(name for name, _, _ in all_settings()), "LOANER_NATIVE"}
# Variables of shells, container platforms, databases and the tools of this platform.
UNRELATED = """
    PATH HOME HOST HOSTNAME SHELL TERM USER LANG PWD SHLVL EDITOR PAGER DISPLAY SORT PARTS TZ UID POST SUPPORT EXPORT
    PGHOST PGPORT PGUSER PGPASSWORD PGDATABASE PGSSLMODE PGOPTIONS PSQLRC PSQL_EDITOR PSQL_HISTORY PSQL_PAGER
    MYSQL_HOST MYSQL_PORT MYSQL_USER MYSQL_DB MSSQL_PORT REDIS_HOST REDIS_PORT POSTGRES_USER POSTGRES_PASSWORD
    VAULT_CACERT VAULT_CAPATH VAULT_NAMESPACE VAULT_SKIP_VERIFY VAULT_FORMAT VAULT_MFA VAULT_DEV_ROOT_TOKEN_ID
    CONSUL_HTTP_ADDR CONSUL_HTTP_TOKEN CONSUL_CACERT KONG_PG_HOST KONG_ADMIN_LISTEN KONG_PROXY_URL
    KUBERNETES_PORT KUBERNETES_SERVICE_HOST KUBERNETES_SERVICE_PORT LOANER_PORT LOANER_SERVICE_HOST LOANER_PORT_5555_TCP
    OTEL_SERVICE_NAME OTEL_EXPORTER_OTLP_ENDPOINT HTTP_PROXY HTTPS_PROXY NO_PROXY SSL_CERT_FILE SSL_CERT_DIR
    SERVICE_ROOT SERVICE_TYPE CLIENT_SECRET JWT TOKEN AWS_REGION GITHUB_TOKEN NODE_ENV PYTHONPATH VIRTUAL_ENV _
"""


@pytest.fixture(autouse=True)
def no_sources(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(settings_module, "SECRETS", tmp_path / "secrets")


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("PORTT", "PORT"),
        ("PROT", "PORT"),
        ("WORKER", "WORKERS"),
        ("PSQL_HSOT", "PSQL_HOST"),
        ("PGSQL_HOST", "PSQL_HOST"),
        ("MEMCACHED_SERVER", "MEMCACHED_SERVERS"),
        ("MEMCACHED_TIMEOUT", "MEMCACHED_TIMEOUT_S"),
        ("DRAIN", "DRAIN_S"),
        ("CACHE", "CACHE_BYTES"),
        ("ACESS_TOKEN_EXPIRE", "ACCESS_TOKEN_EXPIRES"),
        ("LOANER_NATVE", "LOANER_NATIVE"),
        ("PSQL_PASSWORD", "PSQL_PW"),
        ("PSQL_POSTING_PASS", "PSQL_POSTING_PW"),
        ("PSQL_DATABASE", "PSQL_DB"),
        ("PSQL_USERNAME", "PSQL_USER"),
        ("VAULT_ADDRESS", "VAULT_ADDR"),
        ("TRUSTED_PROXY", "TRUSTED_PROXIES"),
    ],
)
def test_the_meant_setting_is_found(name, meant):
    assert closest(name, KNOWN) == meant


def test_unrelated_names_are_left_alone():
    assert {name: meant for name in UNRELATED.split() if (meant := closest(name, KNOWN))} == {}


def test_no_setting_is_taken_for_another():
    assert not any(closest(name, KNOWN) for name in KNOWN)


def test_the_variables_of_the_deployments_raise_no_alarm():
    files = [
        *ROOT.glob("docker-compose*.yml"),
        *ROOT.glob("deploy/**/*.yml"),
        *ROOT.glob("deploy/**/*.sh"),
        ROOT / ".env.example",
    ]
    names = {name for file in files for name in re.findall(r"\b[A-Z][A-Z0-9_]{2,}\b", file.read_text())}
    assert len(names) > 50
    assert {name: meant for name in names if (meant := closest(name, KNOWN))} == {}


@pytest.mark.parametrize(
    ("first", "second", "edits"),
    [("", "", 0), ("", "AB", 2), ("AB", "BA", 1), ("PORT", "PORTT", 1), ("PORT", "PRT", 1), ("KITTEN", "SITTING", 3)],
)
def test_distance(first, second, edits):
    assert distance(first, second) == distance(second, first) == edits


def test_every_source_is_searched(monkeypatch, tmp_path):
    (tmp_path / ".env").write_text("THREADSS=hunter2\nMYSQL_HOST=db\n")
    (tmp_path / ".auth").write_text("export SECRT=hunter2\nexport JWT=x\n")
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "psql_pww").write_text("hunter2")
    (tmp_path / "secrets" / "port").write_text("5555")
    monkeypatch.setenv("PORTT", "hunter2")
    found = set(misspelt_settings())
    assert found == {
        ("PORTT", "environment", "PORT"),
        ("SECRT", ".auth", "SECRET"),
        ("THREADSS", ".env", "THREADS"),
        ("PSQL_PWW", str(tmp_path / "secrets"), "PSQL_PW"),
    }
