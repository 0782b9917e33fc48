"""Loads the modules of the core in either build: compiled or interpreted."""

from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

_HERE = Path(__file__).parent


def compiled_file(module: str) -> Path | None:
    """Return the extension module built from native/<module>.py for this Python, or None."""
    candidates = (_HERE / f"{module}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in candidates if path.exists()), None)


@cache
def load(module: str, implementation: str) -> ModuleType:
    """Import a module of the core in one of its builds. Modules of a build share those that they load.

    Args:
        module: The name of a module with two builds, such as "timeline".
        implementation: "compiled" or "interpreted".

    Raises:
        ImportError: If the compiled module is missing, or the implementation has another name.
    """
    loader: ExtensionFileLoader | SourceFileLoader
    if implementation == "interpreted":
        loader = SourceFileLoader(f"native.{module}", str(_HERE / f"{module}.py"))
    elif implementation == "compiled":
        path = compiled_file(module)
        if path is None:
            missing = f"LOANER_NATIVE=compiled: the compiled core is missing (native/{module}); run `make build`"
            raise ImportError(missing, name="native")
        loader = ExtensionFileLoader(f"native.{module}", str(path))
    else:
        raise ImportError(f"LOANER_NATIVE: expected compiled or interpreted, not {implementation!r}", name="native")
    spec = spec_from_file_location(loader.name, loader.path, loader=loader)
    assert spec is not None
    loaded = module_from_spec(spec)
    loader.exec_module(loaded)
    return loaded
