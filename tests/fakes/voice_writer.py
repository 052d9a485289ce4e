"""Another worker that saves voices on a volume: a process of its own, to be raced and killed."""

import resource
from multiprocessing.connection import Connection
from pathlib import Path

from higgs_worker.errors import WorkerError
from higgs_worker.voices.library import VoiceLibrary
from tests.fakes.library import make_wav
from tests.fakes.processes import CONTEXT

RESULT_S = 60.0  # milliseconds, when nothing else runs


class VoiceWriter:
    """A process that saves voices as soon as it is told to, and says how each went."""

    def __init__(
        self,
        directory: Path,
        fill: int,
        names: list[str],
        *,
        replace: bool = False,
        max_file_bytes: int = -1,
    ) -> None:
        self._results, other = CONTEXT.Pipe()
        arguments = (other, directory, fill, names, replace, max_file_bytes)
        self._process = CONTEXT.Process(target=_main, args=arguments, daemon=True)
        self._process.start()
        other.close()

    def go(self) -> None:
        """Let it begin."""
        self._results.send("go")

    def next(self) -> str | WorkerError:
        """Return the next name, or why it was not saved."""
        assert self._results.poll(RESULT_S), "the worker hangs"
        result: str | WorkerError = self._results.recv()
        return result

    def kill(self) -> None:
        """End it at once, and wait for that."""
        self._process.kill()
        self._process.join()


def _main(
    results: Connection,
    directory: Path,
    fill: int,
    names: list[str],
    replace: bool,
    max_file_bytes: int,
) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, most))
    library, wav = VoiceLibrary(directory), make_wav(fill=fill)
    results.recv()
    for name in names:
        try:
            library.add(name, wav, f"text {fill}", replace=replace)
            results.send(name)
        except WorkerError as error:
            results.send(error)
