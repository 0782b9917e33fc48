"""Free ports of the loopback address."""

import socket
from collections.abc import Iterator
from functools import cache
from itertools import cycle

from service.standalone.embedded_postgres import HOST

# Below the ports that Linux gives to connections and to sockets that ask for any port (32768 and above), so that none
# of them takes a port before the server that is meant to listen there, or where nothing is meant to listen.
PORTS = range(12000, 32000)
BLOCK = 500  # ports of one process


def free_port() -> int:
    """Return a port on which nothing listens. Neither the system nor another test process gives it to anybody else.

    Raises:
        OSError: If there is none.
    """
    ports = _ports_of_this_process()
    for _ in range(BLOCK):
        port = next(ports)
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                continue  # a server of a former test, or a program of this machine
            return port
    raise OSError("no port is free")


@cache
def _ports_of_this_process() -> Iterator[int]:
    """Reserve a block of ports until this process ends, and return them again and again."""
    for start in range(PORTS.start, PORTS.stop, BLOCK):
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0loaner-tests-ports-{start}")  # an abstract name: it ends with its socket
        except OSError:
            reservation.close()
            continue
        _reservations.append(reservation)
        return cycle(range(start, start + BLOCK))
    raise OSError("other test processes have reserved all ports")


_reservations: list[socket.socket] = []
