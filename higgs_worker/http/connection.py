"""A connection whose client must send the head of a request, and read the reply, within some time.

uvicorn bounds the size of a head, but not how long it may take, and waits for ever until a reply is
read. So anybody could hold connections open for nothing.
"""

import asyncio
import socket
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from higgs_worker.http.patience import Patience


class PatientProtocol(H11Protocol):
    """uvicorn's connection, which is closed if what the client owes does not come in time."""

    _timer: asyncio.TimerHandle | None = None

    def __init__(self, patience: Patience, **server: Any) -> None:
        """
        Args:
            patience: how long the client is waited for.
            server: what uvicorn gives to a connection.
        """
        super().__init__(**server)
        self._patience = patience

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._start_timer()
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            # To close a connection waits until all is read. The system ends one whose client has
            # vanished, or reads nothing any more; websockets too.
            milliseconds = round(self._patience.unread_s * 1000)
            transport.get_extra_info("socket").setsockopt(
                socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds
            )

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and wait for the rest of what has to come soon."""
        super().data_received(data)
        if not self._is_owed:
            self._stop_timer()
        elif self._timer is None:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    @property
    def _is_owed(self) -> bool:
        """Whether the client is within a head, or within a body that was answered unread."""
        theirs = self.conn.their_state
        return theirs is h11.IDLE or (theirs is h11.SEND_BODY and self.conn.our_state is h11.DONE)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self._patience.head_s, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
