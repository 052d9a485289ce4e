"""Whether the worker can speak: loading, ready after a real sentence, broken, or stopping."""

import asyncio
import logging
from collections.abc import Callable
from enum import Enum

import numpy as np

from higgs_worker.api.request import SpeechRequest
from higgs_worker.delivery.responder import Service
from higgs_worker.errors import (
    EngineBroken,
    InvalidCheckpoint,
    InvalidSettings,
    NoSound,
    WeightsNotFound,
    WeightsRefused,
    WorkerError,
)
from higgs_worker.logs import frames_of

PROBE = "This is a test of the voice."
RETRY_S = 30.0
"""Pause after a load that failed: a hub or a volume may be back by then."""
_LASTING = (
    InvalidCheckpoint,
    InvalidSettings,
    WeightsNotFound,
    WeightsRefused,
)
"""Failures of a load that another try is not expected to mend, though it is made."""

log = logging.getLogger(__name__)


class State(Enum):
    """What the worker is doing, as its health routes tell it."""

    LOADING = "loading"
    READY = "ready"
    BROKEN = "broken"
    STOPPING = "stopping"


class Readiness:
    """Loads the model, tries it with a sentence, and knows the state since then."""

    def __init__(
        self, service: Service, *, on_broken: Callable[[], None], retry_s: float = RETRY_S
    ) -> None:
        """Nothing is loaded yet.

        Args:
            service: loads the model with its first request.
            on_broken: called once when nothing can be spoken any more in this process.
            retry_s: pause after a load that failed.
        """
        self._service = service
        self._on_broken = on_broken
        self._retry_s = retry_s
        self.state = State.LOADING
        self.reason = "the model is being loaded"
        """Why the worker is in this state, in a sentence."""
        self.is_lost = False
        """Whether nothing can be spoken any more in this process."""

    async def run(self) -> None:
        """Load the model and speak a sentence; try again until that works."""
        while True:
            try:
                await self._speak()
            except EngineBroken as error:
                self.fail(error.message)
                return
            except WorkerError as error:
                state = State.BROKEN if isinstance(error, _LASTING) else State.LOADING
                self._enter(state, error.message)
            except Exception as error:
                log.error("the start met a defect", extra={"exception": frames_of(error)})
                self._enter(State.BROKEN, "the start met a defect; the log says where")
            else:
                self._enter(State.READY, "the model speaks")
                log.info("ready")
                return
            log.warning("not ready, the next try is in %g s: %s", self._retry_s, self.reason)
            await asyncio.sleep(self._retry_s)

    def fail(self, reason: str) -> None:
        """Record that nothing can be spoken any more in this process."""
        if not self.is_lost:
            self.is_lost = True
            self._enter(State.BROKEN, reason)
            self._on_broken()

    def stop(self) -> None:
        """Record that the worker takes no more requests."""
        self.state, self.reason = State.STOPPING, "the worker is stopping"

    async def _speak(self) -> None:
        request = SpeechRequest.parse({"text": PROBE}, max_text_chars=len(PROBE))
        loudest = 0.0
        async for pcm in await self._service.start(request, is_live=False):
            loudest = max(loudest, float(np.abs(pcm).max(initial=0.0)))
        if not loudest:
            raise NoSound("the model gave no sound for a test sentence")

    def _enter(self, state: State, reason: str) -> None:
        # A request may have found the engine broken meanwhile, or a signal come.
        if self.state is not State.STOPPING:
            self.state, self.reason = state, reason
