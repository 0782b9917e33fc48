"""Timelines to keep."""

from tests.unit.service.cache.conftest import make

__all__ = ["make"]
