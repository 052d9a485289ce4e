"""Checkpoint on disk -> a CodecEncoder in memory, at once or when the first new voice needs it.

The counterpart of `loader.py`, for the same two files: the names and shapes of all tensors are
checked, and only the encoder's are read. A file that holds only a decoder gets an error of its own.
"""

import hashlib
import logging
import threading
import time
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from queue import SimpleQueue

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from higgs_worker.checkpoint.file import open_file, read_file
from higgs_worker.checkpoint.json_file import MAX_JSON_BYTES
from higgs_worker.checkpoint.shard_index import INDEX, WEIGHTS, read_index
from higgs_worker.checkpoint.tensor_file import LoadReport, open_tensors
from higgs_worker.codec.config import SOURCE, CodecConfig
from higgs_worker.codec.encoder import CodecEncoder
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.cuda import LOW, hold_captures, own_stream
from higgs_worker.errors import EngineFailed, InvalidCheckpoint, is_out_of_memory
from higgs_worker.regular_file import size_of

log = logging.getLogger(__name__)

NOT_NEEDED_PREFIXES = (
    "acoustic_decoder.",
    "decoder_semantic.",
    "fc1.",
    "fc2.",
    "semantic_model.masked_spec_embed",
)
"""In the file, but not loaded: the decoder, and what only training uses."""

NOT_NEEDED_OF_CODEBOOK = ("cluster_size", "embed_avg", "inited")
"""The same, within each codebook."""

LANDMARKS = (
    "acoustic_encoder.conv1.weight",
    "encoder_semantic.conv.weight",
    "semantic_model.feature_projection.projection.weight",
)
"""One tensor of each network that only encoding needs, in a codec of any size."""

POSITION_CONV = "semantic_model.encoder.pos_conv_embed.conv."
WEIGHT = POSITION_CONV + "weight"
MAGNITUDE = POSITION_CONV + "parametrizations.weight.original0"
DIRECTION = POSITION_CONV + "parametrizations.weight.original1"
"""The one convolution whose weight norm is not folded in: one magnitude per tap."""


