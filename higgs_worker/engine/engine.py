"""The engine's face: prompts in, finished sequences out.

Fills the slots with what waits, steps until all have ended, refills slots as they come free. Knows
no product: no text, no audio, no requests. One thread at a time.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from higgs_worker.engine.delay import undelay
from higgs_worker.engine.runner import Runner, Start
from higgs_worker.engine.sequence import Generation, Prompt, Sampling
from higgs_worker.errors import PromptTooLong

STEPS_PER_POLL = 8
"""Each poll drains the device's queue; a finished sequence waits at most this many steps."""


@dataclass(frozen=True, slots=True)
class Submission:
    """One sequence to generate."""

    prompt: Prompt
    sampling: Sampling
    max_frames: int
    """Hard cap; at 25 frames a second."""


class Engine:
    """Generates sequences in the slots of a `Runner`."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def max_frames(self, prompt: Prompt) -> int:
        """How many frames can follow a prompt; below 1 when the prompt alone fills a slot."""
        return self._runner.max_frames(prompt)

    def generate(self, submissions: Sequence[Submission]) -> list[Generation]:
        """Generate all sequences, side by side; results in the order given.

        Raises:
            PromptTooLong: a prompt and its frames exceed a slot; nothing has been generated then.
        """
        for submission in submissions:
            room = self._runner.max_frames(submission.prompt)
            if submission.max_frames > room:
                raise PromptTooLong(
                    f"the text needs {submission.max_frames} frames of room for its audio and has "
                    f"{max(0, room)}; send a shorter text or a lower "
                    "max_duration_s, or raise HIGGS_MAX_LENGTH"
                )
        results: list[Generation | None] = [None] * len(submissions)
        waiting = deque(enumerate(submissions))
        free = list(range(self._runner.num_slots))
        running: dict[int, int] = {}
        while waiting or running:
            starts = []
            while waiting and free:
                index, submission = waiting.popleft()
                slot = free.pop(0)
                running[slot] = index
                starts.append(
                    Start(slot, submission.prompt, submission.sampling, submission.max_frames)
                )
            if starts:
                self._runner.prefill(starts)
            for _ in range(STEPS_PER_POLL):
                self._runner.step()
            progress = self._runner.poll()
            for slot in [slot for slot in running if progress.done[slot]]:
                index = running.pop(slot)
                num_columns = int(progress.num_columns[slot])
                results[index] = self._finish(slot, num_columns, submissions[index].max_frames)
                free.append(slot)
            free.sort()  # the lowest free slot first: a step serves all rows up to the highest
        return [result for result in results if result is not None]

    def _finish(self, slot: int, num_columns: int, max_frames: int) -> Generation:
        config = self._runner.model.config
        columns = self._runner.columns(slot, num_columns)
        self._runner.release(slot)
        codes = undelay(columns, config.stream_bos_id, config.stream_eos_id)
        capped = len(codes) == max_frames
        return Generation(codes, columns, "length" if capped else "stop")
