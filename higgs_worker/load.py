"""Loads what speaks: language model, codec and tokenizer, and the voices of the volume.

The only module that knows both the settings and the engine. torch is imported when the model is
loaded, not before.
"""

import importlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from higgs_worker.api.result import ModelInfo
from higgs_worker.cold_start import ColdStart
from higgs_worker.settings import Settings
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.prompt import PromptBuilder
from higgs_worker.voices.library import PRESETS, VoiceLibrary
from higgs_worker.voices.references import References
from higgs_worker.weights.locate import (
    DEMO,
    RUNPOD_CACHE,
    CheckpointSource,
    LocatedCheckpoint,
    locate_checkpoint,
)
from higgs_worker.weights.progress import OnTransferProgress

if TYPE_CHECKING:
    import torch

    from higgs_worker.codec.decoder import CodecDecoder
    from higgs_worker.engine.config import ModelConfig
    from higgs_worker.engine.memory import MemoryPlan
    from higgs_worker.engine.parameters import Weights

log = logging.getLogger(__name__)

DEMO_WARNING = (
    "this is the embedded demo model, for trying the worker: one small voice, English, no "
    "cloning; set HIGGS_MODEL to the real one"
)
DEMO_CHUNK_WORDS = 20
"""The most that the demo model can say at once; beyond it loses its place in the text."""

STREAMS_PER_SLOT = 2
"""Codec streams: one whose last audio is on its way must not keep a new sequence waiting."""

_HEAVY_MODULES = (
    "torch",
    "higgs_worker.codec.loader",
    "higgs_worker.codec.streaming",
    "higgs_worker.codec.thread",
    "higgs_worker.engine.engine",
    "higgs_worker.engine.loader",
    "higgs_worker.engine.memory",
    "higgs_worker.engine.runner",
)


def max_chunk_words(settings: Settings) -> int | None:
    """Return how many words the model can say at once; None: as many as a request may ask for."""
    return DEMO_CHUNK_WORDS if settings.model == DEMO else None


def locate_model(
    settings: Settings, on_progress: OnTransferProgress | None = None
) -> LocatedCheckpoint:
    """Return where the language model is; it is pulled if it is not there."""
    source, revision = checkpoint_source(settings), settings.model_revision
    return locate_checkpoint(
        settings.model, "model", source, revision=revision, on_progress=on_progress
    )


def locate_codec(
    settings: Settings, on_progress: OnTransferProgress | None = None
) -> LocatedCheckpoint:
    """Return where the codec is; it is pulled if it is not there."""
    source, revision = checkpoint_source(settings), settings.codec_revision
    return locate_checkpoint(
        settings.codec, "codec", source, revision=revision, on_progress=on_progress
    )


