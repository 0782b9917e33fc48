"""Imports `security` and `service` from beside this package, even if a service has modules with these names.

The documentation of the Microkubes library names its example service.py, and `flask --app service run` imports it as
`service`. Its own modules must then stay what they are for the rest of the process.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

_NAMES = ("security", "service")
_FOLDER = Path(__file__).resolve().parent.parent

_set_aside: dict[str, ModuleType] = {}  # the own modules whose names belong to others


@contextmanager
def own_packages() -> Iterator[None]:
    """Resolve imports within the block from beside this package, and restore modules of other owners afterwards."""
    taken = [name for name in _NAMES if not _is_own(name)]
    others = _remove(taken)
    sys.modules.update(_set_aside)
    sys.path.insert(0, str(_FOLDER))
    try:
        yield
    finally:
        sys.path.remove(str(_FOLDER))
        _set_aside.update(_remove(taken))
        sys.modules.update(others)


def _is_own(name: str) -> bool:
    """Return whether an import of the name gives the package beside this one."""
    module = sys.modules.get(name)
    if module is None:
        spec = find_spec(name)
        file = None if spec is None else spec.origin
    else:
        file = getattr(module, "__file__", None)
    return file is not None and Path(file).resolve() == _FOLDER / name / "__init__.py"


def _remove(packages: list[str]) -> dict[str, ModuleType]:
    """Remove packages and their modules from `sys.modules`, and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] in packages]
    return {name: sys.modules.pop(name) for name in names}
