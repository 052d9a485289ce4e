"""The engine: many sequences at once, each as if it were alone.

One thread owns the device. Everyone else submits sequences and cancels them through an inbox, and
waits on a handle. Each round takes in what came, reads a ration of prompts, makes a few steps for
all that speak, looks once at the outcome and ends what has ended.

Every sequence that was accepted ends exactly once: done, cancelled or failed.
Knows no product: no text, no audio, no requests.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING

from higgs_worker.engine.delay import undelay
from higgs_worker.engine.frame_feed import FrameFeed, OnFrames
from higgs_worker.engine.scheduler import Scheduler, Sequence
from higgs_worker.engine.sequence import Generation, PrefillChunk, Prompt, SlotProgress, Submission
from higgs_worker.errors import (
    Cancelled,
    EngineBroken,
    EngineFailed,
    PromptTooLong,
    QueueFull,
    WorkerError,
)

if TYPE_CHECKING:
    from higgs_worker.engine.runner import Runner

log = logging.getLogger(__name__)

STEPS_PER_ROUND = 8
"""Each poll drains the device's queue; a finished, cancelled or new sequence waits this long."""
MAX_PREFILL = 512
"""Positions read per round while others speak: on an H200 about half the time of its steps."""
CLOSE_TIMEOUT_S = 30.0


class Handle:
    """One sequence's outcome, and the way to give it up."""

    def __init__(self, cancel: Callable[["Handle"], None]) -> None:
        self._future: Future[Generation] = Future()
        self._future.set_running_or_notify_cancel()  # only the engine may end it
        self._cancel = cancel

    def cancel(self) -> None:
        """Ask the engine to stop; the slot is free within a round. Nothing if it has ended."""
        self._cancel(self)

    def result(self, timeout_s: float | None = None) -> Generation:
        """Wait for the outcome, blocking.

        Raises:
            WorkerError: how else it ended.
            TimeoutError: it has not ended yet.
        """
        return self._future.result(timeout_s)

    def when_done(self, callback: Callable[[WorkerError | None], None]) -> None:
        """Call back when it has ended, with the error if it was one; in the engine's thread."""
        self._future.add_done_callback(lambda future: callback(_error_of(future)))

    def end(self, outcome: Generation | WorkerError) -> None:
        """Tell whoever waits; the engine does this, once."""
        if isinstance(outcome, Generation):
            self._future.set_result(outcome)
        else:
            self._future.set_exception(outcome)


