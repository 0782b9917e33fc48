"""The wheel: what it contains, and that it runs in an empty virtual environment."""

import json
import re
import signal
from pathlib import Path
from urllib.request import Request, urlopen
from zipfile import ZipFile

import pytest

from native.build import SOURCES
from service import __version__
from tests.architecture.word_list import tracked_files
from tests.conftest import ROOT
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.support.ports import free_port
from tests.support.processes import ask, started, wait_until_up
from tests.support.seeds import PRELUDE, addresses, code_blocks, commented_statement
from tests.support.virtual_env import TIMEOUT_S, VirtualEnv, build_wheel

PACKAGES = {"microkubes", "native", "security", "service"}
LEFT_OUT = {"native/LAYOUT.md", "native/build.py", "security/README.md"}
# Imports every module of some packages, and prints those that fail with the packages that they miss.
IMPORT_ALL = """
import importlib, json, pkgutil, sys
missing = {}
for package in sys.argv[1:]:
    path = importlib.import_module(package).__path__
    assert path[0].startswith(sys.prefix)
    for module in pkgutil.walk_packages(path, f"{package}."):
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as err:
            missing[module.name] = err.name
print(json.dumps(missing))
"""
OPEN, REGISTRATION, CHAIN, SECURED = code_blocks("microkubes-python", "python")

pytestmark = pytest.mark.timeout(2 * TIMEOUT_S)


@pytest.fixture(scope="module")
def folder(own_folder) -> Path:
    """A folder that PostgreSQL's user can read."""
    (own_folder / "wheel").mkdir()
    return own_folder / "wheel"


@pytest.fixture(scope="module")
def wheel(folder) -> Path:
    return build_wheel(folder)


def test_the_wheel_has_the_packages_and_nothing_else(wheel):
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    tracked = {str(path.relative_to(ROOT)) for path in tracked_files(ROOT, *(f"{package}/*" for package in PACKAGES))}
    compiled = {name for name in names if name.endswith((".so", ".pyd"))}
    assert names - compiled == tracked - LEFT_OUT
    assert {name.partition(".")[0] for name in compiled} == {f"native/{source.stem}" for source in SOURCES}
    assert {f"{package}/py.typed" for package in PACKAGES} <= names


def test_the_plain_installation_runs_the_examples_of_the_library(wheel, folder, keys_dir, make_token):
    plain = VirtualEnv(folder / "plain")
    plain.install(str(wheel))
    assert plain.packages() == {
        "cachetools", "certifi", "cffi", "charset-normalizer", "cryptography", "idna", "loaner", "pycparser", "pyjwt",
        "requests", "tenacity", "urllib3",
    }  # fmt: skip

    work = folder / "service"
    work.mkdir()
    (work / "keys").symlink_to(keys_dir)

    done = plain.run("python", "-c", IMPORT_ALL, "microkubes", "security", cwd=work)
    assert json.loads(done.stdout) == {"microkubes.security.flask": "flask", "security.frameworks.flask": "flask"}

    def execute(source: str, **variables: str) -> object:
        (work / "service.py").write_text(f"{PRELUDE}{source}")  # the documentation names its example so
        done = plain.run("python", "service.py", cwd=work, **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    requests = (
        f"\nstatement = {commented_statement(CHAIN)!r}\n"
        "import json\n"
        "from types import SimpleNamespace\n"
        "from microkubes.security import Request, Response\n"
        "seen = [str(auth)]\n"
        "for headers in ({'Authorization': 'Bearer ' + os.environ['TOKEN']}, {}):\n"
        "    request, response = Request(SimpleNamespace(headers=headers)), Response()\n"
        "    exec(statement)\n"
        "    seen += [response.status_code, getattr(context.get_auth(), 'username', None)]\n"
        "print(json.dumps(seen))"
    )
    assert execute(CHAIN + requests, TOKEN=make_token()) == ["None", 200, "ann@example.com", 401, None]
    with running(FakeKong()) as kong:
        assert execute(f"{REGISTRATION}\nprint(0)", API_GATEWAY_URL=kong.url) == 0
        assert kong.services["hello-service"]["host"] == "hello-service.service.consul"

    done = plain.run("loaner", "--help", cwd=work)
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"Error: the service is not installed .*pip install 'loaner\[service\]'\n", done.stderr)

    [*_, install_flask] = code_blocks("microkubes-python", "bash")
    assert install_flask.split() == ["pip", "install", "Flask"]
    plain.install("Flask")
    answers = (
        "\nimport json\n"
        "headers = {'Authorization': 'Bearer ' + os.environ['TOKEN']}\n"
        "get = app.test_client().get\n"
        "print(json.dumps([get('/hello').status_code, get('/hello', headers=headers).text]))"
    )
    with running(FakeKong()) as kong:
        variables = {"API_GATEWAY_URL": kong.url, "TOKEN": make_token()}
        assert execute(OPEN + answers, **variables) == [200, "Hello from Flask service on Microkubes"]
        assert execute(SECURED + answers, **variables) == [
            401, "Hello ann@example.com from Flask service on Microkubes",
        ]  # fmt: skip
        assert kong.routes["hello-service"]["paths"] == ["/"]


def test_the_standalone_installation_serves_from_any_folder(wheel, folder):
    full = VirtualEnv(folder / "full")
    full.install(f"{wheel}[standalone]")
    work = folder / "anywhere"
    work.mkdir()
    assert full.run("loaner", "--version", cwd=work).stdout == f"loaner, version {__version__}\n"
    assert full.run("loaner", "--help", cwd=work).stdout.startswith("Usage: loaner [OPTIONS]")
    assert full.run("loaner", "sample", "loans.csv", "events.csv", cwd=work).returncode == 0
    assert json.loads(full.run("python", "-c", IMPORT_ALL, *PACKAGES, cwd=work).stdout) == dict.fromkeys(
        (f"service.observability.{name}" for name in ("otel_tracing", "span_export", "traced_calls")), "opentelemetry"
    ), "only the extra otel is missing"
    done = full.run("python", "-c", "import native; print(native.IMPLEMENTATION, native.__file__)", cwd=work)
    assert done.stdout.startswith(f"compiled {full.bin.parent}")

    (work / "keys").mkdir(0o700)
    done = full.run("loaner", cwd=work, SERVICE_DISCOVERY="none")
    assert done.returncode == 1
    assert done.stderr.endswith("create a pair with: loaner keys generate\n")

    port = free_port()
    (work / ".env").write_text(f"PORT={port}\nWORKERS=1\n")
    url = f"http://127.0.0.1:{port}"
    with started("--standalone", cwd=work, program=full.bin / "loaner") as (process, read_log):
        wait_until_up(process, f"{url}/healthcheck", read_log)
        [token] = re.findall(r"(?m)^export JWT=['\"]?([\w.-]+)", (work / ".auth").read_text())
        bearer = {"Authorization": f"Bearer {token}"}
        assert ask(f"{url}/api/v1/loan/1/2020-07-01", bearer)[2]["balance"] == "9636.65"
        for address in addresses():
            with urlopen(Request(f"{url}{address}", headers=bearer), timeout=10) as reply:
                assert reply.status == 200, address
        with urlopen(f"{url}/api", timeout=10) as reply:
            assert b"swagger-ui-bundle.js" in reply.read()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0, read_log()
        assert "Traceback" not in read_log()
    assert {path.name for path in work.iterdir()} == {
        ".auth", ".env", ".local", "events.csv", "keys", "loans.csv",
    }  # fmt: skip
