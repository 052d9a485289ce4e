"""Calls in several threads at once that a process which is told to end does not wait for.

Python waits for the threads of its own executors, and for all that stands in their queues: with
weights, for gigabytes.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(call: Callable[[T], R], items: Iterable[T], num_threads: int) -> Iterator[R]:
    """Yield what a call gives for each item, in the order in which they are done.

    The first error is raised, and what has not begun then is left out; no thread outlives the
    iteration.
    """
    waiting = deque(items)
    num_items = len(waiting)
    done: SimpleQueue[Future[R]] = SimpleQueue()

    def work() -> None:
        while True:
            try:
                item = waiting.popleft()
            except IndexError:
                return
            outcome: Future[R] = Future()
            try:
                outcome.set_result(call(item))
            except BaseException as error:
                outcome.set_exception(error)
            done.put(outcome)

    threads = [
        threading.Thread(target=work, daemon=True) for _ in range(min(num_threads, num_items))
    ]
    for each in threads:
        each.start()
    try:
        for _ in range(num_items):
            yield done.get().result()
    finally:
        waiting.clear()
        for each in threads:
            each.join()
