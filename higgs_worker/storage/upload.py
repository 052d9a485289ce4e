"""One object on its way into a bucket: fed while its bytes are made, sent by other threads.

Parts go up as soon as they are full, all but the first, whose head may be known only at the end;
what fits into one part is sent by a single request. Everything that was fed is kept, so that a part
which failed can be sent again, and the bytes are at hand when all fails. It knows neither audio nor
addresses.
"""

import logging
import uuid
from collections.abc import Callable
from concurrent.futures import Executor, Future
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil
from threading import Lock
from typing import Any, TypeVar

from higgs_worker.errors import KeyTaken, StorageFailed
from higgs_worker.storage.bucket import Bucket

PART_BYTES = 5 * 1024 * 1024
"""What one request sends at most: the least that S3 takes of a part, but for the last one."""

_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_NOT_SUPPORTED = frozenset({"NotImplemented", "501"})

_Result = TypeVar("_Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """Where an object is."""

    bucket: str
    key: str
    url: str | None = field(repr=False)
    """None where nothing is signed; who has a signed address has the object."""
    expires_at: datetime | None
    """When `url` stops working; None: never, or there is none."""


class Upload:
    """An object that appears whole or not at all; leaving it without `finish` aborts.

    No call waits for the network. One thread at a time may call.
    """

    def __init__(
        self,
        bucket: Bucket,
        threads: Executor,
        key: str,
        mime_type: str,
        *,
        address: Callable[[str], StoredObject],
        overwrite: bool,
    ) -> None:
        """Begin one; see `Storage.open`."""
        self.key = key
        self._bucket, self._threads, self._address = bucket, threads, address
        self._overwrite = overwrite
        # Kept with the object: by this, an upload knows its own.
        self._id = uuid.uuid4().hex
        self._about: dict[str, Any] = {"ContentType": mime_type, "Metadata": {"upload": self._id}}
        self._data = bytearray()
        self._next_part = 2
        """The next one that is sent ahead."""
        self._due_bytes: float = self._next_part * PART_BYTES
        """With more than this, there is something to send; infinite while something is sent."""
        self._sending = Lock()
        self._multipart: dict[str, Any] | None = None
        self._tags: dict[int, str] = {}
        """What the storage calls the parts that it has."""
        self._is_open = True
        self._is_aborted = False

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    @property
    def data(self) -> bytes:
        """Everything that was fed, whatever became of it."""
        return bytes(self._data)

    def feed(self, data: bytes) -> None:
        """Take more bytes; what cannot be sent now will be sent later."""
        self._check_open()
        self._data += data
        if len(self._data) > self._due_bytes:
            self._due_bytes = float("inf")
            self._start(self._send_ahead)

    def finish(self, rest: bytes = b"", *, head: bytes = b"") -> "Future[StoredObject]":
        """Send what has not been sent and let the object appear.

        Args:
            rest: the last bytes.
            head: takes the place of the first bytes; at most a part.

        Returns:
            Where the object is, once it is there. A failure is `KeyTaken`, when an object had this
            key and was not to be overwritten, or `StorageFailed`; nothing is left behind then.
        """
        self._check_open()
        self._is_open = False
        self._data += rest
        self._data[: len(head)] = head
        return self._start(self._complete)

    def abort(self) -> "Future[None] | None":
        """Leave nothing behind, as soon as may be; an object that has appeared stays."""
        self._is_open = False
        if self._is_aborted:
            return None
        self._is_aborted = True
        return self._start(self._abandon)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ValueError("the upload has ended")

    def _start(self, call: Callable[[], _Result]) -> "Future[_Result]":
        """Call in another thread, whose log lines belong to the same job."""
        return self._threads.submit(copy_context().run, call)

    def _send_ahead(self) -> None:
        with self._sending:
            try:
                while self._is_open and len(self._data) > self._next_part * PART_BYTES:
                    self._send(self._next_part)
                    self._next_part += 1
            except StorageFailed as error:
                log.warning("a part of '%s' is to be sent again: %s", self.key, error.message)
                self._due_bytes = len(self._data) + PART_BYTES
            else:
                self._due_bytes = self._next_part * PART_BYTES

    def _complete(self) -> StoredObject:
        with self._sending:
            try:
                if len(self._data) <= PART_BYTES:
                    self._create("put_object", data=self._data, **self._about)
                else:
                    self._complete_parts()
            except BaseException:
                self._remove_parts()
                raise
            self._multipart = None
            return self._address(self.key)

    def _complete_parts(self) -> None:
        for number in range(1, ceil(len(self._data) / PART_BYTES) + 1):
            if number not in self._tags:
                self._send(number)
        parts = [
            {"PartNumber": number, "ETag": self._tags[number]} for number in sorted(self._tags)
        ]
        self._create(
            "complete_multipart_upload", MultipartUpload={"Parts": parts}, **self._multipart or {}
        )

    def _send(self, number: int) -> None:
        if self._multipart is None:
            begun = self._call("create_multipart_upload", **self._about)
            self._multipart = {"UploadId": begun["UploadId"]}
        part = self._data[(number - 1) * PART_BYTES : number * PART_BYTES]
        sent = self._call("upload_part", PartNumber=number, data=part, **self._multipart)
        self._tags[number] = sent["ETag"]

    def _abandon(self) -> None:
        with self._sending:
            self._remove_parts()

    def _remove_parts(self) -> None:
        if self._multipart is None:
            return
        multipart, self._multipart = self._multipart, None
        try:
            self._bucket.call("abort_multipart_upload", Key=self.key, **multipart)
        except StorageFailed as error:
            if error.details.get("answer") != "NoSuchUpload":
                log.warning(
                    "parts of '%s' may stay in the storage, let a lifecycle rule remove them: %s",
                    self.key,
                    error.message,
                )

    def _create(self, operation: str, **params: Any) -> None:
        """Let the object appear by the request that makes it do so."""
        try:
            if self._overwrite:
                self._call(operation, **params)
            else:
                self._create_new(operation, params)
        except StorageFailed as error:
            answer = error.details.get("answer")
            if answer not in _TAKEN | {"NoSuchUpload"}:
                raise
            # An answer that was lost makes the request come twice, and the second one then finds
            # what the first one made.
            if not self._is_there():
                raise (_taken(self.key) if answer in _TAKEN else error) from error

    def _create_new(self, operation: str, params: dict[str, Any]) -> None:
        bucket = self._bucket
        if bucket.has_conditional_writes:
            try:
                self._call(operation, IfNoneMatch="*", **params)
                return
            except StorageFailed as error:
                if error.details.get("answer") not in _NOT_SUPPORTED:
                    raise
            log.warning("the storage has no conditional writes; keys are looked up before instead")
            bucket.has_conditional_writes = False
        refuse_taken(bucket, self.key)
        self._call(operation, **params)

    def _is_there(self) -> bool:
        try:
            found = self._call("head_object")
        except StorageFailed:
            return False
        return bool(found["Metadata"].get("upload") == self._id)

    def _call(self, operation: str, **params: Any) -> Any:
        if self._is_aborted:
            raise StorageFailed("the upload was aborted; nothing was stored")
        return self._bucket.call(operation, Key=self.key, **params)


def refuse_taken(bucket: Bucket, key: str) -> None:
    """Pass if nothing is known to have this key.

    Raises:
        KeyTaken: an object has it.
        StorageFailed: the storage does not say.
    """
    try:
        bucket.call("head_object", Key=key)
    except StorageFailed as error:
        # A key that may only write is told 403 about everything.
        if error.details.get("status") in (403, 404):
            return
        raise
    raise _taken(key)


def _taken(key: str) -> KeyTaken:
    return KeyTaken(f"there is an object with the key '{key}' already; send another key, or none")
