"""Where checkpoints are: in the package, in a directory, on the volume, or still at the hub.

The first worker that needs a repository of the hub pulls it into `<volume>/bosonai` and records
which commit its revision is. All others use that record and, once the files are there, no network.
Every byte of a file is checked before the file is first used, and at every start if so chosen:
hashing in several threads is faster than the volume, and leaves in memory what the loaders read
next. A file that was found right and has not changed since is used as it is. A damaged file is
pulled again. Where a recorded commit turns out to be of no use, the hub is asked once more.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from higgs_worker.errors import InvalidSettings, VolumeUnusable, WeightsNotFound
from higgs_worker.weights.blob import FULL
from higgs_worker.weights.cache import REPO
from higgs_worker.weights.progress import OnTransferProgress
from higgs_worker.weights.repo_search import Check, RepoSearch
from higgs_worker.weights.source import CheckpointSource, LocatedCheckpoint, RefusedCheckpoint

DEMO = "demo"
DEMO_DIRECTORY = Path(__file__).parents[1] / "demo"
"""Holds a checkpoint of each kind."""

_MAIN = "main"
_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w./-]{0,199}", re.ASCII)


def locate_checkpoint(
    name: str,
    kind: str,
    source: CheckpointSource,
    *,
    revision: str | None = None,
    check: Check = lambda directory: None,
    in_place_of: RefusedCheckpoint | None = None,
    on_progress: OnTransferProgress | None = None,
) -> LocatedCheckpoint:
    """Find a checkpoint, and pull it where it is missing; blocks, perhaps for minutes.

    Args:
        name: a directory, `demo`, or a repository of the hub.
        kind: "model" or "codec".
        source: where to look and where to pull from.
        revision: a commit, branch or tag of the repository; None stands for the volume's record,
            and for `main` where there is none yet.
        check: called before gigabytes are pulled, when the small files are there.
        in_place_of: what was found before and is of no use. Bytes that were not checked at this
            start may be damaged; then they are repaired. Otherwise the commit is of no use. If it
            was only recorded, the hub is asked once which one the branch is now, and a newer one is
            recorded and pulled.
        on_progress: called with the progress, in one thread at a time.

    Raises:
        InvalidCheckpoint: what would be pulled belongs to another model, or there is nothing in
            place of what was refused; the message says which commit it is and what to do.
        WeightsNotFound: there is no such thing, or it is not here and the hub may not be asked.
        WeightsRefused: the hub does not give it to this token.
        WeightsUnavailable: it cannot be pulled now.
        VolumeUnusable: the volume is full or cannot be written.
        InvalidSettings: the revision is none.
    """
    local = _find_local(name, kind)
    if local is not None:
        if in_place_of is not None:
            raise in_place_of.error
        return LocatedCheckpoint(local, None)
    pin = revision or _MAIN
    if not _REVISION.fullmatch(pin):
        raise InvalidSettings(
            f"HIGGS_{kind.upper()}_REVISION is {pin[:40]!r}; it must be a commit, branch or tag"
        )
    with _volume_errors(source.volume):
        search = RepoSearch(name, kind, pin, source, check, on_progress)
        return search.locate() if in_place_of is None else search.locate_another(in_place_of)


def find_without_verifying(
    name: str, kind: str, source: CheckpointSource, *, revision: str | None = None
) -> LocatedCheckpoint | None:
    """Return where a checkpoint is; reads none of its bytes and uses no network.

    Raises:
        WeightsNotFound: the name is neither a directory here nor a repository's.
    """
    local = _find_local(name, kind)
    if local is not None:
        return LocatedCheckpoint(local, None)
    search = RepoSearch(name, kind, revision or _MAIN, source)
    return next((each.located for each in search.find_cached()), None)


def is_cached(
    name: str, kind: str, source: CheckpointSource, *, revision: str | None = None
) -> bool:
    """Return whether all files of a checkpoint are there; see `find_without_verifying`."""
    return find_without_verifying(name, kind, source, revision=revision) is not None


def _find_local(name: str, kind: str) -> Path | None:
    """Return the directory that a name stands for; None for the name of a repository."""
    if name == DEMO:
        return DEMO_DIRECTORY / kind
    directory = Path(name).expanduser()
    if directory.is_dir():
        return directory
    if REPO.fullmatch(name):
        return None
    raise WeightsNotFound(
        f"HIGGS_{kind.upper()}={name} is neither a directory here nor the name of a repository "
        "(organisation/name); set it to one of them"
    )


@contextmanager
def _volume_errors(volume: Path) -> Iterator[None]:
    """Turn the volume's errors into `VolumeUnusable`."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            raise VolumeUnusable(
                f"{volume} is full; enlarge it or remove what is not needed, what has been pulled "
                "of this file was removed"
            ) from error
        raise VolumeUnusable(
            f"{volume} refuses what has to be kept there ({error.strerror or error}); make it "
            "writable, or set HIGGS_VOLUME to a directory that is"
        ) from error
