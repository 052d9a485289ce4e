"""Several threads: all is done, the first error ends it, and the process's end waits for nobody."""

import subprocess
import sys
import threading
import time

import pytest

from higgs_worker.threads import in_threads


def test_everything_is_done_by_several() -> None:
    """As many at once as there are threads, and no thread is left."""
    both = threading.Barrier(2)

    def square(number: int) -> int:
        if number < 2:
            both.wait(5)
        return number * number

    before = threading.active_count()
    assert sorted(in_threads(square, range(50), 2)) == [each * each for each in range(50)]
    assert list(in_threads(square, [], 4)) == []
    assert threading.active_count() <= before  # other tests' threads may end


def test_an_error_ends_it() -> None:
    """It comes out, and what had not begun does not begin."""
    begun: list[int] = []

    def call(number: int) -> None:
        begun.append(number)
        if number == 3:
            raise OSError("three")

    before = threading.active_count()
    with pytest.raises(OSError, match="three"):
        for _ in in_threads(call, iter(range(100_000)), 1):
            pass
    assert begun[-1] < 99_999
    assert threading.active_count() <= before  # other tests' threads may end


def test_an_error_interrupts_what_runs() -> None:
    """Calls that would go on for long are told to end, before anybody waits for them."""
    told = threading.Event()

    def call(is_long: bool) -> bool:
        if not is_long:
            raise OSError("short")
        return told.wait(20)

    with pytest.raises(OSError, match="short"):
        list(in_threads(call, [True, True, False], 3, interrupt=told.set))
    assert told.is_set()


def test_the_process_may_end_meanwhile() -> None:
    """Told to stop while it reads gigabytes, it is gone at once."""
    code = """
import threading, time
from higgs_worker.threads import in_threads
read = lambda: list(in_threads(lambda _: time.sleep(0.2), range(1000), 2))
threading.Thread(target=read, daemon=True).start()
time.sleep(0.1)
"""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=True)
    assert time.monotonic() - began < 50
