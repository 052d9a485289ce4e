"""Results in an S3 bucket: bytes in, an address out.

An object appears whole or not at all, and takes no other's place unless asked to. Calls block and
may come from any thread. It knows neither audio nor jobs, and of the network only that requests to
a bucket may fail.
"""

import logging
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

from higgs_worker.bucket import Bucket
from higgs_worker.errors import InvalidRequest, KeyTaken, StorageFailed
from higgs_worker.s3_config import PATH, S3Config

MAX_KEY_BYTES = 1024
PART_BYTES = 8 * 1024 * 1024  # S3 takes no less than 5 MiB, but for the last one
"""What one request sends at most, and what an upload holds in memory."""

_MAX_NAME_CHARS = 100
_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_NOT_SUPPORTED = frozenset({"NotImplemented", "501"})

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """Where an object is."""

    bucket: str
    key: str
    url: str | None = field(repr=False)
    """None where nothing is signed; who has a signed address has the object."""
    expires_at: datetime | None
    """When `url` stops working; None: never, or there is none."""


class Storage:
    """One bucket."""

    def __init__(self, config: S3Config) -> None:
        """Open no connection yet."""
        self._config = config
        self._bucket = Bucket(config)
        self._conditional = True  # until the storage says otherwise

    def key_for(self, job_id: str, suffix: str) -> str:
        """Return a new key that nobody can guess."""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", job_id)[:_MAX_NAME_CHARS]
        return f"{self._config.prefix}{name}-{uuid.uuid4().hex}.{suffix}"

    def check_key(self, key: str) -> str:
        """Return a caller's key if objects may have it.

        Raises:
            InvalidRequest: it is no path, too long, or not under the prefix.
        """
        prefix = self._config.prefix
        if not (key.isprintable() and re.fullmatch(PATH, key)):
            raise InvalidRequest(
                "the key must be names between single slashes, without '.', '..', backslashes and "
                f"control characters; send one such as '{prefix}hello.wav'"
            )
        if len(key.encode("utf-8")) > MAX_KEY_BYTES:
            raise InvalidRequest(
                f"the key is longer than {MAX_KEY_BYTES} bytes; send a shorter one"
            )
        if not key.startswith(prefix):
            raise InvalidRequest(f"the key must begin with '{prefix}'; send '{prefix}' before it")
        return key

    def refuse_taken(self, key: str) -> None:
        """Pass if nothing is known to have this key: before work is spent on what cannot be stored.

        Raises:
            KeyTaken: an object has it.
            StorageFailed: the storage does not say.
        """
        try:
            self._bucket.call("head_object", Key=key)
        except StorageFailed as error:
            # A key that may only write is told 403 about everything.
            if error.details.get("status") in (403, 404):
                return
            raise
        raise _taken(key)

    def put(self, data: bytes, *, key: str, mime_type: str, overwrite: bool = False) -> Stored:
        """Store one object.

        Raises:
            KeyTaken: an object has this key, and `overwrite` is false; it was not touched.
            StorageFailed: the storage could not be reached or refused; nothing was stored.
        """
        with self.open(key, mime_type, overwrite=overwrite) as upload:
            upload.write(data)
            return upload.close()

    def open(self, key: str, mime_type: str, *, overwrite: bool = False) -> "Upload":
        """Begin an object whose bytes come piece by piece; nothing is sent yet."""
        return Upload(self, key, mime_type, overwrite)

    def check(self) -> None:
        """Write a tiny object and remove it: the bucket is there and the keys open it.

        Raises:
            StorageFailed: results could not be stored.
        """
        key = f"{self._config.prefix}.check"
        self.put(b"higgs-worker\n", key=key, mime_type="text/plain", overwrite=True)
        try:
            self._bucket.call("delete_object", Key=key)
        except StorageFailed as error:
            log.warning("the check of the storage left '%s' behind: %s", key, error.message)

    def _stored(self, key: str) -> Stored:
        config = self._config
        url, expires_at = None, None
        if config.public_url is not None:
            url = f"{config.public_url}/{quote(key)}"
        elif config.url_ttl_s:
            expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(
                seconds=config.url_ttl_s
            )
            url = self._bucket.signed_url(key)
        return Stored(config.bucket, key, url, expires_at)

    def _create(self, operation: str, upload: "Upload", **params: Any) -> None:
        """Let an object appear by the request that makes it do so."""
        try:
            if upload.overwrite:
                self._bucket.call(operation, Key=upload.key, **params)
            else:
                self._create_new(operation, upload.key, params)
        except StorageFailed as error:
            answer = error.details.get("answer")
            if answer not in _TAKEN | {"NoSuchUpload"}:
                raise
            # An answer that was lost makes the request come twice, and the second one then finds
            # what the first one made.
            if not self._holds(upload):
                raise (_taken(upload.key) if answer in _TAKEN else error) from error

    def _create_new(self, operation: str, key: str, params: dict[str, Any]) -> None:
        if self._conditional:
            try:
                self._bucket.call(operation, Key=key, IfNoneMatch="*", **params)
                return
            except StorageFailed as error:
                if error.details.get("answer") not in _NOT_SUPPORTED:
                    raise
            log.warning("the storage has no conditional writes; keys are looked up before instead")
            self._conditional = False
        self.refuse_taken(key)
        self._bucket.call(operation, Key=key, **params)

    def _holds(self, upload: "Upload") -> bool:
        try:
            found = self._bucket.call("head_object", Key=upload.key)
        except StorageFailed:
            return False
        return bool(found["Metadata"].get("upload") == upload.id)


