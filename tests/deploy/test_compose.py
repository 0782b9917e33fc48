"""docker-compose.yml as it is written: health, order, secrets, versions."""

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
STEPS = {name for name, service in SERVICES.items() if service["restart"] == "no"}


def secrets_of(service: dict) -> set[str]:
    return {entry if isinstance(entry, str) else entry["source"] for entry in service.get("secrets", ())}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_tells_its_health_or_ends(name):
    health = SERVICES[name].get("healthcheck")
    if name in STEPS:
        assert health == {"disable": True}
    elif SERVICES[name]["image"].startswith("loaner:"):
        assert health is None
        assert "HEALTHCHECK" in (ROOT / "deploy" / "docker" / "Dockerfile").read_text()
    else:
        assert health["test"][0] in ("CMD", "CMD-SHELL")


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_the_start_is_ordered_by_health(name):
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        expected = "service_completed_successfully" if needed in STEPS else "service_healthy"
        assert how == {"condition": expected}


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_secrets_are_files(name):
    service = SERVICES[name]
    told = [variable for variable in service.get("environment", {}) if SECRET.search(variable)]
    assert all(variable.endswith("_FILE") for variable in told)
    assert secrets_of(service) <= COMPOSE["secrets"].keys()
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_images_are_of_a_version(name):
    image, _, tag = SERVICES[name]["image"].partition(":")
    assert tag == f"${{LOANER_TAG:-{__version__}}}" if image == "loaner" else re.match(r"\d", tag)


def test_the_application_may_be_there_several_times():
    assert not {"container_name", "ports", "hostname"} & SERVICES["app"].keys()
    assert SERVICES["app"]["environment"]["SERVICE_DISCOVERY"] == "upstream"


@pytest.mark.parametrize("name", ["app", "small"])
def test_the_application_gets_time_to_leave_and_nothing_to_write_to(name):
    service = SERVICES[name]
    assert service["stop_grace_period"] == "45s"
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    assert [volume for volume in service["volumes"] if not volume.endswith(":ro")] == []


def test_the_small_set_needs_no_more_than_its_three_parts():
    needed, found = ["small"], set()
    while needed:
        name = needed.pop()
        found.add(name)
        needed += SERVICES[name].get("depends_on", {})
    assert found - STEPS == {"small", "database", "cache"}
    assert SERVICES["small"]["profiles"] == ["small"]
    assert all("profiles" not in service for name, service in SERVICES.items() if name != "small")


def test_the_script_makes_the_secrets_that_are_mounted(tmp_path):
    script = shutil.copy(ROOT / "deploy" / "compose" / "secrets.sh", tmp_path)
    subprocess.run([script, "loans.example"], check=True, capture_output=True)
    made = {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()}
    assert made.keys() == COMPOSE["secrets"].keys()
    assert COMPOSE["secrets"] == {name: {"file": f"deploy/compose/secrets/{name}"} for name in made}
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    assert all(re.fullmatch(rb"[0-9a-f]{64}", value) for name, value in made.items() if not name.startswith("tls_"))
    subprocess.run([script], check=True, capture_output=True)
    assert {path.name: path.read_bytes() for path in (tmp_path / "secrets").iterdir()} == made


def test_without_openssl_the_script_makes_no_empty_secret(tmp_path):
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
def test_the_certificate_is_made_out_to_a_name_or_an_address(tmp_path, host, name):
    script = shutil.copy(ROOT / "deploy" / "compose" / "secrets.sh", tmp_path)
    subprocess.run([script, host], check=True, capture_output=True)
    shown = ["openssl", "x509", "-in", tmp_path / "secrets" / "tls_cert", "-noout", "-ext", "subjectAltName"]
    assert name in subprocess.run(shown, check=True, capture_output=True, text=True).stdout


def test_what_no_certificate_can_be_made_out_to_is_said(tmp_path):
    script = shutil.copy(ROOT / "deploy" / "compose" / "secrets.sh", tmp_path)
    done = subprocess.run([script, "a,b=c"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "rror" in done.stderr


def test_every_secret_is_needed():
    assert set().union(*(secrets_of(service) for service in SERVICES.values())) == COMPOSE["secrets"].keys()


@pytest.mark.parametrize("further", ["", "app", "cache", "database"])
def test_compose_understands_it(further):
    compose = ["docker-compose"] if shutil.which("docker-compose") else ["docker", "compose"]
    if shutil.which(compose[0]) is None or subprocess.run([*compose, "version"], capture_output=True).returncode != 0:
        pytest.skip("install docker-compose to run this")
    files = ["docker-compose.yml", *([f"deploy/compose/{further}.yml"] if further else [])]
    hosts = {"DATABASE_HOST": "db.example", "CACHE_HOST": "cache.example"}
    done = subprocess.run(
        [*compose, *(part for file in files for part in ("--file", file)), "config", "--quiet"],
        cwd=ROOT, env={**os.environ, **hosts}, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
