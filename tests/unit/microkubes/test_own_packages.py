"""A service may have modules named like the packages of this project."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.fakes.kong.fake_kong import FakeKong, running
from tests.support.processes import environment
from tests.support.seeds import code_blocks

SECURED = code_blocks("microkubes-python", "python")[3]
CHECK = """
import os, sys
assert app.test_client().get("/hello").status_code == 401
headers = {"Authorization": "Bearer " + os.environ["TOKEN"]}
print(app.test_client().get("/hello", headers=headers).text)
from microkubes.security import ACLProvider, JWTProvider, KeyException, KeyStore
try:
    KeyStore(keys={"a": "missing.pub"})
except KeyException:
    assert issubclass(FlaskSecurity.key_store_type, KeyStore)
"""


@pytest.fixture
def run(tmp_path, keys_dir, make_token):
    (tmp_path / "keys").symlink_to(keys_dir)

    def run(*arguments: str) -> str:
        with running(FakeKong()) as kong:
            variables = environment(PYTHONPATH=str(ROOT), API_GATEWAY_URL=kong.url, TOKEN=make_token())
            done = subprocess.run(
                [sys.executable, *arguments], cwd=tmp_path, env=variables, capture_output=True, text=True, timeout=60
            )
            assert list(kong.services) == ["hello-service"], done.stderr
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


GREETING = "Hello ann@example.com from Flask service on Microkubes\n"


def test_example_runs_under_the_name_that_the_documentation_gives_it(run, tmp_path):
    (tmp_path / "service.py").write_text(SECURED + CHECK)
    assert run("service.py") == GREETING


def test_example_is_imported_under_its_name(run, tmp_path):
    (tmp_path / "service.py").write_text(SECURED + CHECK)
    (tmp_path / "serve.py").write_text("import service\nassert service.hello\nassert not hasattr(service, '__path__')")
    assert run("serve.py") == GREETING


def test_service_keeps_its_own_packages(run, tmp_path):
    for package in ("service", "security"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text("OWNER = 'todos'")
        (tmp_path / package / "errors.py").write_text("OWNER = 'todos'")
    own = "\n".join(
        f"import {name}\nassert {name}.OWNER == 'todos'"
        for name in ("service", "security", "service.errors", "security.errors")
    )
    (tmp_path / "main.py").write_text(f"{SECURED}{CHECK}{own}")
    assert run("main.py") == GREETING
    (tmp_path / "main.py").write_text(f"{own}\n{SECURED}{CHECK}{own}")
    assert run("main.py") == GREETING


def test_names_are_shared_if_no_other_module_has_them(run, tmp_path):
    shared = (
        "\nimport security, service.gateway, microkubes.gateway\n"
        "assert microkubes.gateway.Registrator is service.gateway.Registrator\n"
        "assert JWTProvider is security.JWTProvider\n"
    )
    (tmp_path / "main.py").write_text(SECURED + CHECK + shared)
    assert run("main.py") == GREETING
