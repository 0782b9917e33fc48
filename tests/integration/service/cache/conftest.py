"""Timelines for the tests of caches."""

from tests.unit.service.cache.conftest import make

__all__ = ["make"]
