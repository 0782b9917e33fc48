"""Builds the compiled core: `python native/build.py source | arch | local`."""

import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
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
# Debugging symbols take a part of the time and are of no use without the generated C files.
COMPILE_ARGS = [] if sys.platform == "win32" else ["-O3", "-g0"]


def _extension_files(source: Path) -> list[Path]:
    """Return the existing extension modules of a source for this Python."""
    return [file for suffix in EXTENSION_SUFFIXES if (file := source.with_name(source.stem + suffix)).exists()]


def _is_up_to_date() -> bool:
    # Modules share the declarations in *.pxd, with which all of them must be compiled.
    declared = max((file.stat().st_mtime for file in HERE.glob("*.pxd")), default=0.0)
    return all(
        (files := _extension_files(source)) and files[0].stat().st_mtime >= max(source.stat().st_mtime, declared)
        for source in SOURCES
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


def _translate(modules: "list[Extension]", c_dir: str | None) -> "list[Extension]":
    from Cython.Build import cythonize

    translated: list[Extension] = cythonize(  # type: ignore[no-untyped-call]
        modules, build_dir=c_dir, quiet=True, language_level=3, force=True
    )
    return translated


def _compile(modules: "list[Extension]", temp_dir: str) -> None:
    from setuptools import Distribution
    from setuptools.command.build_ext import build_ext
    from setuptools.errors import BaseError, CompileError, LinkError

    command = build_ext(Distribution({"name": "loaner-core", "ext_modules": modules}))
    command.build_lib = str(ROOT)  # places native.timeline in native/, beside its source
    command.build_temp = temp_dir
    command.force = True
    command.ensure_finalized()
    try:
        command.run()
    except (BaseError, CompileError, LinkError) as err:
        raise click.ClickException(f"compiling the core failed: {err}. Check that a C compiler is installed.") from err


def _build_module(name: str, suffix: str) -> str:
    """Build one module in a process for it, and return its name."""
    with tempfile.TemporaryDirectory() as temp_dir:
        modules = [each for each in extensions(suffix) if each.name == name]
        _compile(_translate(modules, temp_dir) if suffix == ".py" else modules, temp_dir)
    return name


def _build(suffix: str) -> None:
    """Build all modules, one process for each processor, and print each step."""
    begun = time.monotonic()
    for source in SOURCES:
        for file in _extension_files(source):
            # A failed build must not leave an old core beside a new source. Overwriting a loaded file would crash
            # the processes that use it.
            file.unlink()
    click.echo(f"Compiling the core: {len(SOURCES)} modules, once", err=True)
    longest_first = sorted(SOURCES, key=lambda source: -source.stat().st_size)
    with ProcessPoolExecutor(min(len(SOURCES), os.cpu_count() or 1)) as pool:
        running = [pool.submit(_build_module, f"native.{source.stem}", suffix) for source in longest_first]
        for number, done in enumerate(as_completed(running), start=1):
            name = done.result()
            click.echo(f"  {number} of {len(SOURCES)}: {name}, {time.monotonic() - begun:.0f} s", err=True)
    click.echo(f"Compiled the core in {time.monotonic() - begun:.0f} s. Later starts skip this.", err=True)


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
        _translate(extensions(".py"), None)
    elif step == "arch":
        missing = [source.stem for source in SOURCES if not source.with_suffix(".c").exists()]
        if missing:
            raise click.ClickException(f"native/{missing[0]}.c is missing; run `make build-source` first")
        _build(".c")
    else:
        _build(".py")


if __name__ == "__main__":
    main()
