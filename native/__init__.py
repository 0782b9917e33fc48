"""The arithmetic: one source, compiled or interpreted. Knows nothing of Flask, Postgres or memcached.

`IMPLEMENTATION` says which build is in use. The environment variable LOANER_NATIVE asks for one of them by name, and
asking for `compiled` where it has not been built is an ImportError; unset, the compiled build is used where there is
one. (It is read here, on import, because classes are chosen here; nothing else in the house reads the environment.)
"""

import os
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, SourceFileLoader
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from native.days import day_number, day_of

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
    "day_of",
    "load",
    "portfolio_balances",
]

_HERE = Path(__file__).parent


def compiled_file(module: str) -> Path | None:
    """The extension module that was built from native/<module>.py for this Python, if there is one."""
    candidates = (_HERE / f"{module}{suffix}" for suffix in EXTENSION_SUFFIXES)
    return next((path for path in candidates if path.exists()), None)


def load(module: str, implementation: str) -> ModuleType:
    """One of the core's modules in the build that is named: "compiled" or "interpreted".

    Raises: ImportError when the compiled build is asked for and missing, and for another name.
    """
    loader: ExtensionFileLoader | SourceFileLoader
    if implementation == "interpreted":
        loader = SourceFileLoader(f"native.{module}", str(_HERE / f"{module}.py"))
    elif implementation == "compiled":
        path = compiled_file(module)
        if path is None:
            missing = f"LOANER_NATIVE: the compiled core is missing (native/{module}): `make build` makes it"
            raise ImportError(missing, name="native")
        loader = ExtensionFileLoader(f"native.{module}", str(path))
    else:
        raise ImportError(f"LOANER_NATIVE: expected compiled or interpreted, not {implementation!r}", name="native")
    spec = spec_from_file_location(loader.name, loader.path, loader=loader)
    assert spec is not None
    found = module_from_spec(spec)
    loader.exec_module(found)
    return found


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
portfolio_balances = load("portfolio", IMPLEMENTATION).portfolio_balances
