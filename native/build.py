"""Build the core: `python native/build.py source | arch | local`.

source: translate native/*.py into native/*.c. arch: compile those C files for this machine, which needs no Cython.
local: both in one step, leaving no C files behind.
"""

import os
import sys
import tempfile
from pathlib import Path

import click
from Cython.Build import cythonize
from setuptools import Distribution, Extension
from setuptools.command.build_ext import build_ext
from setuptools.errors import BaseError

HERE = Path(__file__).parent
ROOT = HERE.parent
# The files to compile say so in their first line.
MODULES = sorted(path.stem for path in HERE.glob("*.py") if path.read_text().startswith("# cython:"))
COMPILE_ARGS = [] if sys.platform == "win32" else ["-O3"]


def _extensions(suffix: str) -> list[Extension]:
    return [
        Extension(f"native.{name}", [f"native/{name}{suffix}"], extra_compile_args=COMPILE_ARGS) for name in MODULES
    ]


def _translate(c_folder: str | None) -> list[Extension]:
    return list(
        cythonize(  # type: ignore[no-untyped-call]
            _extensions(".py"), build_dir=c_folder, quiet=True, language_level=3, force=True
        )
    )


def _compile(extensions: list[Extension], temp: str) -> None:
    command = build_ext(Distribution({"name": "loaner-core", "ext_modules": extensions}))
    command.build_lib = str(ROOT)  # native.timeline lands in native/, beside its source
    command.build_temp = temp
    command.parallel = len(MODULES)
    command.force = True
    command.ensure_finalized()
    command.run()


@click.command()
@click.argument("what", type=click.Choice(["source", "arch", "local"]))
def main(what: str) -> None:
    """Translate the core to C (source), compile that C (arch), or do both in one step (local)."""
    with tempfile.TemporaryDirectory() as temp:
        try:
            if what == "source":
                _translate(None)
            elif what == "arch":
                missing = [name for name in MODULES if not (HERE / f"{name}.c").exists()]
                if missing:
                    raise click.ClickException(f"native/{missing[0]}.c is missing: run `make build-source` first")
                _compile(_extensions(".c"), temp)
            else:
                _compile(_translate(temp), temp)
        except BaseError as err:
            raise click.ClickException(f"the core was not compiled: {err}; is there a C compiler?") from err


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
