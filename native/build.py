"""Builds the compiled core: `python native/build.py source | arch | local`."""

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
# Modules to compile start with a Cython directive.
SOURCES = sorted(path for path in HERE.glob("*.py") if path.read_text().startswith("# cython:"))
COMPILE_ARGS = [] if sys.platform == "win32" else ["-O3"]


def _extension_files(source: Path) -> list[Path]:
    """Return the existing extension modules of a source for this Python."""
    return [file for suffix in EXTENSION_SUFFIXES if (file := source.with_name(source.stem + suffix)).exists()]


def _is_up_to_date() -> bool:
    return all(
        (files := _extension_files(source)) and files[0].stat().st_mtime >= source.stat().st_mtime for source in SOURCES
    )


def extensions(suffix: str) -> "list[Extension]":
    """Return the extension modules of the core.

    Args:
        suffix: `.py` to translate the sources, `.c` to use the translated files beside them.
    """
    from setuptools import Extension

    return [
        Extension(f"native.{source.stem}", [f"native/{source.stem}{suffix}"], extra_compile_args=COMPILE_ARGS)
        for source in SOURCES
    ]


def _translate(c_dir: str | None) -> "list[Extension]":
    from Cython.Build import cythonize

    translated: list[Extension] = cythonize(  # type: ignore[no-untyped-call]
        extensions(".py"), build_dir=c_dir, quiet=True, language_level=3, force=True
    )
    return translated


def _compile(modules: "list[Extension]", temp_dir: str) -> None:
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext
    from setuptools.errors import BaseError, CompileError, LinkError

    for source in SOURCES:
        for file in _extension_files(source):
            # A failed build must not leave an old core beside a new source. Overwriting a loaded file would crash
            # the processes that use it.
            file.unlink()
    command = build_ext(Distribution({"name": "loaner-core", "ext_modules": modules}))
    command.build_lib = str(ROOT)  # places native.timeline in native/, beside its source
    command.build_temp = temp_dir
    command.parallel = len(SOURCES)
    command.force = True
    command.ensure_finalized()
    try:
        command.run()
    except (BaseError, CompileError, LinkError) as err:
        raise click.ClickException(f"compiling the core failed: {err}. Check that a C compiler is installed.") from err


@click.command()
@click.argument("step", type=click.Choice(["source", "arch", "local"]))
@click.option("--if-needed", is_flag=True, help="Do nothing if the compiled core is newer than its source.")
def main(step: str, if_needed: bool) -> None:
    """Build the compiled core.

    `source` translates native/*.py to C and needs Cython. `arch` compiles the C files for this machine and needs a C
    compiler. `local` does both in one step and keeps no C files.
    """
    os.chdir(ROOT)
    if if_needed and _is_up_to_date():
        return
    if step == "source":
        _translate(None)
        return
    with tempfile.TemporaryDirectory() as temp_dir:
        if step == "arch":
            missing = [source.stem for source in SOURCES if not source.with_suffix(".c").exists()]
            if missing:
                raise click.ClickException(f"native/{missing[0]}.c is missing; run `make build-source` first")
            _compile(extensions(".c"), temp_dir)
        else:
            click.echo("Compiling the core...", err=True)
            _compile(_translate(temp_dir), temp_dir)


if __name__ == "__main__":
    main()
