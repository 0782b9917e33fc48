"""Static checks of docker-compose.yml: health checks, start order, secrets, versions."""

import os
import re
import shutil
import subprocess

import pytest
import yaml

from service import __version__
from tests.conftest import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES = COMPOSE["services"]
SECRET = re.compile(r"PW|PASS|SECRET|TOKEN|KEY")
TASKS = {name for name, service in SERVICES.items() if service["restart"] == "no"}


def secrets_of(service: dict) -> set[str]:
    return {entry if isinstance(entry, str) else entry["source"] for entry in service.get("secrets", ())}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_health_check_or_is_a_task(name):
    health = SERVICES[name].get("healthcheck")
    if name in TASKS:
        assert health == {"disable": True}
    elif SERVICES[name]["image"].startswith("loaner:"):
        assert health is None
        assert "HEALTHCHECK" in (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    else:
        assert health["test"][0] in ("CMD", "CMD-SHELL")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_dependencies_wait_for_health_or_completion(name):
    for needed, condition in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in TASKS else "service_healthy"
        assert condition == {"condition": expected}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_secrets_are_passed_as_files(name):
    service = SERVICES[name]
    variables = [variable for variable in service.get("environment", {}) if SECRET.search(variable)]
    assert all(variable.endswith("_FILE") for variable in variables)
    assert secrets_of(service) <= COMPOSE["secrets"].keys()
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_have_a_version(name):
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert tag == f"${{LOANER_TAG:-{__version__}}}" if image == "loaner" else re.match(r"\d", tag)


def test_application_can_be_scaled():
    assert not {"container_name", "ports", "hostname"} & SERVICES["app"].keys()
    assert SERVICES["app"]["environment"]["SERVICE_DISCOVERY"] == "upstream"


@pytest.mark.parametrize("name", ["app", "small"])
def test_application_has_time_to_drain_and_is_read_only(name):
    service = SERVICES[name]
    assert service["stop_grace_period"] == "45s"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert [volume for volume in service["volumes"] if not volume.endswith(":ro")] == []


def test_small_profile_starts_only_application_database_and_cache():
    needed, found = ["small"], set()
    while needed:
        name = needed.pop()
        found.add(name)
        needed += SERVICES[name].get("depends_on", {})
    assert found - TASKS == {"small", "database", "cache"}
    assert SERVICES["small"]["profiles"] == ["small"]
    assert all("profiles" not in service for name, service in SERVICES.items() if name != "small")


def test_script_creates_every_mounted_secret_and_keeps_existing_ones(tmp_path):
    script = shutil.copy(ROOT / "deploy" / "compose" / "secrets.sh", tmp_path)
    subprocess.run([script, "loans.example"], check=True, capture_output=True)
    created = {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()}
    assert created.keys() == COMPOSE["secrets"].keys()
    assert COMPOSE["secrets"] == {name: {"file": f"deploy/compose/secrets/{name}"} for name in created}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert all(re.fullmatch(rb"[0-9a-f]{64}", value) for name, value in created.items() if not name.startswith("tls_"))
    subprocess.run([script], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()} == created


def test_script_creates_no_empty_secret_if_openssl_fails(tmp_path):
    script = shutil.copy(ROOT / "deploy" / "compose" / "secrets.sh", tmp_path)
    (tmp_path / "openssl").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "openssl").chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run([script], env={**os.environ, **path}, capture_output=True, text=True)
    assert (done.returncode != 0, done.stdout) == (True, "")
    assert list((tmp_path / "secrets").iterdir()) == []


@pytest.mark.parametrize(
    ("host", "name"),
    [("loans.example", "DNS:loans.example"), ("10.0.0.3", "IP Address:10.0.0.3"), ("fd00::3", "FD00:")],
)
def test_certificate_names_the_host_or_address(tmp_path, host, name):
    script = shutil.copy(ROOT / "deploy" / "compose" / "secrets.sh", tmp_path)
    subprocess.run([script, host], check=True, capture_output=True)
    shown = ["openssl", "x509", "-in", tmp_path / "secrets" / "tls_cert", "-noout", "-ext", "subjectAltName"]
    assert name in subprocess.run(shown, check=True, capture_output=True, text=True).stdout


def test_host_that_a_certificate_cannot_name_is_an_error(tmp_path):
    script = shutil.copy(ROOT / "deploy" / "compose" / "secrets.sh", tmp_path)
    done = subprocess.run([script, "a,b=c"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "rror" in done.stderr


def test_every_secret_is_mounted():
    assert set().union(*(secrets_of(service) for service in SERVICES.values())) == COMPOSE["secrets"].keys()


@pytest.mark.parametrize("override", ["", "app", "cache", "database"])
def test_compose_accepts_the_file_and_its_overrides(override):
    compose = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
    if shutil.which(compose[0]) is None or subprocess.run([*compose, "version"], capture_output=True).returncode != 0:
        pytest.skip("docker-compose is not installed")
    files = ["docker-compose.yml", *([f"deploy/compose/{override}.yml"] if override else [])]
    hosts = {"DATABASE_HOST": "db.example", "CACHE_HOST": "cache.example"}
    done = subprocess.run(
        [*compose, *(part for file in files for part in ("--file", file)), "config", "--quiet"],
        cwd=ROOT, env={**os.environ, **hosts}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
