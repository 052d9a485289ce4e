"""What triton compiles, kept on the volume: only the first worker of a kind of card compiles it.

A kernel is one file there, written atomically and with a checksum. triton's own cache has seven for
each, by absolute paths and without a checksum: a network volume needs a millisecond for every look
at one, may be mounted elsewhere next time, and may lose what it accepted. Whatever cannot be read
is compiled again, and whatever cannot be written is compiled at every start: no failure here stops
a worker.

The checksum finds an accident. It is no defence against who can write to the volume, who decides
what runs here anyway: the environment lies there too.
"""

import base64
import hashlib
import json
import logging
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

from higgs_worker.atomic_file import remove_stale_temporaries, write_atomic
from higgs_worker.regular_file import UnfitFile, read_regular

DRIVERS = Path(__file__).with_name("kernel_driver")
"""Where the image has the C module through which triton calls CUDA, by the hash of its source."""

MAX_FILE_BYTES = 16 << 20
"""Of a file; the largest kernels have some hundred kilobytes."""

log = logging.getLogger(__name__)


class KernelCache:
    """Compiled kernels by triton's keys, which hold source, card, options and triton's version."""

    def __init__(self, directory: Path, driver: Path) -> None:
        """
        Args:
            directory: for one file per kernel; it need not exist.
            driver: a folder in which triton finds its C module, compiled; it need not exist.
        """
        self._directory = directory
        self._driver = driver
        # triton reads files, and loads shared libraries. Those of this process are its own.
        self._local = tempfile.TemporaryDirectory(prefix="kernels-", ignore_cleanup_errors=True)
        self._can_write = True
        with suppress(OSError):  # another worker removes them as well
            remove_stale_temporaries(directory)

    def __call__(self, key: str, **_: bool) -> "KernelFiles":
        """Return the files of a kernel; called by triton, as `CacheManager` is."""
        return KernelFiles(self, key, Path(tempfile.mkdtemp(dir=self._local.name)), self._driver)

    def load(self, key: str) -> dict[str, bytes]:
        """Return a kernel's files by their names; none where it has to be compiled."""
        try:
            data = read_regular(self._path(key), MAX_FILE_BYTES, follow_links=False)
        except UnfitFile:
            data = b""
        except OSError:
            return {}
        checksum, _, body = data.partition(b"\n")
        if hashlib.sha256(body).hexdigest().encode() != checksum:
            log.warning("a damaged kernel is compiled again: %s", self._path(key))
            return {}
        files = json.loads(zlib.decompress(body))
        return {name: base64.b64decode(files[name]) for name in files}

    def store(self, key: str, files: dict[str, bytes]) -> None:
        """Store a kernel; where that fails, say so once."""
        texts = {name: base64.b64encode(files[name]).decode() for name in files}
        body = zlib.compress(json.dumps(texts).encode())
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            checksum = hashlib.sha256(body).hexdigest().encode()
            write_atomic(self._path(key), checksum + b"\n" + body, replace=True)
        except OSError as error:
            if self._can_write:
                log.warning(
                    "compiled kernels cannot be kept in %s, so every start compiles them: %s",
                    self._directory,
                    error.strerror or error,
                )
            self._can_write = False

    def _path(self, key: str) -> Path:
        return self._directory / f"{key}.kernel"


class KernelFiles:
    """The files of one kernel; what triton asks of a `CacheManager`.

    A group is what one compilation makes, and what is kept. Single files are the C module, which
    belongs to the machine, and the parts of a group.
    """

    def __init__(self, cache: KernelCache, key: str, local: Path, driver: Path) -> None:
        self._cache, self._key, self._local, self._driver = cache, key, local, driver

    def get_file(self, filename: str) -> str | None:
        """Return the path of the image's C module; None for all else."""
        path = self._driver / filename
        return str(path) if path.is_file() else None

    def put(self, data: object, filename: str, binary: bool = True) -> str:
        """Write a file for this process, and return its path."""
        path = self._local / filename
        path.write_bytes(data if isinstance(data, bytes) else str(data).encode())
        return str(path)

    def get_group(self, filename: str) -> dict[str, str] | None:
        """Return the paths of a kernel's files by their names; None where it is to be compiled."""
        files = self._cache.load(self._key)
        return {name: self.put(files[name], name) for name in files} or None

    def put_group(self, filename: str, group: dict[str, str]) -> None:
        """Keep the files of a kernel, which were put before."""
        self._cache.store(
            self._key, {name: Path(path).read_bytes() for name, path in group.items()}
        )


def use_kernel_cache(directory: Path, drivers: Path = DRIVERS) -> None:
    """Let triton keep its kernels in a directory, and use the image's C module if it has one.

    Elsewhere triton compiles that module, in a second at each start, with the machine's compiler
    and Python's headers. Call this once, before the first kernel is compiled. Needs no GPU.

    Args:
        directory: for one file per kernel; it need not exist, nor be writable.
        drivers: holds a folder for each source, which is named by the source's sha256.

    Raises:
        OSError: there is no directory for temporary files.
    """
    import triton

    source = Path(triton.__file__).parent / "backends" / "nvidia" / "driver.c"
    driver = drivers / hashlib.sha256(source.read_bytes()).hexdigest()
    triton.knobs.cache.manager_class = KernelCache(directory, driver)
    # Not the steps between source and machine code, which nobody reads.
    triton.knobs.compilation.store_binary_only = True
