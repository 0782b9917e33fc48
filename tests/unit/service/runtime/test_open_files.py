"""The limit of open files is raised as far as possible, and connections are limited to what it allows."""

import logging
import resource

import pytest

from service.runtime.open_files import RESERVED_FILES, allow_connections


class Limits:
    """The limits of a process. The kernel may have a maximum below the hard limit, as on macOS."""

    def __init__(self, soft: int, hard: int, maximum: int | None = None) -> None:
        self.now = (soft, hard)
        self._maximum = maximum

    def get(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.now

    def set(self, which: int, limits: tuple[int, int]) -> None:
        assert which == resource.RLIMIT_NOFILE
        soft, hard = limits
        if self._maximum is not None and soft > self._maximum:
            raise ValueError("current limit exceeds maximum limit")
        assert hard == self.now[1]
        assert hard == resource.RLIM_INFINITY or soft <= hard
        self.now = limits


@pytest.fixture
def limits(monkeypatch):
    def apply(*numbers: int) -> Limits:
        chosen = Limits(*numbers)
        monkeypatch.setattr(resource, "getrlimit", chosen.get)
        monkeypatch.setattr(resource, "setrlimit", chosen.set)
        return chosen

    return apply


NEEDED = 2 * 4096 + RESERVED_FILES  # a slow reader of a file holds it and its connection


@pytest.mark.parametrize("hard", [NEEDED, 20_000, resource.RLIM_INFINITY])
def test_a_low_soft_limit_is_raised(limits, caplog, hard):
    chosen = limits(1024, hard)
    with caplog.at_level(logging.WARNING):
        assert allow_connections(4096) == 4096
    assert chosen.now == (NEEDED, hard)
    assert not caplog.records


@pytest.mark.parametrize("soft", [NEEDED, 20_000, resource.RLIM_INFINITY])
def test_a_sufficient_limit_is_kept(limits, soft):
    chosen = limits(soft, resource.RLIM_INFINITY)
    assert allow_connections(4096) == 4096
    assert chosen.now == (soft, resource.RLIM_INFINITY)


def test_a_low_hard_limit_reduces_the_connections_and_is_logged(limits, caplog):
    chosen = limits(1024, 2048)
    with caplog.at_level(logging.WARNING):
        assert allow_connections(4096) == (2048 - RESERVED_FILES) // 2
    assert chosen.now == (2048, 2048)
    [message] = [record.message for record in caplog.records]
    assert f"MAX_CONNECTIONS=4096 needs a limit of {NEEDED} open files, but the limit is 2048" in message
    assert f"each worker accepts {(2048 - RESERVED_FILES) // 2} connections" in message


def test_a_kernel_maximum_below_the_hard_limit_keeps_the_soft_limit(limits, caplog):
    chosen = limits(1024, resource.RLIM_INFINITY, 2048)
    with caplog.at_level(logging.WARNING):
        assert allow_connections(4096) == (1024 - RESERVED_FILES) // 2
    assert chosen.now == (1024, resource.RLIM_INFINITY)
    assert "but the limit is 1024" in caplog.text


def test_a_tiny_limit_leaves_half_of_it_for_connections(limits):
    limits(256, 256)
    assert allow_connections(4096) == 64
