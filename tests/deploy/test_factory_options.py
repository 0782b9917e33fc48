"""What the factory takes along, and what it refuses, without an engine or a host."""

import io
import os
import re
import shutil
import subprocess
import tarfile

import pytest
from click.testing import CliRunner, Result
from rich.console import Console

from deploy.factory.cli import main
from deploy.factory.console import Report
from deploy.factory.deployment import Deployment
from deploy.factory.errors import FactoryError
from deploy.factory.image import Image
from deploy.factory.image_transfer import Shipping
from deploy.factory.options import CONFINED, script
from deploy.factory.payload import STAY, pack, read_settings
from deploy.factory.payload_archive import wrap
from deploy.factory.target import Target
from service.errors import SettingsError
from service.settings import Settings
from tests.fakes.certificates import write_certificate

PASSWORD = "a-made-up-password"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path, keys_dir):
    for field in Settings.model_fields:
        monkeypatch.delenv(field.upper(), raising=False)
    for name in ("TARGET", "DRY_RUN", "ENV_FILE", "IMAGE", "PGSSLMODE", "PGSSLROOTCERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEYS_DIR", str(keys_dir))
    monkeypatch.chdir(tmp_path)


def dry_run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["--dry-run", *arguments])


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("ann@host", ("ann", "host", None)),
        ("ann@host:2222", ("ann", "host", 2222)),
        ("host-from.config", (None, "host-from.config", None)),
        ("ann@[fe80::1]:22", ("ann", "fe80::1", 22)),
    ],
)
def test_a_target_is_read(text, parts):
    target = Target.parse(text)
    assert (target.user, target.host, target.port) == parts


@pytest.mark.parametrize(
    "text", ["", "ann@", "@host", "ann@host:0", "ann@host:65536", "ann@host:ssh", "-oProxyCommand=x", "a@-oX", "a b@c"]
)
def test_what_is_no_target_is_refused(text):
    with pytest.raises(FactoryError, match="TARGET: expected user@host"):
        Target.parse(text)


def test_without_a_target_it_says_how_to_give_one():
    assert dry_run().output == "Error: TARGET is not set; say where to: make factory TARGET=user@host\n"


def test_only_what_is_set_travels_and_what_is_decided_there_stays(monkeypatch):
    for name, value in {"LOG_LEVEL": "DEBUG", "SECURE_LOANS": "no", "PORT": "8080", "PSQL_PW": PASSWORD}.items():
        monkeypatch.setenv(name, value)
    for name in ("PSQL_ADMIN_PW", "PSQL_ADMIN_USER"):
        monkeypatch.setenv(name, "stays")
    luggage = pack(read_settings(None))
    assert luggage.variables == {"LOG_LEVEL": "DEBUG", "SECURE_LOANS": "false", "SERVICE_PORT": "8080"}
    assert luggage.secrets == {"psql_pw": PASSWORD}


def test_every_setting_can_travel_and_secrets_never_as_variables():
    values = {name: field.get_default() for name, field in Settings.model_fields.items()}
    secret = {name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)}
    chosen = values | dict.fromkeys(secret, "s" * 16) | {"instance_host": "10.0.0.1"}
    files = {"clients_file": __file__}
    given = {name: value for name, value in (chosen | files).items() if value is not None}
    luggage = pack(Settings(_env_file=None, **(given | {"keys_dir": os.environ["KEYS_DIR"]})))
    assert luggage.secrets.keys() == secret - STAY
    assert {name.lower() for name in luggage.variables} == given.keys() - secret - STAY | {"service_port"}


def test_the_environment_wins_over_the_file_of_settings_and_unknown_names_are_told(monkeypatch, tmp_path):
    file = tmp_path / "production.env"
    file.write_text(f"PSQL_HOST=file\nPSQL_DB=books\nexport PSQL_PW='{PASSWORD}'\nPSQL_PASSWORD=typo\n")
    monkeypatch.setenv("PSQL_HOST", "environment")
    luggage = pack(read_settings(file), file)
    assert luggage.variables["PSQL_HOST"] == "environment"
    assert luggage.variables["PSQL_DB"] == "books"
    assert luggage.secrets == {"psql_pw": PASSWORD}
    assert luggage.left == ("PSQL_PASSWORD",)


def test_a_key_of_another_certificate_is_found_out_here(monkeypatch, tmp_path):
    for name in ("TLS_CERT", "TLS_KEY"):
        monkeypatch.setenv(name, str(write_certificate(tmp_path / name)))
    assert "TLS_KEY: " in (told := dry_run("ann@host").output)
    assert "is not the key of the first certificate" in told


def test_settings_lying_about_do_not_travel(tmp_path):
    (tmp_path / ".env").write_text("PSQL_DB=development\n")
    assert "PSQL_DB" not in pack(read_settings(None)).variables


def test_a_url_with_a_password_is_a_secret(monkeypatch):
    monkeypatch.setenv("API_GATEWAY_URL", "http://ann:pw@kong:8001")
    luggage = pack(read_settings(None))
    assert luggage.secrets == {"api_gateway_url": "http://ann:pw@kong:8001"}
    assert "API_GATEWAY_URL" not in luggage.variables


