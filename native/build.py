"""Build the core: `python native/build.py source | arch | local`.

source: translate native/*.py into native/*.c. arch: compile those C files for this machine, which needs no Cython.
local: both in one step, leaving no C files behind.
"""

import os
import sys
import tempfile
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from setuptools import Extension

HERE = Path(__file__).parent
ROOT = HERE.parent
# The files to compile say so in their first line.
SOURCES = sorted(path for path in HERE.glob("*.py") if path.read_text().startswith("# cython:"))
COMPILE_ARGS = [] if sys.platform == "win32" else ["-O3"]


def _built(source: Path) -> list[Path]:
    """The extension modules of this source for this Python."""
    return [file for suffix in EXTENSION_SUFFIXES if (file := source.with_name(source.stem + suffix)).exists()]


def _is_up_to_date() -> bool:
    return all(_built(source) and _built(source)[0].stat().st_mtime >= source.stat().st_mtime for source in SOURCES)


def _extensions(suffix: str) -> "list[Extension]":
    from setuptools import Extension

    return [
        Extension(f"native.{source.stem}", [f"native/{source.stem}{suffix}"], extra_compile_args=COMPILE_ARGS)
        for source in SOURCES
    ]


def _translate(c_folder: str | None) -> "list[Extension]":
    from Cython.Build import cythonize

    extensions = _extensions(".py")
    translated: list[Extension] = cythonize(  # type: ignore[no-untyped-call]
        extensions, build_dir=c_folder, quiet=True, language_level=3, force=True
    )
    return translated


def _compile(extensions: "list[Extension]", temp: str) -> None:
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext
    from setuptools.errors import BaseError, CompileError, LinkError

    for source in SOURCES:
        for file in _built(source):
            file.unlink()  # never an old core beside a new source, nor a file rewritten under a running process
    command = build_ext(Distribution({"name": "loaner-core", "ext_modules": extensions}))
    command.build_lib = str(ROOT)  # native.timeline lands in native/, beside its source
    command.build_temp = temp
    command.parallel = len(SOURCES)
    command.force = True
    command.ensure_finalized()
    try:
        command.run()
    except (BaseError, CompileError, LinkError) as err:
        raise click.ClickException(f"the core was not compiled: {err}; is there a C compiler?") from err


@click.command()
@click.argument("what", type=click.Choice(["source", "arch", "local"]))
@click.option("--if-needed", is_flag=True, help="Do nothing when the compiled core is newer than its source.")
def main(what: str, if_needed: bool) -> None:
    """Translate the core to C (source), compile that C (arch), or do both in one step (local)."""
    os.chdir(ROOT)
    if if_needed and _is_up_to_date():
        return
    if what == "source":
        _translate(None)
        return
    with tempfile.TemporaryDirectory() as temp:
        if what == "arch":
            missing = [source.stem for source in SOURCES if not source.with_suffix(".c").exists()]
            if missing:
                raise click.ClickException(f"native/{missing[0]}.c is missing: run `make build-source` first")
            _compile(_extensions(".c"), temp)
        else:
            click.echo("compiling the core, once", err=True)
            _compile(_translate(temp), temp)


if __name__ == "__main__":
    main()
