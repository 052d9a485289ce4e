"""What early_ping.py becomes, in place of bootstrap.sh and the worker: waits, takes over, answers.

    early_worker.py take over       take the port over once a line comes on stdin, and answer 200
    early_worker.py wait            never do

It prints a line when it has begun, and one about its children when it has taken over.
"""

import os
import sys
from contextlib import suppress
from select import select

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def main(action: str) -> None:
    """Do what the test wants."""
    say(f"begun {os.getpid()}")
    sys.stdin.readline()
    if action == "wait":
        return
    from higgs_worker.http.listening import listen

    port, early_ping = int(os.environ["PORT_HEALTH"]), int(os.environ["HIGGS_EARLY_PING"])
    [listener] = listen("127.0.0.1", [port], early_ping)
    try:
        os.waitpid(-1, os.WNOHANG)
        say("children")
    except ChildProcessError:
        say("no children")
    while True:
        select([listener], [], [])
        # The process that answered may take this one still.
        with suppress(OSError), listener.accept()[0] as connection:
            connection.recv(1 << 16)
            connection.sendall(OK)


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
