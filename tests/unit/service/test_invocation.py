"""Messages and files of a checkout, and of an installed package."""

from pathlib import Path

import pytest

from service import invocation
from service.cli import console
from service.standalone.home import home
from tests.conftest import ROOT


@pytest.fixture
def installed(monkeypatch, tmp_path):
    monkeypatch.setattr(invocation, "PROJECT", tmp_path / "site-packages")
    invocation.is_checkout.cache_clear()
    yield
    invocation.is_checkout.cache_clear()


def test_checkout_runs_its_script_and_keeps_files_beside_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert invocation.command_line("keys check") == "python service.py keys check"
    assert home() == ROOT


@pytest.mark.usefixtures("installed")
def test_installed_package_has_a_command_and_keeps_files_in_the_current_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert invocation.command_line("keys check") == "loaner keys check"
    assert home() == Path.cwd() == tmp_path


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(("missing", "is_explained"), [("click", True), ("service.cli.loans", False), (None, False)])
def test_command_without_the_service_says_what_to_install(monkeypatch, missing, is_explained):
    def fail(name, *_):
        raise ModuleNotFoundError("missing", name=missing)

    monkeypatch.setattr("builtins.__import__", fail)
    with pytest.raises(SystemExit if is_explained else ModuleNotFoundError) as caught:
        console.main()
    monkeypatch.undo()
    if is_explained:
        assert str(caught.value).endswith("(click is missing); run: pip install 'loaner[service]'")
