"""The security chain. Flask is imported on first use of its names."""

from typing import Any

import security

__all__ = security.__all__


def __getattr__(name: str) -> Any:
    return getattr(security, name)
