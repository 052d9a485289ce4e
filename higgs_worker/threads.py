"""Calls in several threads that do not delay the end of the process.

At exit, Python waits for the threads of its own executors and for everything in their queues; when
they read weights, that is gigabytes.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def in_threads(
    call: Callable[[T], R],
    items: Iterable[T],
    num_threads: int,
    *,
    interrupt: Callable[[], None] = lambda: None,
) -> Iterator[R]:
    """Yield the results of a call on each item, in the order in which the calls end.

    The first error is raised, and calls that have not started by then are dropped. No thread
    outlives the iteration.

    Args:
        call: runs in the threads.
        items: one argument each.
        num_threads: how many calls run at the same time.
        interrupt: makes running calls end early; called before they are awaited after an error.
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
    except BaseException:
        interrupt()
        raise
    finally:
        waiting.clear()
        for each in threads:
            each.join()
