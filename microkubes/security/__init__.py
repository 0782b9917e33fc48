"""The security chain, under Microkubes' names. Flask is imported only by whoever asks for its part."""

from typing import Any

import security

__all__ = security.__all__


def __getattr__(name: str) -> Any:
    return getattr(security, name)
