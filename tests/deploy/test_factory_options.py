"""Options and payload of the factory, without a container engine or a host."""

import io
import re
import shutil
import subprocess
import tarfile

import pytest
from click.testing import CliRunner, Result
from rich.console import Console as Terminal

from deploy.factory.cli import main
from deploy.factory.console import Console
from deploy.factory.deployment import Deployment
from deploy.factory.errors import FactoryError
from deploy.factory.image import Image
from deploy.factory.image_transfer import ImageTransfer
from deploy.factory.options import HARDENING, read_script
from deploy.factory.payload import LOCAL_ONLY, collect, read_settings
from deploy.factory.payload_archive import to_archive
from deploy.factory.target import Target
from service.errors import SettingsError
from service.settings import all_settings
from tests.fakes.certificates import write_certificate

PASSWORD = "a-made-up-password"


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path, keys_dir):
    for name, _, _ in all_settings():
        monkeypatch.delenv(name, raising=False)
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
def test_target_is_parsed(text, parts):
    target = Target.parse(text)
    assert (target.user, target.host, target.port) == parts


@pytest.mark.parametrize(
    "text", ["", "ann@", "@host", "ann@host:0", "ann@host:65536", "ann@host:ssh", "-oProxyCommand=x", "a@-oX", "a b@c"]
)
def test_malformed_target_is_rejected(text):
    with pytest.raises(FactoryError, match="TARGET: expected user@host"):
        Target.parse(text)


def test_missing_target_is_rejected_with_an_example():
    assert dry_run().output == "Error: TARGET is not set; name the host: make factory TARGET=user@host\n"


def test_only_explicit_settings_are_sent_except_local_ones(monkeypatch):
    for name, value in {"LOG_LEVEL": "DEBUG", "SECURE_LOANS": "no", "PORT": "8080", "PSQL_PW": PASSWORD}.items():
        monkeypatch.setenv(name, value)
    for name in ("PSQL_ADMIN_PW", "PSQL_ADMIN_USER", "VAULT_ADMIN_ROLE"):
        monkeypatch.setenv(name, "local")
    payload = collect(read_settings(None))
    assert payload.variables == {"LOG_LEVEL": "DEBUG", "SECURE_LOANS": "false", "SERVICE_PORT": "8080"}
    assert payload.secrets == {"psql_pw": PASSWORD}


def test_every_setting_can_be_sent_and_secrets_never_as_variables(monkeypatch):
    values = {name.lower(): info.get_default() for name, info, _ in all_settings()}
    secret = {name.lower() for name, info, _ in all_settings() if "SecretStr" in str(info.annotation)}
    chosen = values | dict.fromkeys(secret, "s" * 16) | {"instance_host": "10.0.0.1"}
    files = {"clients_file": __file__}
    given = {name: value for name, value in (chosen | files).items() if value is not None}
    for name, value in given.items():
        if name != "keys_dir":
            monkeypatch.setenv(name.upper(), str(value))
    payload = collect(read_settings(None))
    assert payload.secrets.keys() == secret - LOCAL_ONLY
    assert {name.lower() for name in payload.variables} == given.keys() - secret - LOCAL_ONLY | {"service_port"}


def test_environment_overrides_the_env_file_and_unknown_names_are_reported(monkeypatch, tmp_path):
    file = tmp_path / "production.env"
    file.write_text(f"PSQL_HOST=file\nPSQL_DB=books\nexport PSQL_PW='{PASSWORD}'\nPSQL_PASSWORD=typo\n")
    monkeypatch.setenv("PSQL_HOST", "environment")
    payload = collect(read_settings(file), file)
    assert payload.variables["PSQL_HOST"] == "environment"
    assert payload.variables["PSQL_DB"] == "books"
    assert payload.secrets == {"psql_pw": PASSWORD}
    assert payload.ignored == ("PSQL_PASSWORD",)


def test_key_that_does_not_match_the_certificate_is_rejected_locally(monkeypatch, tmp_path):
    for name in ("TLS_CERT", "TLS_KEY"):
        monkeypatch.setenv(name, str(write_certificate(tmp_path / name)))
    output = dry_run("ann@host").output
    assert "TLS_KEY: " in output
    assert "is not the key of the first certificate" in output


def test_dotenv_file_is_not_read_unless_it_is_named(tmp_path):
    (tmp_path / ".env").write_text("PSQL_DB=development\n")
    assert "PSQL_DB" not in collect(read_settings(None)).variables


def test_url_with_a_password_is_sent_as_a_secret(monkeypatch):
    monkeypatch.setenv("API_GATEWAY_URL", "http://ann:pw@kong:8001")
    payload = collect(read_settings(None))
    assert payload.secrets == {"api_gateway_url": "http://ann:pw@kong:8001"}
    assert "API_GATEWAY_URL" not in payload.variables


