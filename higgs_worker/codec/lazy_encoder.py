"""The encoder, loaded when the first new voice needs it, and which codec it is."""

import hashlib
import logging
import threading
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from higgs_worker.codec.encoder import CodecEncoder
from higgs_worker.codec.encoder_loader import load_encoder

log = logging.getLogger(__name__)


class LazyEncoder:
    """PCM to codes; one at a time, because HuBERT over a minute of audio takes its memory."""

    def __init__(self, directory: Path, device: torch.device) -> None:
        self._directory = directory
        self._device = device
        self._lock = threading.Lock()
        self._encoder: CodecEncoder | None = None

    @property
    def is_loaded(self) -> bool:
        """Whether anything had to be encoded yet."""
        return self._encoder is not None

    @torch.inference_mode()
    def __call__(self, pcm: NDArray[np.float32]) -> NDArray[np.int64]:
        """Encode PCM [S]; gives codes [F, K].

        Raises:
            InvalidCheckpoint: the codec has no encoder.
        """
        with self._lock:
            if self._encoder is None:
                self._encoder, report = load_encoder(self._directory, self._device)
                log.info(
                    "encoder loaded",
                    extra={
                        "num_bytes_read": report.num_bytes_read,
                        "load_s": round(report.duration_s, 3),
                    },
                )
            codes = self._encoder(torch.from_numpy(pcm).unsqueeze(0).to(self._device))
            frames: NDArray[np.int64] = codes[0].T.contiguous().cpu().numpy()
            return frames


def codec_id(directory: Path) -> str:
    """Name a codec by its configuration and the size of its weights.

    The weights themselves are verified where they are fetched; here the name must not cost a read
    of 800 MB at every start.
    """
    config = (directory / "config.json").read_bytes()
    size = (directory / "model.safetensors").stat().st_size
    return hashlib.sha256(config + str(size).encode()).hexdigest()[:16]