def load_model(
    settings: Settings,
    cold_start: ColdStart | None = None,
    *,
    on_progress: OnTransferProgress | None = None,
    wait_for_device: Callable[[], object] = lambda: None,
) -> LoadedModel:
    """Load language model, tokenizer and codec, wherever they are. Blocks.

    Args:
        settings: which checkpoints, and onto which device.
        cold_start: gets the times.
        on_progress: is told how far weights are that are checked or pulled, in this thread.
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
    # Imported while files are checked or pulled; the lap below waits for the rest of the import.
    threading.Thread(
        target=importlib.import_module, args=("torch",), name="import", daemon=True
    ).start()
    with lap("weights"):
        model, codec = locate_model(settings, on_progress), locate_codec(settings, on_progress)
    with lap("imports"):
        for name in _HEAVY_MODULES:
            importlib.import_module(name)
    with lap("device"):
        wait_for_device()
        device = _device(settings)
    dtype = _dtype(settings, device)
    with lap("read"):
        parts = _read(model, codec, device, dtype)
    plan = _plan_memory(settings, parts, codec.directory, device, dtype)
    from higgs_worker.codec.streaming import StreamingDecoder
    from higgs_worker.codec.thread import CodecThread
    from higgs_worker.cuda import cuda_capture
    from higgs_worker.engine.engine import Engine
    from higgs_worker.engine.model import LanguageModel
    from higgs_worker.engine.runner import Runner

    with lap("slots"):
        runner = Runner(
            LanguageModel(parts.config, parts.weights, plan.max_length),
            num_slots=plan.num_slots,
            max_length=plan.max_length,
            prefix_cache_bytes=plan.prefix_cache_bytes,
        )
        streams = StreamingDecoder(
            parts.decoder, STREAMS_PER_SLOT * plan.num_slots, capture=cuda_capture(device)
        )
    with lap("graphs"), ExitStack() as on_failure:
        # Each captures in the thread that will use what it captured.
        speaking = CodecThread(streams)
        on_failure.callback(speaking.close)
        engine = Engine(runner, max_waiting=settings.queue_size)
        on_failure.callback(engine.close)
        speaking.wait_until_ready()
        engine.wait_until_ready()
        on_failure.pop_all()
    cold_start.loaded()
    log.info(
        "model loaded",
        extra={
            "model": settings.model,
            "device": str(device),
            "dtype": str(dtype).removeprefix("torch."),
            "num_bytes_read": parts.num_bytes_read,
            "num_slots": plan.num_slots,
            "max_length": plan.max_length,
            "num_bytes_slots": plan.slot_bytes * plan.num_slots,
            "load_s": round(time.perf_counter() - started, 3),
        },
    )
    return LoadedModel(
        prompts=parts.prompts,
        engine=engine,
        codec=speaking,
        references=load_references(settings, codec),
        sample_rate=parts.decoder.config.sample_rate,
        frame_rate=parts.decoder.config.frame_rate,
        info=ModelInfo(id=settings.model, revision=model.revision),
        warnings=(DEMO_WARNING,) if settings.model == DEMO else (),
    )


def load_references(settings: Settings, codec: LocatedCheckpoint | None = None) -> References:
    """Return the reference voices; the encoder is loaded when the first new one is encoded.

    Args:
        settings: what the operator chose.
        codec: where it is, when that is known already.

    Raises:
        WeightsNotFound: the codec is not where the settings say.
        WeightsRefused, WeightsUnavailable, VolumeUnusable: it cannot be pulled.
    """
    from higgs_worker.codec.encoder_loader import LazyEncoder, codec_id

    directory = (codec or locate_codec(settings)).directory
    return References(
        voice_library(settings),
        LazyEncoder(directory, _device(settings)),
        codec_id(directory),
        max_s=settings.max_reference_s,
        max_bytes=settings.max_reference_bytes,
        allowed_hosts=settings.allowed_hosts,
    )


def voice_library(settings: Settings) -> VoiceLibrary:
    """Return the voices of the volume and those that are built in."""
    return VoiceLibrary(settings.volume / "voices", presets=PRESETS)


def checkpoint_source(settings: Settings) -> CheckpointSource:
    """Return where checkpoints are looked for and pulled from."""
    caches = [RUNPOD_CACHE, *([settings.hf_home / "hub"] if settings.hf_home else [])]
    return CheckpointSource(
        volume=settings.volume,
        endpoint=settings.hf_endpoint,
        token=settings.hf_token,
        offline=settings.hf_hub_offline,
        caches=tuple(caches),
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What was read from the two checkpoints."""

    config: "ModelConfig"
    weights: "Weights"
    prompts: PromptBuilder
    decoder: "CodecDecoder"
    num_bytes_read: int


def _read(
    model: LocatedCheckpoint, codec: LocatedCheckpoint, device: "torch.device", dtype: "torch.dtype"
) -> _Parts:
    """Read language model, tokenizer and codec side by side."""
    from higgs_worker.codec.loader import load_decoder
    from higgs_worker.engine.loader import load

    with ThreadPoolExecutor(thread_name_prefix="load") as beside:
        reading_prompts = beside.submit(PromptBuilder.from_directory, model.directory)
        reading_codec = beside.submit(load_decoder, codec.directory, device)
        config, weights, report = load(model.directory, device=device, dtype=dtype)
        prompts, (decoder, codec_report) = reading_prompts.result(), reading_codec.result()
    num_bytes_read = report.num_bytes_read + codec_report.num_bytes_read
    return _Parts(config, weights, prompts, decoder, num_bytes_read)


def _plan_memory(
    settings: Settings, parts: _Parts, codec: Path, device: "torch.device", dtype: "torch.dtype"
) -> "MemoryPlan":
    """Divide the free memory; `codec` is the codec's directory."""
    from higgs_worker.codec.encoder_loader import encoder_config
    from higgs_worker.codec.memory import encoder_bytes, graph_bytes, state_bytes
    from higgs_worker.engine.memory import OtherMemory, free_memory, plan_memory

    sizes, encoder = parts.decoder.config, encoder_config(codec)
    encoder_need = encoder_bytes(encoder, settings.max_reference_s) if encoder is not None else 0
    return plan_memory(
        parts.config,
        dtype,
        free_bytes=free_memory(device),
        max_slots=settings.max_slots,
        max_length=settings.max_length,
        others=OtherMemory(
            fixed_bytes=graph_bytes(sizes) + encoder_need + state_bytes(sizes, 0),
            bytes_per_slot=state_bytes(sizes, STREAMS_PER_SLOT) - state_bytes(sizes, 0),
        ),
    )


def _device(settings: Settings) -> "torch.device":
    import torch

    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def _dtype(settings: Settings, device: "torch.device") -> "torch.dtype":
    import torch

    if settings.dtype == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, settings.dtype)
    return dtype
