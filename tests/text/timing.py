"""A check that the time of a function grows with its input's length and not with the square."""

import time
from collections.abc import Callable

_TRIES = 4


def check_linear(run: Callable[[int], object], length: int, slack_s: float = 0.05) -> None:
    """Check that an input of four times the length takes at most eight times as long.

    Quadratic time would be sixteen times. CPU time is compared, and again if the machine is busy:
    one good try is enough, because quadratic code never has one.

    Args:
        run: runs the function on an input of a given length.
        length: of the shorter input.
        slack_s: seconds that do not count, for what a clock cannot resolve.
    """
    run(length)  # patterns are compiled, caches are filled
    for _ in range(_TRIES):
        short, long = (_seconds(run, each) for each in (length, 4 * length))
        if long < 8 * short + slack_s:
            return
    raise AssertionError(f"{length}: {short:.3f} s, four times that: {long:.3f} s")


def _seconds(run: Callable[[int], object], length: int) -> float:
    started = time.process_time()
    run(length)
    return time.process_time() - started
