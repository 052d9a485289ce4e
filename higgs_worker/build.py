"""The composition root: the only module that sees every part and puts them together.

Nothing heavy is imported before the first request needs it.
"""

import importlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from higgs_worker.api.result import ModelInfo
from higgs_worker.delivery.destination import Outlet
from higgs_worker.errors import WorkerError
from higgs_worker.serverless.cold_start import ColdStart
from higgs_worker.serverless.runner import JobRunner
from higgs_worker.settings import Settings
from higgs_worker.speech.service import SpeechService
from higgs_worker.speech.session import LoadedModel
from higgs_worker.storage.storage import Storage
from higgs_worker.voices.actions import Actions
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from higgs_worker.voices.references import References
from higgs_worker.weights import locate as weights
from higgs_worker.weights.locate import LocatedCheckpoint
from higgs_worker.weights.progress import LastProgress, OnTransferProgress

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

DEMO_WARNING = (
    "this is the embedded demo model, for trying the worker: one small voice, English, no "
    "cloning; set HIGGS_MODEL to the real one"
)
DEMO_CHUNK_WORDS = 20
"""What it can say at once; beyond it loses its place in the text."""


def build(settings: Settings, wait_for_device: Callable[[], object] = lambda: None) -> JobRunner:
    """Assemble a worker; its model is loaded by the first job, or by `service.preload`.

    Args:
        settings: what the operator chose.
        wait_for_device: blocks while somebody else uses the device; see `load_speaker`.
    """
    cold_start = ColdStart(settings.started_at)
    latest = LastProgress()
    service = SpeechService(
        lambda: load_model(
            settings, cold_start, on_progress=latest, wait_for_device=wait_for_device
        ),
        latest.sentence,
        max_chunk_words=max_chunk_words(settings),
    )
    return JobRunner(
        service,
        max_text_chars=settings.max_text_chars,
        outlet=Outlet(
            None if settings.s3 is None else Storage(settings.s3), save_dir=settings.save_dir
        ),
        actions=Actions(library(settings), lambda: load_references(settings), model=settings.model),
        on_spoke=cold_start.spoke,
    )


def is_to_preload(settings: Settings) -> bool:
    """Return whether the model is loaded before the first job; quick, no weights are read."""
    if settings.preload != "auto":
        return settings.preload == "always"
    source = source_of(settings)
    model = (settings.model, "model", settings.model_revision)
    codec = (settings.codec, "codec", settings.codec_revision)
    try:
        return all(
            weights.is_cached(name, kind, source, revision=revision)
            for name, kind, revision in (model, codec)
        )
    except (WorkerError, OSError):
        return False  # the first job tells what is wrong


def max_chunk_words(settings: Settings) -> int | None:
    """Say how many words the model can say at once; None: as many as a request may ask for."""
    return DEMO_CHUNK_WORDS if settings.model == weights.DEMO else None


def locate_model(
    settings: Settings, on_progress: OnTransferProgress | None = None
) -> LocatedCheckpoint:
    """Find the language model, pulling it where it is not there; see `weights.locate`."""
    source, revision = source_of(settings), settings.model_revision
    return weights.locate_checkpoint(
        settings.model, "model", source, revision=revision, on_progress=on_progress
    )


def locate_codec(
    settings: Settings, on_progress: OnTransferProgress | None = None
) -> LocatedCheckpoint:
    """Find the codec, pulling it where it is not there; see `weights.locate`."""
    source, revision = source_of(settings), settings.codec_revision
    return weights.locate_checkpoint(
        settings.codec, "codec", source, revision=revision, on_progress=on_progress
    )