def turn_tf32_off(device: torch.device) -> None:
    """Let cuDNN's convolutions keep all digits of float32; on a CPU they always do.

    With TF32, torch's default, near-ties between codes could fall another way. It is off for the
    whole process; the decoder's streams do not ask (see `convolution.py`).
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False


def load_encoder(directory: Path, device: torch.device) -> tuple[CodecEncoder, LoadReport]:
    """Load the encoder half of the codec in `directory`, as float32, ready for inference.

    Half-precision tensors are converted. The file is not used any more afterwards. On a GPU, TF32
    is turned off for the whole process: codes must not depend on what was loaded before.

    Raises:
        WeightsNotFound: a file is missing.
        InvalidCheckpoint: a file is damaged, holds only a decoder, or its tensors are not those of
            its configuration.
    """
    started = time.perf_counter()
    turn_tf32_off(device)
    codec = CodecConfig.from_directory(directory)
    config = encoder_config(directory)
    if config is None:
        raise InvalidCheckpoint(
            f"{directory / 'model.safetensors'} holds only the decoder of a codec: missing "
            f"{', '.join(LANDMARKS)}, ...; it can speak but not take in a new voice; use {SOURCE}",
            details={"problems": [f"missing {name}" for name in LANDMARKS]},
        )
    wanted = tensor_shapes(config)
    not_needed = {
        f"quantizer.quantizers.{index}.codebook.{name}"
        for index in range(codec.num_codebooks)
        for name in NOT_NEEDED_OF_CODEBOOK
    }
    with open_tensors(
        directory,
        SOURCE,
        wanted=wanted,
        is_not_needed=lambda name: name in not_needed or name.startswith(NOT_NEEDED_PREFIXES),
    ) as file:
        # Always a copy: safetensors' tensors are views of the memory-mapped file.
        state = {name: file.read(name).to(device, torch.float32, copy=True) for name in wanted}
        report = LoadReport(file.num_bytes_read, time.perf_counter() - started)
    state[WEIGHT] = fold_weight_norm(state.pop(MAGNITUDE), state.pop(DIRECTION))
    with torch.device("meta"):  # skips initial values, which are not used
        encoder = CodecEncoder(config)
    encoder.load_state_dict(state, assign=True)
    return encoder.requires_grad_(False).eval(), report


def tensor_shapes(config: EncoderConfig) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that the encoder needs, by its name in the checkpoint.

    In the published file weight norm is folded in, except in HuBERT's positional convolution.
    Source: transformers `HiggsAudioV2TokenizerModel` state dict.
    """
    with torch.device("meta"):
        network = CodecEncoder(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
    shapes[DIRECTION] = shapes.pop(WEIGHT)
    shapes[MAGNITUDE] = (1, 1, config.hubert.position_kernel)
    return shapes


def fold_weight_norm(magnitude: Tensor, direction: Tensor) -> Tensor:
    """Return the weight of a convolution from one magnitude per tap and directions.

    Computed in float64, so that the fold rounds once.

    Args:
        magnitude: [1, 1, taps] float32.
        direction: [channels_out, channels_in, taps] float32, of any length.

    Returns:
        [channels_out, channels_in, taps] float32.
    """
    direction = direction.double()
    norm = torch.linalg.vector_norm(direction, dim=(0, 1), keepdim=True)
    weight: Tensor = magnitude.double() * direction / norm
    return weight.float()


def encoder_config(directory: Path) -> EncoderConfig | None:
    """Return the sizes of the encoder in `directory`; None: the file holds only a decoder."""
    # Without an encoder the sizes in its configuration are arbitrary.
    return None if _lacks_encoder(directory) else EncoderConfig.from_directory(directory)


def _lacks_encoder(directory: Path) -> bool:
    with open_tensors(directory, SOURCE, wanted={}, is_not_needed=lambda name: True) as file:
        return not any(name in file.not_needed for name in LANDMARKS)


class LazyEncoder:
    """An encoder that is loaded at its first call, and works in a thread of its own.

    So one reference is encoded at a time, which bounds the memory; cuDNN makes its plans once; and
    on a GPU the work has a CUDA stream that gives way to the engine's and the codec's.
    """

    def __init__(self, directory: Path, device: torch.device) -> None:
        self._directory = directory
        self._device = device
        self._calls: SimpleQueue[tuple[NDArray[np.float32], Future[NDArray[np.int64]]]] = (
            SimpleQueue()
        )
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._encoder: CodecEncoder | None = None

    def __call__(self, pcm: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the codes [F, K] of PCM [S]. Any thread may call, and waits.

        Raises:
            InvalidCheckpoint: the codec has no encoder.
            EngineFailed: the device has not enough memory for this recording.
        """
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._serve, name="encoder", daemon=True)
                self._thread.start()
        codes: Future[NDArray[np.int64]] = Future()
        self._calls.put((pcm, codes))
        return codes.result()

    def _serve(self) -> None:
        try:
            with own_stream(self._device, LOW):
                while True:
                    self._answer(*self._calls.get())
        except Exception as error:
            log.exception("the encoder's thread has no CUDA stream")
            while True:  # nobody must wait for ever
                self._calls.get()[1].set_exception(error)

    def _answer(self, pcm: NDArray[np.float32], codes: Future[NDArray[np.int64]]) -> None:
        try:
            codes.set_result(self._encode(pcm))
        except Exception as error:
            if is_out_of_memory(error):
                log.exception("no memory for a reference", extra={"num_samples": len(pcm)})
                # Without the traceback, which would keep the tensors that were there.
                error = EngineFailed(
                    "the device ran out of memory while it took in a reference recording; send a "
                    "shorter one, or lower HIGGS_MAX_SLOTS"
                )
            codes.set_exception(error)

    @torch.inference_mode()
    def _encode(self, pcm: NDArray[np.float32]) -> NDArray[np.int64]:
        first_use: AbstractContextManager[None] = nullcontext()
        if self._encoder is None:
            self._encoder, report = load_encoder(self._directory, self._device)
            first_use = hold_captures()
            log.info(
                "encoder loaded",
                extra={
                    "num_bytes_read": report.num_bytes_read,
                    "load_s": round(report.duration_s, 3),
                },
            )
        with first_use:
            codes = self._encoder(torch.from_numpy(pcm).unsqueeze(0).to(self._device))
        frames: NDArray[np.int64] = codes[0].T.contiguous().cpu().numpy()
        return frames


def codec_id(directory: Path) -> str:
    """Return a digest that identifies a codec: of its configuration and the size of its weights.

    Of shards, the index stands for the size. Hashing the weights themselves would read 800 MB at
    every start; they are verified before their first use.

    Raises:
        WeightsNotFound: a file cannot be read.
        InvalidCheckpoint: a file is not a regular one.
    """
    config = read_file(directory / "config.json", SOURCE, MAX_JSON_BYTES)
    if read_index(directory, SOURCE) is None:
        with open_file(directory / WEIGHTS, SOURCE) as file:
            weights = str(size_of(file)).encode()
    else:
        weights = read_file(directory / INDEX, SOURCE, MAX_JSON_BYTES)
    return hashlib.sha256(config + weights).hexdigest()[:16]