def test_files_that_settings_name_travel(monkeypatch, tmp_path):
    (tmp_path / "ca.pem").write_text("a certificate")
    monkeypatch.setenv("VAULT_CA", "ca.pem")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", "ca.pem")
    luggage = pack(read_settings(None))
    assert luggage.files == {"vault_ca": b"a certificate", "pgsslrootcert": b"a certificate"}
    assert luggage.variables["VAULT_CA"] == "/run/secrets/files/vault_ca"
    assert luggage.variables["PGSSLROOTCERT"] == "/run/secrets/files/pgsslrootcert"
    assert luggage.variables["PGSSLMODE"] == "verify-full"


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("PORT", "70000", "PORT"),
        ("VAULT_CA", "missing.pem", "VAULT_CA: missing.pem cannot be read: No such file or directory"),
        ("PSQL_DB", "two\nlines", "PSQL_DB: begins or ends with a blank, or has several lines"),
        ("SECRET", " blank", "SECRET: begins or ends with a blank"),
        ("SERVICE_DISCOVERY", "upstream", "INSTANCE_HOST is not set"),
        ("KEYS_DIR", "nowhere", "KEYS_DIR: key nowhere"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_its_name(monkeypatch, name, value, complaint):
    monkeypatch.setenv(name, value)
    with pytest.raises((FactoryError, SettingsError), match=re.escape(complaint)):
        pack(read_settings(None))


def test_the_parcel_is_the_services_own_and_nobody_elses(monkeypatch, keys_dir):
    monkeypatch.setenv("PSQL_PW", PASSWORD)
    lines, _, archive = wrap(pack(read_settings(None))).partition(b"\n\n")
    assert lines == b"SERVICE_PORT=5555"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        entries = {entry.name: entry for entry in tar}
        assert tar.extractfile("psql_pw").read() == PASSWORD.encode()
        assert tar.extractfile("microkubes/loaner").read() == (keys_dir / "loaner").read_bytes()
    assert "microkubes/default.pub" in entries
    assert "microkubes/default" not in entries  # the platform's private key, which is never needed
    assert {(entry.uid, entry.gid) for entry in entries.values()} == {(10001, 10001)}
    assert {entry.mode for entry in entries.values() if entry.isfile()} == {0o600}
    assert {entry.mode for entry in entries.values() if entry.isdir()} == {0o700}


def test_secrets_are_masked_line_by_line_and_the_longest_first():
    masked = Report(Console(), ["pw", "pw-and-more", "two\nlines"], steps=1).masked
    assert masked("pw-and-more, pw: lines \x1b[2J") == "********, ********: ********  [2J"
    assert masked("--build-arg INDEX=https://ann:x@index/") == "--build-arg INDEX=https://ann:********@index/"


def test_an_image_gets_a_tag_that_names_it_and_keeps_it():
    identity = "sha256:0123456789abcdef"
    assert Image("loaner:0.1.0", identity).tag == "loaner:0.1.0-0123456789ab"
    assert Image("loaner:0.1.0-0123456789ab", identity).tag == "loaner:0.1.0-0123456789ab"
    assert Image("registry:5000/loaner", identity).tag == "registry:5000/loaner:image-0123456789ab"


def test_a_dry_run_says_each_step_and_no_secret(monkeypatch):
    monkeypatch.setenv("PSQL_PW", PASSWORD)
    monkeypatch.setenv("PORT", "8080")
    monkeypatch.setenv("LISTEN_HOST", "127.0.0.1")
    result = dry_run("ann@host:2222", "--memory", "512m")
    assert result.exit_code == 0, result.output
    assert [line[:4] for line in result.output.splitlines() if re.match(r"\d/\d ", line)] == [
        "1/4 ",
        "2/4 ",
        "3/4 ",
        "4/4 ",
    ]
    assert "$ docker build --file deploy/docker/Dockerfile --tag loaner:" in result.output
    assert "-o StrictHostKeyChecking=yes" in result.output
    assert "-p 2222 ann@host" in result.output
    assert "127.0.0.1:8080 150" in result.output
    assert "--memory 512m" in result.output
    assert "secret PSQL_PW=********" in result.output
    assert PASSWORD not in result.output


@pytest.mark.parametrize("flag", ["0", "", "false"])
def test_a_dry_run_has_to_be_asked_for(monkeypatch, flag):
    done = []
    monkeypatch.setattr(Deployment, "run", lambda _: done.append("run"))
    monkeypatch.setenv("DRY_RUN", flag)
    assert CliRunner().invoke(main, ["ann@host"]).exit_code == 0
    assert done == ["run"]


def test_build_arguments_that_no_shell_takes_are_refused():
    assert "BUILD_ARGS: expected words" in dry_run("ann@host", "--build-args", "'x").output


def test_a_wrong_name_of_a_container_is_refused():
    assert "CONTAINER: expected letters" in dry_run("ann@host", "--container", "a/../b").output


def test_what_is_confined_is_what_the_design_asks_for():
    told = " ".join(CONFINED)
    for flag in ("--user 10001:10001", "--read-only", "--tmpfs /tmp", "--cap-drop ALL", "no-new-privileges"):
        assert flag in told
    assert "--restart unless-stopped --stop-timeout 45" in told


def test_gzip_is_left_to_docker_and_zstd_is_not():
    assert Shipping("x", "gzip").load == ["docker", "load"]
    assert "zstd -dc | docker load" in Shipping("x", "zstd").load


@pytest.mark.parametrize(
    ("docker", "told"),
    [
        (None, "docker is not on the PATH of"),
        ("echo 'Got permission denied while trying to connect to the socket'; exit 1", "may not use docker"),
        ("echo 'Cannot connect to the Docker daemon'; exit 1", "Cannot connect to the Docker daemon"),
    ],
)
def test_a_host_whose_docker_cannot_be_used_says_why(tmp_path, docker, told):
    for tool in ("sh", "id"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    if docker:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n")
        (tmp_path / "docker").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", script("preflight")], env={"PATH": str(tmp_path)}, text=True, capture_output=True
    )
    assert done.returncode == 1
    assert told in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", ["preflight", "replace"])
def test_the_scripts_are_plain_sh(name):
    assert subprocess.run(["sh", "-n", "-c", script(name)]).returncode == 0
