"""The sockets that the server listens on."""

import socket

from higgs_worker.http.listening import listen


def test_no_part_of_a_reply_waits_for_the_one_before() -> None:
    """What is written to a connection is sent at once, not when the client confirms the last."""
    [listening] = listen("127.0.0.1", [0], None)
    with listening, socket.create_connection(listening.getsockname()):
        listening.setblocking(True)
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