def test_files_named_by_settings_are_sent(monkeypatch, tmp_path):
    (tmp_path / "ca.pem").write_text("a certificate")
    monkeypatch.setenv("VAULT_CA", "ca.pem")
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", "ca.pem")
    payload = collect(read_settings(None))
    assert payload.files == {"vault_ca": b"a certificate", "pgsslrootcert": b"a certificate"}
    assert payload.variables["VAULT_CA"] == "/run/secrets/files/vault_ca"
    assert payload.variables["PGSSLROOTCERT"] == "/run/secrets/files/pgsslrootcert"
    assert payload.variables["PGSSLMODE"] == "verify-full"


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "70000", "PORT"),
        ("VAULT_CA", "missing.pem", "VAULT_CA: missing.pem cannot be read: No such file or directory"),
        ("PSQL_DB", "two\nlines", "PSQL_DB: cannot be sent: it starts or ends with whitespace, or has several lines"),
        ("SECRET", " blank", "SECRET: cannot be sent: it starts or ends with whitespace"),
        ("SERVICE_DISCOVERY", "upstream", "INSTANCE_HOST is not set"),
        ("KEYS_DIR", "nowhere", "KEYS_DIR: key nowhere"),
    ],
)
def test_setting_that_cannot_be_sent_is_rejected_by_name(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    with pytest.raises((FactoryError, SettingsError), match=re.escape(message)):
        collect(read_settings(None))


def test_archive_is_private_to_the_service(monkeypatch, keys_dir):
    monkeypatch.setenv("PSQL_PW", PASSWORD)
    lines, _, archive = to_archive(collect(read_settings(None))).partition(b"\n\n")
    assert lines == b"SERVICE_PORT=5555"
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        entries = {entry.name: entry for entry in tar}
        assert tar.extractfile("psql_pw").read() == PASSWORD.encode()
        assert tar.extractfile("microkubes/loaner").read() == (keys_dir / "loaner").read_bytes()
    assert "microkubes/default.pub" in entries
    assert "microkubes/default" not in entries  # the platform's private key
    assert {(entry.uid, entry.gid) for entry in entries.values()} == {(10001, 10001)}
    assert {entry.mode for entry in entries.values() if entry.isfile()} == {0o600}
    assert {entry.mode for entry in entries.values() if entry.isdir()} == {0o700}


def test_secrets_are_redacted_line_by_line_and_the_longest_first():
    redact = Console(Terminal(), ["pw", "pw-and-more", "two\nlines"], steps=1).redact
    assert redact("pw-and-more, pw: lines \x1b[2J") == "********, ********: ********  [2J"
    assert redact("--build-arg INDEX=https://ann:x@index/") == "--build-arg INDEX=https://ann:********@index/"


def test_image_tag_includes_the_id_exactly_once():
    identity = "sha256:0123456789abcdef"
    assert Image("loaner:0.1.0", identity).tag == "loaner:0.1.0-0123456789ab"
    assert Image("loaner:0.1.0-0123456789ab", identity).tag == "loaner:0.1.0-0123456789ab"
    assert Image("registry:5000/loaner", identity).tag == "registry:5000/loaner:image-0123456789ab"


def test_dry_run_prints_each_step_and_no_secret(monkeypatch):
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
def test_false_dry_run_variable_runs_the_deployment(monkeypatch, flag):
    calls = []
    monkeypatch.setattr(Deployment, "run", lambda _: calls.append("run"))
    monkeypatch.setenv("DRY_RUN", flag)
    assert CliRunner().invoke(main, ["ann@host"]).exit_code == 0
    assert calls == ["run"]


def test_malformed_build_arguments_are_rejected():
    assert "BUILD_ARGS: not valid shell words" in dry_run("ann@host", "--build-args", "'x").output


def test_invalid_container_name_is_rejected():
    assert "CONTAINER: expected letters" in dry_run("ann@host", "--container", "a/../b").output


def test_container_is_hardened():
    options = " ".join(HARDENING)
    for flag in ("--user 10001:10001", "--read-only", "--tmpfs /tmp", "--cap-drop ALL", "no-new-privileges"):
        assert flag in options
    assert "--restart unless-stopped --stop-timeout 45" in options


def test_docker_unpacks_gzip_and_the_host_unpacks_zstd():
    assert ImageTransfer("x", "gzip").load == ["docker", "load"]
    assert "zstd -dc | docker load" in ImageTransfer("x", "zstd").load


@pytest.mark.parametrize(
    ("docker", "message"),
    [
        (None, "docker is not on the PATH of"),
        ("echo 'Got permission denied while trying to connect to the socket'; exit 1", "may not use docker"),
        ("echo 'Cannot connect to the Docker daemon'; exit 1", "Cannot connect to the Docker daemon"),
    ],
)
def test_preflight_says_why_docker_cannot_be_used(tmp_path, docker, message):
    for tool in ("sh", "id"):
        (tmp_path / tool).symlink_to(shutil.which(tool))
    if docker:
        (tmp_path / "docker").write_text(f"#!/bin/sh\n{docker}\n")
        (tmp_path / "docker").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", read_script("preflight")], env={"PATH": str(tmp_path)}, text=True, capture_output=True
    )
    assert done.returncode == 1
    assert message in done.stdout.splitlines()[-1]


@pytest.mark.parametrize("name", ["preflight", "replace"])
def test_script_is_valid_posix_shell(name):
    assert subprocess.run(["sh", "-n", "-c", read_script(name)]).returncode == 0
