"""bootstrap.sh for the HTTP server: what is started, and the health port from the first second."""

import http.client
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.fakes.bare_machine import UV, Machine, finish, processes_in

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the worker runs on Linux"),
    pytest.mark.skipif(UV is None, reason="needs uv, which `make test` installs"),
]

PATIENCE_S = 10.0


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install once for all."""
    return Machine(tmp_path_factory.mktemp("installed")).install()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """Return a machine that is to serve HTTP on a free port, without an environment."""
    machine = Machine(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    machine.environment |= {"HIGGS_SERVE": "http", "HIGGS_HOST": "127.0.0.1", "PORT_HEALTH": port}
    yield machine
    machine.close()


def ping(machine: Machine) -> int | None:
    """Return the status of a health check; None if nobody listens."""
    port = int(machine.environment["PORT_HEALTH"])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request("GET", "/ping")
        return connection.getresponse().status
    except ConnectionError:
        return None
    finally:
        connection.close()


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait until a condition holds."""
    until = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_the_port_answers_until_the_server_does(machine: Machine, environments: Path) -> None:
    """204 while the environment is being installed, then the server's own 200, by one process."""
    machine.quick_uv(environments)
    machine.hold("uv", "true")
    process = machine.start(held="uv")
    machine.wait_for("uv.held")
    assert ping(machine) == 204
    machine.release("uv")
    statuses = []
    wait_until(lambda: statuses.append(ping(machine)) or statuses[-1] == 200)  # type: ignore[func-returns-value]
    assert set(statuses) <= {204, 200}
    code, output = finish(process)
    assert code == 0, output
    port = machine.environment["PORT_HEALTH"]
    assert output.splitlines()[-2:] == ["command serve", f"listens on 127.0.0.1 {port}"]


@pytest.mark.parametrize(
    ("serve", "arguments", "started"),
    [
        ("HTTP", ("--port", "x"), "command serve --port x"),
        ("jobs", ("serve",), "command serve"),
        ("", ("serve", "--port", "x"), "command serve --port x"),
        ("http", ("doctor",), "command doctor"),
        ("jobs", (), "handler"),
        ("", ("--rp_serve_api",), "handler"),
    ],
)
def test_what_is_started(
    machine: Machine,
    environments: Path,
    serve: str,
    arguments: tuple[str, ...],
    started: str,
) -> None:
    """A command counts; without one HIGGS_SERVE does. Only the server opens the port."""
    machine.has_installed(environments)
    machine.environment["HIGGS_SERVE"] = serve
    process = machine.start(*arguments)
    if "serve" in started:
        wait_until(lambda: ping(machine) == 200)
    code, output = finish(process)
    assert code == 0, output
    assert started in output
    assert ("listens on" in output) == ("serve" in started)


def test_in_a_container_everybody_may_come_in(machine: Machine, environments: Path) -> None:
    """Without HIGGS_HOST the server listens on all addresses."""
    machine.has_installed(environments)
    del machine.environment["HIGGS_HOST"]
    process = machine.start()
    wait_until(lambda: ping(machine) == 200)
    assert "listens on 0.0.0.0" in finish(process)[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_that_ends_while_it_installs_is_silent(
    machine: Machine, number: signal.Signals
) -> None:
    """Told to stop or killed: nobody is left who answers for it."""
    machine.slow_uv()
    process = machine.start()
    machine.wait_for_install()
    assert ping(machine) == 204
    if number == signal.SIGKILL:
        os.killpg(process.pid, number)  # all but uv, which is in a group of its own
        (machine.environments).rename(machine.base / "gone")  # which ends the slow uv
    else:
        process.send_signal(number)
    assert process.wait(PATIENCE_S) in (143, -9)
    wait_until(lambda: ping(machine) is None and not processes_in(process.pid))


def test_a_start_that_fails_is_silent(machine: Machine) -> None:
    """The port is closed with the process, and the reason is the last line."""
    (machine.programs / "uv").unlink()
    process = machine.start()
    code, output = finish(process)
    assert code == 1
    assert "uv is missing" in output
    wait_until(lambda: ping(machine) is None and not processes_in(process.pid))


def test_a_port_that_is_taken_ends_the_start_at_once(machine: Machine) -> None:
    """Before anything is looked at or installed, in one line."""
    with socket.create_server(("127.0.0.1", int(machine.environment["PORT_HEALTH"]))):
        code, output = machine.run()
    assert code == 1
    assert output.startswith("bootstrap: error: nothing can listen on port")
    assert output.count("\n") == 1