def load_model(
    settings: Settings,
    cold_start: ColdStart | None = None,
    *,
    on_progress: OnTransferProgress | None = None,
    wait_for_device: Callable[[], object] = lambda: None,
) -> LoadedModel:
    """Load language model, tokenizer and codec, wherever they are.

    Args:
        settings: which, and where to.
        cold_start: gets the times.
        on_progress: is told how far weights are that must be checked or pulled, in this thread.
        wait_for_device: is called before the device is touched, and blocks until it may be: CUDA
            refuses to capture a graph while another thread synchronises the device.

    Raises:
        WeightsNotFound: a checkpoint is not where the settings say.
        WeightsRefused, WeightsUnavailable, VolumeUnusable: it cannot be pulled.
        InvalidCheckpoint: a checkpoint is damaged or belongs to another model.
    """
    started = time.perf_counter()
    cold_start = cold_start or ColdStart()
    lap = cold_start.lap
    # While files are checked or pulled; whoever needs it then waits for the rest of it.
    threading.Thread(
        target=importlib.import_module, args=("torch",), name="import", daemon=True
    ).start()
    with lap("weights"):
        found, codec = locate_model(settings, on_progress), locate_codec(settings, on_progress)
    with lap("imports"):
        import torch

        from higgs_worker.codec.loader import load_decoder
        from higgs_worker.codec.streaming import StreamingDecoder
        from higgs_worker.codec.thread import CodecThread
        from higgs_worker.engine.engine import Engine
        from higgs_worker.engine.graphs import cuda_capture
        from higgs_worker.engine.loader import load
        from higgs_worker.engine.memory import free_memory, plan_memory
        from higgs_worker.engine.model import LanguageModel
        from higgs_worker.engine.runner import Runner
        from higgs_worker.speech.prompt import PromptBuilder

    with lap("device"):
        wait_for_device()
        device = _device(settings)
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    if settings.dtype != "auto":
        dtype = {"float32": torch.float32, "bfloat16": torch.bfloat16}[settings.dtype]

    with lap("read"), ThreadPoolExecutor(thread_name_prefix="load") as beside:
        reading = beside.submit(PromptBuilder.from_directory, found.directory)
        decoding = beside.submit(load_decoder, codec.directory, device)
        config, tensors, report = load(found.directory, device=device, dtype=dtype)
        prompts, (decoder, codec_report) = reading.result(), decoding.result()
    # TF32 would cost the codec two digits: streamed and whole audio would no longer be equal.
    torch.backends.cudnn.allow_tf32 = False
    budget = plan_memory(
        config,
        dtype,
        free_bytes=free_memory(device),
        max_slots=settings.max_slots,
        max_length=settings.max_length,
    )
    with lap("slots"):
        runner = Runner(
            LanguageModel(config, tensors, budget.max_length),
            num_slots=budget.num_slots,
            max_length=budget.max_length,
            prefix_cache_bytes=budget.prefix_cache_bytes,
        )
    with lap("graphs"):
        streams = StreamingDecoder(decoder, 2 * budget.num_slots, capture=cuda_capture(device))

    cold_start.loaded()
    log.info(
        "model loaded",
        extra={
            "model": settings.model,
            "device": str(device),
            "dtype": str(dtype).removeprefix("torch."),
            "num_bytes_read": report.num_bytes_read + codec_report.num_bytes_read,
            "num_slots": budget.num_slots,
            "max_length": budget.max_length,
            "num_bytes_slots": budget.slot_bytes * budget.num_slots,
            "load_s": round(time.perf_counter() - started, 3),
        },
    )
    return LoadedModel(
        prompts=prompts,
        engine=Engine(runner, max_waiting=settings.queue_size),
        codec=CodecThread(streams),
        references=load_references(settings, codec),
        sample_rate=decoder.config.sample_rate,
        frame_rate=decoder.config.frame_rate,
        info=ModelInfo(id=settings.model, revision=found.revision),
        warnings=(DEMO_WARNING,) if settings.model == weights.DEMO else (),
    )


def load_references(settings: Settings, codec: LocatedCheckpoint | None = None) -> References:
    """Open the voices of the volume; the encoder is loaded by the first new one.

    Args:
        settings: what the operator chose.
        codec: where it is, when that is known already.

    Raises:
        WeightsNotFound: the codec is not where the settings say.
        WeightsRefused, WeightsUnavailable, VolumeUnusable: it cannot be pulled.
    """
    from higgs_worker.codec.lazy_encoder import LazyEncoder, codec_id

    directory = (codec or locate_codec(settings)).directory
    return References(
        library(settings),
        LazyEncoder(directory, _device(settings)),
        codec_id(directory),
        max_s=settings.max_reference_s,
        max_bytes=settings.max_reference_bytes,
        allowed_hosts=settings.allowed_hosts,
    )


def library(settings: Settings) -> VoiceLibrary:
    """Open the voices of the volume and those that are built in."""
    return VoiceLibrary(settings.volume / "voices", presets=PRESETS)


def source_of(settings: Settings) -> weights.CheckpointSource:
    """Say where checkpoints may be had from."""
    caches = [weights.RUNPOD_CACHE, *([settings.hf_home / "hub"] if settings.hf_home else [])]
    return weights.CheckpointSource(
        volume=settings.volume,
        endpoint=settings.hf_endpoint,
        token=settings.hf_token,
        offline=settings.hf_hub_offline,
        caches=tuple(caches),
    )


def _device(settings: Settings) -> "torch.device":
    import torch

    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
