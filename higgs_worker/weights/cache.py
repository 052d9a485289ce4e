"""A repository of Hugging Face on disk, in the layout that all their tools expect.

    models--org--name/refs/main                            the commit that a revision stands for
    models--org--name/blobs/<checksum>                     the files, and their journals
    models--org--name/snapshots/<commit>/model.safetensors -> ../../blobs/<checksum>

The record in `refs` pins a revision for all workers of a volume.
"""

import os
import re
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from higgs_worker.atomic_file import remove_stale_temporaries, write_atomic
from higgs_worker.regular_file import read_regular
from higgs_worker.weights.blob import ETAG, Blob

REPO = re.compile(r"(?!.*\.\.)[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
"""`organisation/name`, which is also used as a path and in addresses."""
COMMIT = re.compile(r"[0-9a-f]{40}")
_MAX_REF_BYTES = 100  # a commit, and perhaps the end of a line


@dataclass(frozen=True, slots=True)
class CachedRepo:
    """One repository in a cache directory."""

    cache: Path
    repo: str
    """`organisation/name`."""
    block_bytes: int
    journals: Path | None = None
    """Where the journals are; None for beside the files."""

    @property
    def directory(self) -> Path:
        """Where all of it is."""
        return self.cache / "--".join(["models", *self.repo.split("/")])

    @property
    def leases(self) -> Path:
        """Where the workers' leases are."""
        return self.directory / "leases"

    def snapshot(self, commit: str) -> Path:
        """Return the directory with the named files of a commit."""
        return self.directory / "snapshots" / commit

    def record_of(self, revision: str) -> Path:
        """Return the file that says which commit a revision is."""
        return self.directory / "refs" / revision

    def commit_of(self, revision: str) -> str | None:
        """Return the recorded commit of a revision; a commit stands for itself."""
        if COMMIT.fullmatch(revision):
            return revision
        try:
            data = read_regular(self.record_of(revision), _MAX_REF_BYTES)
        except OSError:
            return None
        recorded = data.decode(errors="replace").strip()
        return recorded if COMMIT.fullmatch(recorded) else None

    def record(self, revision: str, commit: str) -> None:
        """Pin a revision to a commit, for this worker and all later ones."""
        if revision == commit:
            return
        path = self.record_of(revision)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, commit.encode(), replace=True)

    def blob(self, etag: str) -> Blob:
        """Return the blob with this checksum."""
        blobs = self.directory / "blobs"
        return Blob(blobs / etag, (self.journals or blobs) / f"{etag}.blocks", self.block_bytes)

    def blobs_of(self, commit: str, names: Sequence[str]) -> dict[str, Blob] | None:
        """Return the blobs of a commit by file name; None unless all are there."""
        found = {}
        for name in names:
            try:
                etag = os.path.basename(os.readlink(self.snapshot(commit) / name))
            except OSError:
                return None
            blob = self.blob(etag)
            # The name of a blob says nothing of where the link leads.
            if not ETAG.fullmatch(etag) or not blob.is_at(self.snapshot(commit) / name):
                return None
            found[name] = blob
        return found

    def link(self, commit: str, name: str, etag: str) -> None:
        """Give a file its name in a commit."""
        path = self.snapshot(commit) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{name}.{uuid.uuid4().hex}.tmp")
        os.symlink(Path("..", "..", "blobs", etag), temporary)
        os.replace(temporary, path)

    def remove_stale(self, keep: Collection[str]) -> None:
        """Remove partial files, whichever tool left them; call it under the lease only.

        Args:
            keep: checksums of the files whose partial ones are still needed.
        """
        for path in (self.directory / "blobs").glob("*.incomplete"):
            if path.name.removesuffix(".incomplete") not in keep:
                path.unlink(missing_ok=True)
        remove_stale_temporaries(self.directory / "blobs")
