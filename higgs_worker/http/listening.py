"""The sockets that the server listens on; one of them may have been in use for a while already."""

import socket
from collections.abc import Collection

from higgs_worker.errors import InvalidSettings

BACKLOG = 128
"""Connections that wait to be accepted; the server accepts within milliseconds."""


def listen(host: str, ports: Collection[int], early_ping: int | None) -> list[socket.socket]:
    """Return a listening socket for each port, and end what has answered until now.

    From then on connections wait until the server accepts them, so call this last. The sockets do
    not block, and have to stay so: the other process may still be using one of them.

    Args:
        host: the address, or its name.
        ports: without repetition.
        early_ping: the descriptor that `early_ping.py` handed to this process; it is closed. None:
            nothing has answered.

    Raises:
        InvalidSettings: nothing can listen there, or the descriptor is none of that kind.
    """
    taken = None if early_ping is None else _take_over(early_ping)
    found = []
    for port in ports:
        if taken is not None and taken.getsockname()[1] == port:
            found.append(taken)
        else:
            found.append(_bind(host, port))
    if taken is not None and taken not in found:
        taken.close()
    for each in found:
        each.setblocking(False)
        # Connections inherit it. Without it the second part of a reply waits until the client's
        # machine confirms the first one, 40 ms; asyncio sets it for sockets of its own alone.
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return found


def _take_over(early_ping: int) -> socket.socket:
    """Receive the listening socket, and end the process that has used it until now."""
    try:
        with socket.socket(fileno=early_ping) as handed:
            _, (descriptor,), _, _ = socket.recv_fds(handed, 1, 1, socket.MSG_CMSG_CLOEXEC)
            handed.shutdown(socket.SHUT_RDWR)  # closes it, whoever else has inherited it
    except (OSError, ValueError) as error:
        raise InvalidSettings(
            "HIGGS_EARLY_PING is for bootstrap.sh alone, and holds nothing here; unset it"
        ) from error
    return socket.socket(fileno=descriptor)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except PermissionError as error:
        raise InvalidSettings(
            f"port {port} is for root alone here; set PORT and PORT_HEALTH to one above 1023, such "
            "as 8000"
        ) from error
    except OSError as error:
        raise InvalidSettings(
            f"nothing can listen on port {port} of {host} ({error.strerror}); set PORT to a free "
            "port, and HIGGS_HOST to an address of this machine"
        ) from error