class Upload:
    """An object that is written piece by piece by one thread; leaving it without `close` aborts."""

    def __init__(self, storage: Storage, key: str, mime_type: str, overwrite: bool) -> None:
        """Begin one; see `Storage.open`."""
        self.key = key
        self.overwrite = overwrite
        self.id = uuid.uuid4().hex
        """Kept with the object: by this, an upload knows its own."""
        self._about: dict[str, Any] = {"ContentType": mime_type, "Metadata": {"upload": self.id}}
        self._storage = storage
        self._pending = bytearray()
        self._multipart: dict[str, Any] | None = None
        self._parts: list[dict[str, Any]] = []
        self._open = True

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def write(self, data: bytes) -> None:
        """Take more bytes; sends them as soon as they fill a part.

        Raises:
            StorageFailed: a part could not be sent; the upload was aborted.
        """
        with self._aborted_on_failure():
            self._pending += data
            while len(self._pending) > PART_BYTES:
                self._send(self._pending[:PART_BYTES])
                del self._pending[:PART_BYTES]

    def close(self) -> Stored:
        """Send the rest and let the object appear.

        Raises:
            KeyTaken: an object has this key, and it was not to be overwritten.
            StorageFailed: the rest could not be sent; the upload was aborted.
        """
        with self._aborted_on_failure():
            if self._multipart is None:
                self._storage._create("put_object", self, data=self._pending, **self._about)
            else:
                self._send(self._pending)
                self._storage._create(
                    "complete_multipart_upload",
                    self,
                    MultipartUpload={"Parts": self._parts},
                    **self._multipart,
                )
            stored = self._storage._stored(self.key)
        self._open = False
        return stored

    def abort(self) -> None:
        """Leave nothing behind; does nothing after `close`."""
        if not self._open:
            return
        self._open = False
        self._pending.clear()
        if self._multipart is None:
            return
        try:
            self._storage._bucket.call("abort_multipart_upload", Key=self.key, **self._multipart)
        except StorageFailed as error:
            if error.details.get("answer") != "NoSuchUpload":
                log.warning(
                    "parts of '%s' may stay in the storage, let a lifecycle rule remove them: %s",
                    self.key,
                    error.message,
                )

    def _send(self, part: bytearray) -> None:
        call = self._storage._bucket.call
        if self._multipart is None:
            begun = call("create_multipart_upload", Key=self.key, **self._about)
            self._multipart = {"UploadId": begun["UploadId"]}
        number = len(self._parts) + 1
        sent = call("upload_part", Key=self.key, PartNumber=number, data=part, **self._multipart)
        self._parts.append({"PartNumber": number, "ETag": sent["ETag"]})

    @contextmanager
    def _aborted_on_failure(self) -> Iterator[None]:
        if not self._open:
            raise ValueError("the upload has ended")
        try:
            yield
        except BaseException:
            self.abort()
            raise


def _taken(key: str) -> KeyTaken:
    return KeyTaken(f"there is an object with the key '{key}' already; send another key, or none")
