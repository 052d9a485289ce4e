"""Loads what speaks: language model, codec and tokenizer.

The only module that knows both the settings and the engine. torch is imported when the model is
loaded, not before.
"""

import gc
import importlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from higgs_worker.api.result import ModelInfo
from higgs_worker.checkpoints import Checkpoints, Refused, checkpoint_source
from higgs_worker.cold_start import ColdStart
from higgs_worker.errors import InvalidSettings
from higgs_worker.health.checks import check_gpu, missing_weights
from higgs_worker.kernel_cache import use_kernel_cache
from higgs_worker.reference_voices import ReferenceVoices
from higgs_worker.settings import Settings
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.prompt import PromptBuilder
from higgs_worker.speech.ras_defaults import RasDefaults
from higgs_worker.weights.locate import DEMO
from higgs_worker.weights.progress import OnTransferProgress

if TYPE_CHECKING:
    import torch

    from higgs_worker.checkpoint.tensor_file import LoadReport
    from higgs_worker.codec.config import CodecConfig
    from higgs_worker.codec.thread import CodecThread
    from higgs_worker.engine.config import ModelConfig
    from higgs_worker.engine.memory import MemoryPlan
    from higgs_worker.engine.model import LanguageModel
    from higgs_worker.engine.number_format import NumberFormat

log = logging.getLogger(__name__)

DEMO_WARNING = (
    "this is the embedded demo model, for trying the worker: one small voice, English, no "
    "cloning; set HIGGS_MODEL to the real one"
)
DEMO_CHUNK_WORDS = 20
"""The most that the demo model can say at once; beyond it loses its place in the text."""

KERNELS = "kernels"
"""Of the volume: the folder of compiled kernels, as bootstrap.sh makes it."""
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


