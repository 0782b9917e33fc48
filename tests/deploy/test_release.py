"""The containers of a release, run as processes by the documented steps: migration, service, `helm test`."""

import os
import re
import shutil
import socket
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2
import pytest
from pydantic import SecretStr

from security import KeyStore
from security.keys.generation import write_key_pair
from security.keys.permissions import find_loose_permissions
from service.cli.probe import ProbeFailed, probe
from service.errors import SettingsError
from service.settings import TokenSettings
from service.standalone.embedded_postgres import SUPERUSER, EmbeddedPostgres
from service.tokens.clients_file import add_client
from service.tokens.issuer import READ, Subject
from tests.conftest import ROOT
from tests.deploy.chart import environment_of, helm, one, pods, rendered
from tests.fakes.certificates import write_certificate
from tests.fakes.kong.fake_kong import FakeKong
from tests.fakes.kong.fake_kong import running as running_kong
from tests.support.ports import free_port
from tests.support.processes import ask, run, shell, started
from tests.support.waiting import wait_until

DOCUMENT = (ROOT / "docs" / "guides" / "kubernetes.md").read_text()


def mount(volume: Path, files: dict[str, bytes], mode: int) -> None:
    """Write files to a volume as a kubelet does: symbolic links into a directory that is replaced atomically."""
    volume.mkdir(exist_ok=True)
    target = Path(tempfile.mkdtemp(prefix="..2026_11_22_", dir=volume))
    target.chmod(0o755)
    for name, content in files.items():
        (target / name).write_bytes(content)
        (target / name).chmod(mode)
    before = (volume / "..data").resolve()
    (volume / "..data_tmp").symlink_to(target.name)
    (volume / "..data_tmp").replace(volume / "..data")
    for name in files:
        if not (volume / name).is_symlink():
            (volume / name).symlink_to(f"..data/{name}")
    for link in volume.iterdir():
        if not link.name.startswith("..") and not link.exists():
            link.unlink()
    if before.name != "..data":
        shutil.rmtree(before)


