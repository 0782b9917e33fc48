"""The layers of the code."""

import subprocess
import sys

from importlinter.cli import lint_imports

from tests.conftest import ROOT


def test_the_import_contracts_hold(monkeypatch):
    monkeypatch.chdir(ROOT)
    # its logging configuration would disable the loggers that later tests read
    monkeypatch.setattr("logging.config.dictConfig", lambda _: None)
    assert lint_imports(no_cache=True) == 0


def test_importing_the_service_package_imports_nothing_else():
    code = "import service, sys; print(*(name for name in sys.modules if name.startswith('service.')))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
