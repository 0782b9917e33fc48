"""Balance arithmetic: one source that runs compiled or interpreted, independent of Flask, Postgres and memcached.

`IMPLEMENTATION` is the build in use, "compiled" or "interpreted". The environment variable LOANER_NATIVE selects it;
selecting `compiled` without a compiled core raises ImportError. If it is unset, the compiled core is used if it exists.
This is the only package that reads the environment on import, because the import binds the classes of one build.
"""

import os
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from native.days import day_number, to_date

__all__ = [
    "FEE",
    "IMPLEMENTATION",
    "INTEREST",
    "LAYOUT_VERSION",
    "PARTS",
    "PAYMENT",
    "REVERSAL",
    "Timeline",
    "balance_parts",
    "day_number",
    "load",
    "portfolio_balances",
    "portfolio_parts",
    "to_date",
]

_HERE = Path(__file__).parent


def compiled_file(module: str) -> Path | None:
    """Return the extension module built from native/<module>.py for this Python, or None."""
    candidates = (_HERE / f"{module}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in candidates if path.exists()), None)


def load(module: str, implementation: str) -> ModuleType:
    """Import a module of the core in one of its builds.

    Args:
        module: "timeline", "portfolio" or "parts".
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


IMPLEMENTATION = os.environ.get("LOANER_NATIVE") or (
    "compiled" if all(map(compiled_file, ("timeline", "portfolio", "parts"))) else "interpreted"
)

_timeline = load("timeline", IMPLEMENTATION)
LAYOUT_VERSION: int = _timeline.LAYOUT_VERSION
FEE: int = _timeline.FEE
INTEREST: int = _timeline.INTEREST
PAYMENT: int = _timeline.PAYMENT
REVERSAL: int = _timeline.REVERSAL
Timeline = _timeline.Timeline
_parts = load("parts", IMPLEMENTATION)
PARTS: tuple[str, str, str] = _parts.ORDER
balance_parts = _parts.balance_parts
portfolio_parts = _parts.portfolio_parts
portfolio_balances = load("portfolio", IMPLEMENTATION).portfolio_balances