class Engine:
    """Runs a `Runner` in a thread of its own. A context manager: leaving it closes the engine."""

    def __init__(
        self,
        runner: "Runner",
        *,
        max_waiting: int = 256,
        max_prefill: int = MAX_PREFILL,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._runner = runner
        self._scheduler = Scheduler(runner.num_slots, max_prefill=max_prefill)
        self._max_waiting = max_waiting
        self._clock = clock
        self._handles: dict[Sequence, Handle] = {}
        self._wake = threading.Condition()
        # Guarded by `_wake`; all else belongs to the engine's thread.
        self._inbox: deque[tuple[Sequence, Handle]] = deque()
        self._cancelled: deque[Handle] = deque()
        self._num_waiting = 0
        self._closing = False
        self._broken: EngineBroken | None = None
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def num_slots(self) -> int:
        """How many sequences are generated at the same time."""
        return self._runner.num_slots

    def max_frames(self, prompt: Prompt) -> int:
        """How many frames can follow a prompt; below 1 when the prompt alone fills a slot."""
        return self._runner.max_frames(prompt)

    def submit(
        self,
        submission: Submission,
        *,
        on_frames: OnFrames | None = None,
        num_first_frames: int = 1,
    ) -> Handle:
        """Queue a sequence.

        Args:
            submission: what to generate.
            on_frames: takes frames as they become complete, all of them before the handle's end.
            num_first_frames: fewer than these are of no use to it at first; the engine looks at the
                outcome as soon as they are complete.

        Raises:
            PromptTooLong: it can never fit into a slot.
            QueueFull: too many wait already.
            EngineBroken: the device is gone, or the engine is closed.
        """
        room = self._runner.max_frames(submission.prompt)
        if submission.max_frames > room:
            raise PromptTooLong(
                f"the text needs {submission.max_frames} frames of room for its audio and has "
                f"{max(0, room)}; send a shorter text or a lower max_duration_s, or raise "
                "HIGGS_MAX_LENGTH"
            )
        feed = None
        if on_frames is not None:
            feed = FrameFeed(on_frames, num_first_frames=num_first_frames)
        sequence = Sequence(submission, arrived=self._clock(), feed=feed)
        handle = Handle(self._request_cancel)
        with self._wake:
            if self._broken is not None:
                raise EngineBroken(self._broken.message)
            if self._closing:
                raise EngineBroken("the engine is closed; this worker is stopping")
            if self._num_waiting >= self._max_waiting:
                raise QueueFull(
                    f"{self._num_waiting} sequences wait already; send this again in a few "
                    "seconds, or add workers"
                )
            self._num_waiting += 1
            self._inbox.append((sequence, handle))
            self._wake.notify()
        return handle

    def generate(self, submissions: Iterable[Submission]) -> list[Generation]:
        """Generate sequences side by side and wait for all, in the order given."""
        handles = [self.submit(submission) for submission in submissions]
        return [handle.result() for handle in handles]

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """End what has not ended and stop the thread.

        A thread that still hangs in the device after `timeout_s` is left there; nobody else is.
        """
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("the device does not answer")
            with self._wake:
                self._handles.update(self._inbox)
                self._inbox.clear()
            for sequence in list(self._handles):
                self._tell(
                    sequence,
                    EngineBroken("the device does not answer; this worker must be replaced"),
                )

    def _request_cancel(self, handle: Handle) -> None:
        with self._wake:
            self._cancelled.append(handle)
            self._wake.notify()

    # From here on, the engine's thread.

    def _serve(self) -> None:
        while self._receive():
            try:
                self._round()
            except Exception:
                # A defect of the engine's own: nobody may wait for a reply that will not come.
                log.exception("the engine met a defect and stops")
                self._break("the engine failed; this worker must be replaced")
        self._end_all("the worker is stopping; send this again")

    def _receive(self) -> bool:
        """Take in what came, waiting for it when there is nothing else to do; False: close."""
        with self._wake:
            while self._scheduler.is_idle and not (self._inbox or self._cancelled or self._closing):
                self._wake.wait()
            arrived, self._inbox = self._inbox, deque()
            cancelled, self._cancelled = self._cancelled, deque()
            broken = self._broken
        for sequence, handle in arrived:
            self._handles[sequence] = handle
            if broken is not None:
                self._end(sequence, EngineBroken(broken.message))
            else:
                self._scheduler.enqueue(sequence)
        if cancelled:
            gone = set(map(id, cancelled))
            for sequence, handle in list(self._handles.items()):
                if id(handle) in gone:
                    self._end(sequence, Cancelled("the request was cancelled"))
        return not self._closing

    def _round(self) -> None:
        while (admitted := self._scheduler.admit()) is not None:
            self._admit(admitted)
        self._count_waiting()
        while (move := self._scheduler.next_move()) is not None:
            self._move(*move)
        pieces = self._scheduler.ration()
        if pieces and self._attempt(
            [sequence for sequence, _ in pieces],
            lambda: self._runner.prefill([PrefillChunk(_slot(s), count) for s, count in pieces]),
        ):
            for sequence, count in pieces:
                self._scheduler.read(sequence, count)
        running = dict(self._scheduler.running)
        if running:
            self._attempt(list(running.values()), self._speak)

    def _admit(self, sequence: Sequence) -> None:
        sequence.admitted = self._clock()

        def begin() -> None:
            sequence.num_unread = self._runner.begin(_slot(sequence), sequence.submission)

        self._attempt([sequence], begin)

    def _move(self, sequence: Sequence, slot: int) -> None:
        if self._attempt([sequence], lambda: self._runner.move(_slot(sequence), slot)):
            self._scheduler.move(sequence)

    def _speak(self) -> None:
        for _ in range(self._num_steps()):
            self._runner.step()
        progress = self._runner.poll()
        self._feed(progress)
        for slot, sequence in list(self._scheduler.running.items()):
            if progress.failed[slot]:
                self._end(
                    sequence,
                    EngineFailed(
                        "the model computed a value that is not a number; send this again, and if "
                        "it fails again, check the weights with another HIGGS_DTYPE"
                    ),
                )
            elif progress.done[slot] and self._broken is None:
                num_columns = int(progress.num_columns[slot])
                self._attempt([sequence], partial(self._finish, sequence, num_columns))

    def _num_steps(self) -> int:
        """Say how many steps to make before the next look: fewer when somebody waits to hear."""
        waits = [STEPS_PER_ROUND]
        for sequence in self._scheduler.running.values():
            if sequence.feed is not None:
                waits.append(sequence.feed.steps_to_first(self._runner.num_codebooks))
        return min(steps for steps in waits if steps > 0)

    def _feed(self, progress: SlotProgress) -> None:
        """Pass on what the last steps completed."""
        new = [
            (sequence, sequence.feed, int(progress.num_columns[slot]) - sequence.feed.num_columns)
            for slot, sequence in self._scheduler.running.items()
            if sequence.feed is not None and not progress.failed[slot]
        ]
        most = max([count for _, _, count in new], default=0)
        if most == 0:
            return
        recent = self._runner.recent(most)
        for sequence, feed, count in new:
            columns = recent[_slot(sequence), most - count :]
            take = partial(feed.take, columns, *self._runner.stream_ids)
            if not self._attempt([sequence], take) and self._broken is not None:
                return

    def _finish(self, sequence: Sequence, num_columns: int) -> None:
        columns = self._runner.columns(_slot(sequence), num_columns)
        codes = undelay(columns, *self._runner.stream_ids)
        capped = len(codes) == sequence.submission.max_frames
        queue_s = sequence.admitted - sequence.arrived
        self._end(sequence, Generation(codes, columns, "length" if capped else "stop", queue_s))

    def _attempt(self, touched: list[Sequence], work: Callable[[], None]) -> bool:
        """Do something on the device; if it fails, so do the sequences it was for, no others."""
        try:
            work()
        except Exception as error:
            log.exception("work on the device failed", extra={"num_sequences": len(touched)})
            if self._device_answers():
                if _is_out_of_memory(error):
                    advice = (
                        "the device ran out of memory; send a shorter text, or lower "
                        "HIGGS_MAX_SLOTS or HIGGS_MAX_LENGTH"
                    )
                else:
                    advice = "the engine failed while it worked on this; send it again"
                for sequence in touched:
                    self._end(sequence, EngineFailed(advice))
            return False
        return True

    def _device_answers(self) -> bool:
        """Try the device after something failed; if it is gone, so is the engine."""
        if self._broken is None:
            try:
                self._runner.check_device()
            except Exception:
                log.exception("the device is gone")
                self._break("the device is gone; this worker must be replaced")
        return self._broken is None

    def _end(self, sequence: Sequence, outcome: Generation | WorkerError) -> None:
        """End a sequence, once: free what it holds, then tell whoever waits."""
        if sequence not in self._handles:
            return
        slot = sequence.slot
        if sequence in self._scheduler.sequences:
            self._scheduler.remove(sequence)
        if slot is not None and self._broken is None:
            try:
                self._runner.release(slot)
            except Exception:
                log.exception("a slot could not be freed")
                if not self._device_answers():
                    return  # and everyone has been told
        self._tell(sequence, outcome)

    def _tell(self, sequence: Sequence, outcome: Generation | WorkerError) -> None:
        # Who takes the handle out ends it: the device may answer just when `close` has given up.
        handle = self._handles.pop(sequence, None)
        if handle is not None:
            handle.end(outcome)

    def _break(self, reason: str) -> None:
        """End everything, and refuse everything from now on."""
        with self._wake:
            self._broken = EngineBroken(reason)
        self._end_all(reason)

    def _end_all(self, reason: str) -> None:
        with self._wake:
            arrived, self._inbox = self._inbox, deque()
        self._handles.update(arrived)
        for sequence in list(self._handles):
            self._end(sequence, EngineBroken(reason))
        self._count_waiting()

    def _count_waiting(self) -> None:
        with self._wake:
            self._num_waiting = self._scheduler.num_waiting + len(self._inbox)


def _error_of(future: Future[Generation]) -> WorkerError | None:
    error = future.exception()
    if error is None or isinstance(error, WorkerError):
        return error
    raise error


def _slot(sequence: Sequence) -> int:
    if sequence.slot is None:
        raise ValueError("the sequence has no slot")
    return sequence.slot


def _is_out_of_memory(error: Exception) -> bool:
    # torch has a class of its own for CUDA and only a sentence for a CPU.
    name = type(error).__name__
    return "OutOfMemory" in name or name == "MemoryError" or "not enough memory" in str(error)
