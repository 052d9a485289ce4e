"""The codes of encoded recordings, in memory and on the volume.

The key is the content of the recording, so that a changed recording never gets its old codes. A
checksum in each file proves which recording and codec it belongs to, and that it is complete. Knows
neither torch nor how codes are made.
"""

import hashlib
import logging
import re
import struct
import threading
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from higgs_worker.atomic_file import remove_stale_temporaries, write_atomic
from higgs_worker.regular_file import UnfitFile, read_regular

MAX_FILE_BYTES = 1_000_000
"""Of a file; ten minutes of 8 codebooks need a fourth."""

_STORES_PER_PRUNING = 256  # listing a network volume is slow
_KEY = re.compile(r"[0-9a-f]{64}")

log = logging.getLogger(__name__)


def content_key(data: bytes) -> str:
    """Return the key of a recording's codes: the sha256 of its bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


class CodeCache:
    """Codes by recording and codec, in memory and on the volume.

    Codes that cannot be read are computed again by the caller; a failed write is only logged. Safe
    for several threads and several processes.
    """

    def __init__(
        self, directory: Path, max_memory_items: int = 256, max_files: int = 10_000
    ) -> None:
        """
        Args:
            directory: for the files, about 4 KB each; it need not exist.
            max_memory_items: how many recordings' codes stay in memory.
            max_files: how many files stay in the directory.
        """
        self._directory = directory
        self._max_files = max_files
        self._max_memory_items = max_memory_items
        self._memory: OrderedDict[Path, NDArray[np.int16]] = OrderedDict()
        self._lock = threading.Lock()
        self._num_stores = 0

    def load(self, key: str, codec_id: str) -> NDArray[np.int16] | None:
        """Return codes as `[F, K] int16`, read-only; None where there are none or they are damaged.

        Args:
            key: see `content_key`.
            codec_id: the codec and its revision; any text.
        """
        path = self._path(key, codec_id)
        with self._lock:
            if path in self._memory:
                self._memory.move_to_end(path)
                return self._memory[path]
        try:
            codes = _unpack(read_regular(path, MAX_FILE_BYTES, follow_links=False), key, codec_id)
        except UnfitFile:
            codes = None
        except OSError:
            return None
        if codes is None:  # left in its place: another worker may have replaced it by now
            log.warning("damaged codes will be computed again: %s", path.name)
            return None
        self._remember(path, codes)
        return codes

    def store(self, key: str, codec_id: str, codes: NDArray[np.int16]) -> None:
        """Store codes, and drop the oldest where there are too many.

        Args:
            key: see `content_key`.
            codec_id: the codec and its revision; any text.
            codes: `[F, K] int16`; copied.

        Raises:
            ValueError: `codes` has another shape or type.
        """
        if codes.ndim != 2 or codes.dtype != np.int16:
            raise ValueError(f"codes must be [F, K] int16, not {codes.shape} {codes.dtype}")
        path = self._path(key, codec_id)
        codes = codes.copy()
        codes.setflags(write=False)
        self._remember(path, codes)
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            if self._num_stores % _STORES_PER_PRUNING == 0:
                with suppress(OSError):  # another worker prunes as well
                    self._prune()
            self._num_stores += 1
            write_atomic(path, _pack(codes, key, codec_id), replace=True)
        except OSError as error:
            log.warning("codes are kept in memory only: %s", error.strerror or error)

    def remove(self, key: str) -> None:
        """Remove the codes of a recording, for all codecs."""
        prefix = self._path(key, "").name[: len(key)]
        with self._lock:
            for path in [each for each in self._memory if each.name.startswith(prefix)]:
                del self._memory[path]
        with suppress(OSError):
            for path in self._directory.glob(f"{prefix}-*"):
                path.unlink(missing_ok=True)

    def _path(self, key: str, codec_id: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is not a sha256 in hex")
        return self._directory / f"{key}-{content_key(codec_id.encode())[:16]}.codes"

    def _remember(self, path: Path, codes: NDArray[np.int16]) -> None:
        with self._lock:
            self._memory[path] = codes
            while len(self._memory) > self._max_memory_items:
                self._memory.popitem(last=False)

    def _prune(self) -> None:
        remove_stale_temporaries(self._directory)
        aged = sorted((each.stat().st_mtime, each) for each in self._directory.glob("*.codes"))
        for _, path in aged[: max(0, len(aged) - self._max_files + _STORES_PER_PRUNING)]:
            path.unlink(missing_ok=True)


def _pack(codes: NDArray[np.int16], key: str, codec_id: str) -> bytes:
    """Return the bytes of a file: checksum, frames, codebooks, codes; little-endian."""
    payload = struct.pack("<II", *codes.shape) + codes.astype("<i2").tobytes()
    return _checksum(payload, key, codec_id) + payload


def _unpack(data: bytes, key: str, codec_id: str) -> NDArray[np.int16] | None:
    digest, payload = data[:32], data[32:]
    if digest != _checksum(payload, key, codec_id) or len(payload) < 8:
        return None
    shape = struct.unpack_from("<II", payload)
    if len(payload) != 8 + 2 * shape[0] * shape[1]:
        return None
    codes = np.frombuffer(payload, "<i2", offset=8).reshape(shape).astype(np.int16)
    codes.setflags(write=False)
    return codes


def _checksum(payload: bytes, key: str, codec_id: str) -> bytes:
    """Return a checksum that also covers the recording and the codec that the codes belong to."""
    return hashlib.sha256(f"{key}\n{codec_id}\n".encode() + payload).digest()
