"""bootstrap.sh, several workers at once on one volume, some of which die at any point."""

import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.bare_machine import UV, Machine, finish

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="the worker runs on Linux"),
    pytest.mark.skipif(UV is None, reason="needs uv, which `make test` installs"),
]

NUM_WORKERS = 4
LONGEST_DELAY_S = 1.0
"""Until one is killed: about what four workers take to install and start."""


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return environments that another machine has installed."""
    return Machine(tmp_path_factory.mktemp("installed")).install()


@pytest.fixture
def machine(tmp_path: Path, environments: Path) -> Iterator[Machine]:
    """Return a machine without an environment, where an install is quick and the dead are soon."""
    machine = Machine(tmp_path)
    machine.environment["BOOTSTRAP_STALE_S"] = "1"
    machine.quick_uv(environments)
    yield machine
    machine.close()


def leave_a_dead_lock(machine: Machine) -> None:
    """Kill a worker in the middle of its install."""
    machine.slow_uv()
    process = machine.start()
    machine.wait_for_install()
    machine.kill(process)


def an_hour_later(directory: Path) -> None:
    """Let all that workers left there look as if nothing had touched it for longer than that."""
    then = time.time() - 3700
    for path in [*directory.glob(".*"), *directory.glob("*.lock/*")]:
        os.utime(path, (then, then))


@pytest.mark.slow
def test_only_the_lock_that_was_judged_is_taken_away(machine: Machine, environments: Path) -> None:
    """A worker that takes over slowly leaves the lock of a faster one alone, and waits."""
    leave_a_dead_lock(machine)
    machine.quick_uv(environments)
    machine.hold("uv", "true")
    machine.hold("mv", '[ "${2%.lock}" != "$2" ]')  # both can take a lock away
    machine.hold("rmdir", '[ "${1#*.lock/}" != "$1" ]')
    slow = machine.start(held="mv rmdir")
    machine.wait_for("mv.held", "rmdir.held")
    fast = machine.start(held="uv")
    machine.wait_for("uv.held")
    machine.release("mv")
    machine.release("rmdir")
    time.sleep(0.5)  # in which the slow one may do harm
    machine.release("uv")
    (code, output), (fast_code, fast_output) = finish(slow), finish(fast)
    assert (code, fast_code) == (0, 0), output + fast_output
    assert "installing the environment" not in output
    assert "waiting for the worker that installs" in output
    assert "took over" not in fast_output
    assert len(machine.names()) == 1


@pytest.mark.slow
def test_an_environment_that_came_meanwhile_is_used(machine: Machine) -> None:
    """A worker that sees none and is slow to claim the lock leaves the one that another built."""
    machine.hold("mkdir", 'case "$*" in *.lock | */.new.*) ;; *) false ;; esac')
    slow = machine.start(held="mkdir")
    machine.wait_for("mkdir.held")
    assert machine.run()[0] == 0
    [name] = [each for each in machine.names() if not each.startswith(".")]
    built = (machine.environments / name).stat().st_ino
    machine.release("mkdir")
    code, output = finish(slow)
    assert code == 0, output
    assert "installing the environment" not in output
    assert machine.names() == [name]
    assert (machine.environments / name).stat().st_ino == built


@pytest.mark.slow
def test_an_environment_that_is_used_again_stays(machine: Machine, environments: Path) -> None:
    """A worker that finds one unused and removes it slowly puts it back if another starts in it."""
    machine.has_installed(environments)
    [ours] = machine.names()
    then = time.time() - 3 * 86400
    os.utime(machine.environments / ours / ".complete", (then, then))
    machine.hold("mv", f'[ "${{2%/{ours}}}" != "$2" ]')
    project = machine.app / "pyproject.toml"
    text = project.read_text()
    project.write_text(text.replace('"tiny"', '"tiny>=1"'))  # another release
    slow = machine.start(held="mv")
    machine.wait_for("mv.held")
    project.write_text(text)
    assert "installing" not in machine.run()[1]
    machine.release("mv")
    code, output = finish(slow)
    assert code == 0, output
    assert ours in machine.names()
    machine.no_uv()
    assert machine.run()[0] == 0
    assert len(machine.names()) == 2


@pytest.mark.parametrize(
    "num_rounds",
    [
        pytest.param(1, marks=pytest.mark.slow),
        pytest.param(200, marks=pytest.mark.long),
    ],
)
def test_one_of_four_dies_at_any_point(
    machine: Machine, num_rounds: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other three start in one whole environment, and an hour later nothing else is there."""
    seed = int(os.environ.get("BOOTSTRAP_SEED", "20"))
    rng, seen, began = random.Random(seed), Counter[str](), time.monotonic()
    for number in range(num_rounds):
        shutil.rmtree(machine.volume, ignore_errors=True)
        workers = [machine.start() for _ in range(NUM_WORKERS)]
        time.sleep(rng.uniform(0, LONGEST_DELAY_S))
        victim = workers.pop(rng.randrange(NUM_WORKERS))
        seen["died at work"] += victim.poll() is None
        machine.kill(victim)
        for worker in workers:
            code, output = finish(worker)
            assert code == 0, (seed, number, output)
            assert "handler" in output
            seen["took over"] += "taking over" in output
            seen["installed"] += "installed in" in output
        if len(machine.names()) > 1:  # it died after it had built, or while it cleared up
            seen["left something"] += 1
            an_hour_later(machine.environments)
            assert machine.run()[0] == 0
        [name] = machine.names()
        site = next((machine.environments / name).glob("lib/*/site-packages"))
        assert {each.name for each in site.glob("tiny*.py")} == {"tiny.py"}
        machine.started.clear()
    took_s = time.monotonic() - began
    with capsys.disabled():
        sys.stdout.write(f"\nseed {seed}, {num_rounds} rounds in {took_s:.0f} s: {dict(seen)}\n")