def load_model(
    settings: Settings,
    cold_start: ColdStart | None = None,
    *,
    on_progress: OnTransferProgress | None = None,
    wait_for_device: Callable[[], object] = lambda: None,
    references: ReferenceVoices | None = None,
) -> LoadedModel:
    """Load language model, tokenizer and codec, wherever they are. Blocks.

    Args:
        settings: which checkpoints, and onto which device.
        cold_start: gets the times.
        on_progress: is told how far checking or pulling weights is, in one thread at a time.
        wait_for_device: is called before the device is touched, and blocks until it may be: CUDA
            refuses to capture a graph while another thread synchronises the device.
        references: the worker's; None: new ones.

    Raises:
        WeightsNotFound: a checkpoint is not where the settings say.
        WeightsRefused, WeightsUnavailable, VolumeUnusable: it cannot be pulled.
        InvalidCheckpoint: a checkpoint is damaged or belongs to another model.
        InvalidSettings, EngineBroken: the device is not there, or does not work.
    """
    started = time.perf_counter()
    cold_start = cold_start or ColdStart()
    lap = cold_start.lap
    # Imported while files are checked or pulled; the lap below waits for the rest of the import.
    threading.Thread(
        target=importlib.import_module, args=("torch",), name="import", daemon=True
    ).start()
    with lap("weights"):
        if missing_weights(settings, checkpoint_source(settings)):
            _device(settings)  # a GPU that is not there is told before gigabytes are pulled
        checkpoints = Checkpoints(settings, on_progress)
    with lap("imports"):
        for name in _HEAVY_MODULES:
            importlib.import_module(name)
    with lap("device"):
        wait_for_device()
        device = _device(settings)
        if device.type == "cuda":
            check_gpu(settings.device)
        elif settings.kernels == "triton":
            raise InvalidSettings(
                "HIGGS_KERNELS is triton, and there is no GPU to run its kernels; leave it at auto"
            )
    from higgs_worker.engine.engine import Engine
    from higgs_worker.engine.number_format import NumberFormat
    from higgs_worker.engine.runner import Runner

    number_format = NumberFormat.named(settings.dtype, device)
    with lap("read"):
        parts = _read_usable(settings, checkpoints, device, number_format)
    with ExitStack() as on_failure:
        on_failure.callback(parts.codec.close)
        with lap("codec"):
            parts.codec.wait_until_ready()
        plan = _plan_memory(settings, parts, number_format)
        with lap("slots"):
            runner = Runner(
                parts.model,
                num_slots=plan.num_slots,
                max_length=plan.max_length,
                prefix_cache_bytes=plan.prefix_cache_bytes,
                kernels=settings.kernels,
            )
        with lap("graphs"):
            engine = Engine(runner, max_waiting=settings.queue_size)
            on_failure.callback(engine.close)
            engine.wait_until_ready()
        on_failure.pop_all()
    # It lives as long as the process. The garbage collector would look through all of it from time
    # to time, 0.2 s in which no thread goes on.
    gc.freeze()
    cold_start.loaded()
    log.info(
        "model loaded",
        extra={
            "model": settings.model,
            "device": str(device),
            "dtype": str(number_format),
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
        codec=parts.codec,
        references=(references or ReferenceVoices(settings)).load(checkpoints.codec),
        sample_rate=parts.sizes.sample_rate,
        frame_rate=parts.sizes.frame_rate,
        info=ModelInfo(id=settings.model, revision=checkpoints.model.revision),
        ras=parts.ras,
        warnings=(DEMO_WARNING,) if settings.model == DEMO else (),
    )


@dataclass(frozen=True, slots=True)
class _Parts:
    """What was read from the two checkpoints; the codec is running already."""

    model: "LanguageModel"
    prompts: PromptBuilder
    ras: RasDefaults
    codec: "CodecThread"
    sizes: "CodecConfig"
    encoder_bytes: int
    """What the codec's encoder will take, see `encoder_memory.py`; 0: there is none."""
    num_bytes_read: int


def _read_usable(
    settings: Settings,
    checkpoints: Checkpoints,
    device: "torch.device",
    number_format: "NumberFormat",
) -> _Parts:
    """Read both checkpoints; one that is of no use is replaced, and both are read again."""
    while True:
        try:
            return _read(settings, checkpoints, device, number_format)
        except Refused as refused:
            kind, error = refused.kind, refused.error
        # The frames of the failure hold what was read, in a cycle with the errors of threads, and
        # there may be no memory for twice as much.
        error = error.with_traceback(None)
        gc.collect()
        checkpoints.replace(kind, error)


def _read(
    settings: Settings,
    checkpoints: Checkpoints,
    device: "torch.device",
    number_format: "NumberFormat",
) -> _Parts:
    """Read language model, tokenizer and codec side by side.

    The codec, a fiftieth of the bytes, is read first and captures its graphs meanwhile.
    """
    from higgs_worker.engine.config import ModelConfig
    from higgs_worker.engine.loader import load
    from higgs_worker.engine.memory import max_auto_slots
    from higgs_worker.engine.model import LanguageModel

    config = checkpoints.read("model", ModelConfig.from_directory)
    _check_memory(settings, checkpoints, config, device, number_format)
    num_streams = STREAMS_PER_SLOT * (settings.max_slots or max_auto_slots(device))
    with ExitStack() as on_failure, ThreadPoolExecutor(thread_name_prefix="load") as beside:
        read = checkpoints.read
        reading_prompts = beside.submit(read, "model", PromptBuilder.from_directory)
        starting_codec = beside.submit(
            read,
            "codec",
            _start_codec,
            device,
            num_streams,
            allow_tf32=settings.codec_precision == "tf32",
        )
        on_failure.callback(_close_codec, starting_codec)
        sizing_encoder = beside.submit(read, "codec", _encoder_bytes, settings.max_reference_s)
        if device.type == "cuda" and settings.kernels != "torch":
            beside.submit(_compile_kernels, settings, config, number_format, device)
        ras = read("model", RasDefaults.from_directory)
        config, weights, report = read("model", load, device=device, number_format=number_format)
        prompts = reading_prompts.result()
        thread, codec_config, codec_report = starting_codec.result()
        encoder_bytes = sizing_encoder.result()
        language_model = LanguageModel(config, weights, settings.max_length)
        on_failure.pop_all()
    num_bytes_read = report.num_bytes_read + codec_report.num_bytes_read
    return _Parts(language_model, prompts, ras, thread, codec_config, encoder_bytes, num_bytes_read)


_StartedCodec = tuple["CodecThread", "CodecConfig", "LoadReport"]


def _start_codec(
    directory: Path, device: "torch.device", num_streams: int, *, allow_tf32: bool
) -> _StartedCodec:
    """Read the decoder and start its thread."""
    from higgs_worker.codec.loader import load_decoder
    from higgs_worker.codec.streaming import StreamingDecoder
    from higgs_worker.codec.thread import CodecThread
    from higgs_worker.cuda import cuda_capture

    decoder, report = load_decoder(directory, device)
    if allow_tf32 and device.type == "cpu":
        log.warning("a CPU has no tf32: HIGGS_CODEC_PRECISION has no effect, the codec is exact")
    capture = cuda_capture(device)
    streams = StreamingDecoder(decoder, num_streams, allow_tf32=allow_tf32, capture=capture)
    return CodecThread(streams), decoder.config, report


def _compile_kernels(
    settings: Settings,
    config: "ModelConfig",
    number_format: "NumberFormat",
    device: "torch.device",
) -> None:
    """Compile the fused step's kernels, or find them on the volume.

    What fails here fails again where the engine tries them beside torch's, and is told there.
    """
    use_kernel_cache(settings.volume / KERNELS)
    from higgs_worker.engine.kernels.compilation import compile_kernels
    from higgs_worker.engine.memory import max_auto_slots

    compile_kernels(
        config,
        number_format,
        device,
        max_rows=settings.max_slots or max_auto_slots(device),
        max_length=settings.max_length,
    )


def _close_codec(starting: "Future[_StartedCodec]") -> None:
    if starting.exception() is None:
        starting.result()[0].close()


def _encoder_bytes(codec: Path, max_reference_s: float) -> int:
    from higgs_worker.codec.encoder_loader import encoder_config
    from higgs_worker.codec.encoder_memory import held_bytes

    encoder = encoder_config(codec)
    return 0 if encoder is None else held_bytes(encoder, max_reference_s)


def _check_memory(
    settings: Settings,
    checkpoints: Checkpoints,
    config: "ModelConfig",
    device: "torch.device",
    number_format: "NumberFormat",
) -> None:
    """Refuse a model for which memory will not do, before any is taken.

    A container that exceeds its limit is killed, and nobody is told why.

    Raises:
        InvalidSettings: weights, codec and slots do not fit.
    """
    from higgs_worker.codec.config import CodecConfig
    from higgs_worker.codec.loader import weight_bytes as codec_bytes
    from higgs_worker.engine.memory import free_memory, plan_memory, weight_bytes

    decoder = checkpoints.read("codec", CodecConfig.from_directory)
    plan_memory(
        config,
        number_format,
        device,
        free_bytes=free_memory(device),
        max_slots=settings.max_slots,
        max_length=settings.max_length,
        loading_bytes=weight_bytes(config, number_format, device) + codec_bytes(decoder),
    )


def _plan_memory(settings: Settings, parts: _Parts, number_format: "NumberFormat") -> "MemoryPlan":
    """Divide the memory that is free now, the codec's graphs being there."""
    from higgs_worker.engine.memory import free_memory, plan_memory

    return plan_memory(
        parts.model.config,
        number_format,
        parts.model.device,
        free_bytes=free_memory(parts.model.device),
        max_slots=settings.max_slots,
        max_length=settings.max_length,
        encoder_bytes=parts.encoder_bytes,
    )


def _device(settings: Settings) -> "torch.device":
    from higgs_worker.cuda import device_named

    return device_named(settings.device)
