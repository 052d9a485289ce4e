"""The composition root: puts the parts of a worker together.

Nothing heavy is imported before the model is loaded.
"""

from collections.abc import Callable

from higgs_worker.checkpoints import checkpoint_source
from higgs_worker.cold_start import ColdStart
from higgs_worker.deadlines import Deadlines
from higgs_worker.delivery.delivery import Delivery
from higgs_worker.delivery.file import SaveDirectory
from higgs_worker.delivery.responder import Responder
from higgs_worker.errors import WorkerError
from higgs_worker.health.checks import missing_weights
from higgs_worker.load import load_model, max_chunk_words
from higgs_worker.metrics.worker_metrics import WorkerMetrics
from higgs_worker.reference_voices import ReferenceVoices, voice_library
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.settings import Settings
from higgs_worker.speech.service import SpeechService
from higgs_worker.storage.storage import Storage
from higgs_worker.voices.actions import Actions
from higgs_worker.weights.progress import LastProgress


def build(settings: Settings, wait_for_device: Callable[[], object] = lambda: None) -> JobRunner:
    """Return a worker that runs jobs; for the arguments, see `build_responder`."""
    responder = build_responder(settings, wait_for_device)
    return JobRunner(responder, max_text_chars=settings.max_text_chars)


def build_responder(
    settings: Settings, wait_for_device: Callable[[], object] = lambda: None
) -> Responder:
    """Return what answers; its model is loaded by the first request, or by `service.preload`.

    Args:
        settings: what the operator chose.
        wait_for_device: blocks while somebody else uses the device; see `load_model`.
    """
    cold_start = ColdStart(settings.started_at)
    deadlines = Deadlines(settings.job_timeout_s)
    metrics = WorkerMetrics(cold_start, lambda: deadlines.num_running)
    progress = LastProgress()
    references = ReferenceVoices(settings, metrics.record_codes)
    service = SpeechService(
        lambda: load_model(
            settings,
            cold_start,
            on_progress=progress,
            wait_for_device=wait_for_device,
            references=references,
        ),
        progress.sentence,
        max_chunk_words=max_chunk_words(settings),
        metrics=metrics,
    )
    return Responder(
        service,
        Actions(
            voice_library(settings),
            references.load,
            model=settings.model,
        ),
        Delivery(
            None if settings.s3 is None else Storage(settings.s3),
            SaveDirectory(settings.save_dir),
        ),
        deadlines=deadlines,
        metrics=metrics,
    )


def is_to_preload(settings: Settings) -> bool:
    """Return whether the model is loaded before the first job. Quick: no weights are read."""
    if settings.preload != "auto":
        return settings.preload == "always"
    try:
        return not missing_weights(settings, checkpoint_source(settings))
    except (WorkerError, OSError):
        return False  # the first job gets the error