def files_of(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.fixture(scope="module")
def key_mode():
    (deployment,) = (pod for pod in pods(rendered()) if "serviceAccountName" in pod)
    (mode,) = (volume["secret"]["defaultMode"] for volume in deployment["volumes"] if volume["name"] == "keys")
    return mode


@pytest.fixture(scope="module")
def database():
    """A server after step 1 of the document."""
    folder = Path(tempfile.mkdtemp(prefix="loaner-tests-"))
    folder.chmod(0o755)
    server = EmbeddedPostgres(folder / "postgres")
    server.start()
    reach = {"host": "127.0.0.1", "port": server.port, "user": SUPERUSER, "password": server.secret(SUPERUSER)}
    statements = re.findall(r"CREATE [^;]+;", DOCUMENT)
    with closing(psycopg2.connect(dbname="postgres", **reach)) as connection:
        connection.autocommit = True
        for statement in statements:
            connection.cursor().execute(statement)
    assert len(statements) == 5
    yield server
    server.stop()
    shutil.rmtree(server.home)
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def secrets(tmp_path_factory):
    """The Secret of step 2 of the document."""
    folder = tmp_path_factory.mktemp("secrets")
    (command,) = re.findall(r"\(umask 077 .+? > loaner.env\)", DOCUMENT, re.DOTALL)
    shell(command.replace("openssl rand -hex 32", "echo of-the-client"), folder)
    assert (folder / "loaner.env").stat().st_mode & 0o777 == 0o600
    lines = (folder / "loaner.env").read_text().split()
    return {"loaner": dict(line.split("=") for line in lines)}


@pytest.fixture(scope="module")
def kong():
    with running_kong(FakeKong()) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def manifests(database, kong):
    """The manifests of step 4 of the document, with the addresses of this test."""
    values = helm.parse_set_string(",".join(re.findall(r"--set (\S+)", DOCUMENT)))
    here = {"API_GATEWAY_URL": kong.url, "PSQL_HOST": "127.0.0.1", "PSQL_PORT": database.port, "PORT": free_port()}
    assert values["settings"].keys() - here.keys() == {"TRUSTED_PROXIES"}
    return rendered({**values, "settings": {**values["settings"], **here}, "clients": {"secretName": "clients"}})


@pytest.fixture(scope="module")
def migrated(manifests, secrets):
    """Result of running the migration's container."""
    (pod,) = pods([one(manifests, "Job", "loaner-migrate")])
    return run(*pod["containers"][0]["args"], **environment_of(pod, manifests, secrets))


@pytest.fixture(scope="module")
def volumes(tmp_path_factory, keys_dir, key_mode):
    """The volumes below /run/secrets."""
    folder = tmp_path_factory.mktemp("volumes")
    pair = write_certificate(folder / "pair.pem").read_bytes()
    mount(folder / "microkubes", files_of(keys_dir), key_mode)
    mount(folder / "loaner", {"clients.json": b'{"clients": []}'}, key_mode)
    mount(folder / "tls", {"tls.crt": pair, "tls.key": pair, "ca.crt": pair}, key_mode)
    return folder


@contextmanager
def serving(manifests, secrets, volumes):
    """Run the service's container; yields its port."""
    (pod,) = pods([one(manifests, "Deployment")])
    environment = environment_of(pod, manifests, secrets)
    here = {name: text.replace("/run/secrets", str(volumes)) for name, text in environment.items()}
    with started(**{**here, "LISTEN_HOST": "127.0.0.1", "DRAIN_S": "0"}) as (process, output):
        wait_until(lambda: process.poll() is not None or listens(here["PORT"]), 60)
        assert process.poll() is None, output()
        yield here["PORT"]


def listens(port: str) -> bool:
    with socket.socket() as probing:
        return probing.connect_ex(("127.0.0.1", int(port))) == 0


def helm_test(manifests, secrets, volumes, port, **variables):
    """Run the container of `helm test`."""
    pod = one(manifests, "Pod", "loaner-test")["spec"]
    replacements = {"loaner.microkubes.svc": "127.0.0.1", "/etc/loaner/authority": str(volumes / "tls")}
    arguments = " ".join(pod["containers"][0]["args"])
    assert f"://loaner.microkubes.svc:{port}" in arguments
    for original, replacement in replacements.items():
        arguments = arguments.replace(original, replacement)
    return run(*arguments.split(), **{**environment_of(pod, manifests, secrets), **variables})


@pytest.fixture(scope="module")
def release(manifests, secrets, migrated, volumes):
    """Arguments of `helm_test` for a release that is serving."""
    assert migrated.returncode == 0, migrated.stderr
    with serving(manifests, secrets, volumes) as port:
        yield manifests, secrets, volumes, port


@pytest.fixture(scope="module")
def url(release):
    return f"http://127.0.0.1:{release[-1]}"


def test_documented_command_generates_a_key_pair(tmp_path):
    (command,) = re.findall(r"mkdir -m 700 loaner-keys && .+", DOCUMENT)
    shell(command.replace("python service.py", f"{sys.executable} {ROOT / 'service.py'}"), tmp_path)
    assert KeyStore(tmp_path / "loaner-keys").verification_keys()


def test_migration_creates_the_tables(migrated):
    assert (migrated.returncode, migrated.stdout) == (0, "the tables are up to date\n"), migrated.stderr


def test_pod_becomes_ready(url):
    wait_until(lambda: ask(f"{url}/ready")[0] == 200)


def test_helm_test_gets_a_token_and_uses_it(release):
    done = helm_test(*release)
    assert (done.returncode, done.stderr) == (0, "")
    assert "loaner-client got a token" in done.stdout
    assert "database ok" in done.stdout


def test_helm_test_fails_with_a_wrong_secret(release):
    done = helm_test(*release, SECRET="not-this-one")
    assert done.returncode == 1
    assert re.fullmatch(r"Error: POST http://\S+/token: 401 .+\n", done.stderr)
    assert "not-this-one" not in done.stderr


def test_helm_test_verifies_the_certificate(manifests, secrets, migrated, volumes):
    settings = one(manifests, "ConfigMap")["data"]
    here = {name: settings[name] for name in ("API_GATEWAY_URL", "PSQL_HOST")}
    here |= {"PSQL_PORT": int(settings["PSQL_PORT"]), "PORT": free_port()}
    values = {"settings": here, "tls": {"secretName": "loaner-tls"}}
    with serving(rendered(values), secrets, volumes) as port:
        done = helm_test(rendered(values), secrets, volumes, port)
        assert (done.returncode, done.stderr) == (0, "")
        without_ca = {**values, "tls": {**values["tls"], "caKey": ""}}
        done = helm_test(rendered(without_ca), secrets, volumes, port)
        assert (done.returncode, done.stdout) == (1, "")
        assert "its certificate is not trusted (--ca)" in done.stderr


@pytest.mark.parametrize(
    ("url_template", "message"),
    [
        ("{url}/nothing/is/here", "/here/token: 404 "),
        ("http://127.0.0.1:1", "http://127.0.0.1:1/token: request failed: ConnectionError"),
        ("http://[", "URL: expected a URL such as http://loaner:5555"),
    ],
)
def test_probe_names_the_url_that_fails(url, url_template, message):
    client = TokenSettings(client_id="loaner-client", client_secret=SecretStr("of-the-client"))
    with pytest.raises(ProbeFailed, match=message):
        probe(url_template.format(url=url), client)


def test_probe_names_the_client_without_a_secret():
    client = TokenSettings(client_id="reports")
    with pytest.raises(SettingsError, match="SECRET is not set: the secret of the client reports"):
        probe("http://127.0.0.1:1", client)


def test_changed_clients_are_reloaded_without_a_restart(release, volumes, key_mode, tmp_path):
    secret = add_client(tmp_path / "clients.json", Subject("reports", READ))
    mount(volumes / "loaner", files_of(tmp_path), key_mode)
    done = helm_test(*release, CLIENT_ID="reports", SECRET=secret)
    assert (done.returncode, done.stderr) == (0, "")


def test_changed_keys_are_reloaded_atomically(volumes, keys_dir, key_mode, tmp_path):
    mount(tmp_path / "keys", files_of(keys_dir), key_mode)
    clock = iter(range(1_000))
    store = KeyStore(tmp_path / "keys", now=lambda: next(clock))
    assert store.verification_keys().keys() == {"loaner", "default"}
    (tmp_path / "generated").mkdir()
    write_key_pair(tmp_path / "generated", "loaner-20261122T000000Z")
    shutil.copy(keys_dir / "default.pub", tmp_path / "generated")
    mount(tmp_path / "keys", files_of(tmp_path / "generated"), key_mode)
    assert store.generation == 1
    assert store.verification_keys().keys() == {"loaner-20261122T000000Z", "default"}


def test_mounted_keys_have_safe_permissions(volumes, key_mode, monkeypatch):
    private = [volumes / "microkubes" / "loaner", volumes / "microkubes" / "default"]
    real = os.statvfs(volumes)

    class ReadOnly:
        f_flag = real.f_flag | os.ST_RDONLY

    monkeypatch.setattr(os, "statvfs", lambda _: ReadOnly)
    assert find_loose_permissions(volumes / "microkubes", private) == []
    monkeypatch.setattr(os, "statvfs", lambda _: real)
    assert {found.file for found in find_loose_permissions(volumes / "microkubes", private)} >= set(private)
