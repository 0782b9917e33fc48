"""Which signals stop the service, and which replace its workers."""

import signal

import pytest

from service.runtime.graceful_shutdown import GracefulShutdown
from service.runtime.worker_stop import RELOAD_FILE

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class FakeServer:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def signal_handler_reload(self) -> None:
        self.calls.append("reload")

    def signal_handler_interrupt(self) -> None:
        self.calls.append("interrupt")


@pytest.fixture
def install(tmp_path):
    """Creates a shutdown under an initial handler of SIGHUP, and installs its handlers after those of a server."""
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def create(initial, stop_on_hangup: bool) -> FakeServer:
        signal.signal(signal.SIGHUP, initial)
        server = FakeServer()
        shutdown = GracefulShutdown(server, tmp_path, None, drain_s=0)
        for number in SIGNALS:
            signal.signal(number, lambda *_: server.calls.append("the handler of the server"))
        shutdown.install_handlers(stop_on_hangup)
        return server

    yield create
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("initial", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_hangup_replaces_the_workers_of_a_service(install, initial, tmp_path):
    server = install(initial, stop_on_hangup=False)
    signal.raise_signal(signal.SIGHUP)
    assert server.calls == ["reload"]
    assert (tmp_path / RELOAD_FILE).exists()


def test_a_hangup_stops_a_standalone_run(install):
    server = install(signal.SIG_DFL, stop_on_hangup=True)
    signal.raise_signal(signal.SIGHUP)
    while not server.calls:  # another thread leaves the gateway first
        pass
    assert server.calls == ["interrupt"]


def test_a_standalone_run_under_nohup_ignores_a_hangup(install, tmp_path):
    server = install(signal.SIG_IGN, stop_on_hangup=True)
    signal.raise_signal(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    assert server.calls == []
    assert list(tmp_path.iterdir()) == []
