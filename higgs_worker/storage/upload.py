"""The upload of one object: fed while its bytes are made, sent by other threads.

Every part is sent as soon as it is full, except the first, whose head may be known only at the end.
An object of one part is sent by a single request. All bytes are kept, so that a failed part can be
sent again, and the caller still has them when the upload fails. boto3's own transfer sends the head
first, and holds a thread for as long as somebody speaks.
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
"""The most that one request sends: the smallest part that S3 accepts (except the last)."""

_TAKEN = frozenset({"PreconditionFailed", "ConditionalRequestConflict"})
_NOT_SUPPORTED = frozenset({"NotImplemented", "501"})

_Result = TypeVar("_Result")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StoredObject:
    """The place of a stored object."""

    bucket: str
    key: str
    url: str | None = field(repr=False)
    """A signed or public address; None where there is none. It lets everybody read the object."""
    expires_at: datetime | None
    """When `url` stops working; None for never, and where there is no `url`."""


class Upload:
    """An object that appears complete or not at all; leaving its context without `finish` aborts.

    No method waits for the network. Only one thread at a time may call.
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
        """
        Args:
            bucket: where the object goes.
            threads: where its requests run.
            key: of the object.
            mime_type: of its bytes.
            address: returns the place of an object with a key.
            overwrite: whether it may replace another object.
        """
        self.key = key
        self._bucket, self._threads, self._address = bucket, threads, address
        self._overwrite = overwrite
        # Stored as object metadata, so that a retried request can recognise its own object.
        self._id = uuid.uuid4().hex
        self._about: dict[str, Any] = {"ContentType": mime_type, "Metadata": {"upload": self._id}}
        self._data = bytearray()
        self._next_part = 2
        """The number of the next part to send before the end."""
        self._due_bytes: float = self._next_part * PART_BYTES
        """With more bytes than this, a part can be sent; infinite while one is being sent."""
        self._sending = Lock()
        self._multipart: dict[str, Any] | None = None
        self._tags: dict[int, str] = {}
        """By number: the storage's ETag of each part that it has."""
        self._is_open = True
        self._is_aborted = False

    def __enter__(self) -> "Upload":
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    @property
    def data(self) -> bytes:
        """All bytes that were fed, sent or not."""
        return bytes(self._data)

    def feed(self, data: bytes) -> None:
        """Append bytes; parts that cannot be sent now are sent later."""
        self._check_open()
        self._data += data
        if len(self._data) > self._due_bytes:
            self._due_bytes = float("inf")
            self._start(self._send_ahead)

    def finish(self, rest: bytes = b"", *, head: bytes = b"") -> "Future[StoredObject]":
        """Send the remaining parts and create the object.

        Args:
            rest: the last bytes.
            head: replaces the first bytes; at most one part.

        Returns:
            The place of the object, once it exists. The future fails with `KeyTaken`, when an
            object has this key and must not be overwritten, or with `StorageFailed`; then nothing
            is left in the storage.
        """
        self._check_open()
        self._is_open = False
        self._data += rest
        self._data[: len(head)] = head
        return self._start(self._complete)

    def abort(self) -> "Future[None] | None":
        """Remove what has been sent; no effect on a finished object.

        Returns:
            A future that ends when it is removed; None where an earlier call removes it.
        """
        self._is_open = False
        if self._is_aborted:
            return None
        self._is_aborted = True
        return self._start(self._remove_all)

    def _check_open(self) -> None:
        if not self._is_open:
            raise ValueError("the upload has ended")

    def _start(self, call: Callable[[], _Result]) -> "Future[_Result]":
        """Call in another thread, with this one's job id in its log lines."""
        return self._threads.submit(copy_context().run, call)

    def _send_ahead(self) -> None:
        with self._sending:
            try:
                while self._is_open and len(self._data) > self._next_part * PART_BYTES:
                    self._send(self._next_part)
                    self._next_part += 1
            except StorageFailed as error:
                log.warning("a part of the audio is to be sent again: %s", error.message)
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
            created = self._call("create_multipart_upload", **self._about)
            self._multipart = {"UploadId": created["UploadId"]}
        part = self._data[(number - 1) * PART_BYTES : number * PART_BYTES]
        sent = self._call("upload_part", PartNumber=number, data=part, **self._multipart)
        self._tags[number] = sent["ETag"]

    def _remove_all(self) -> None:
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
                    "parts of the audio may stay in the storage, let a lifecycle rule remove them: "
                    "%s",
                    error.message,
                )

    def _create(self, operation: str, **params: Any) -> None:
        """Send the request that creates the object."""
        try:
            if self._overwrite:
                self._call(operation, **params)
            else:
                self._create_new(operation, params)
        except StorageFailed as error:
            answer = error.details.get("answer")
            if answer not in _TAKEN | {"NoSuchUpload"}:
                raise
            # When an answer is lost, the request is sent twice, and the second one finds the
            # object that the first one created.
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
            log.warning("the storage has no conditional writes; keys are looked up first instead")
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
    """Raise if an object has this key.

    Raises:
        KeyTaken: an object has it.
        StorageFailed: the storage does not answer.
    """
    try:
        bucket.call("head_object", Key=key)
    except StorageFailed as error:
        # An access key that may only write gets 403 for every lookup.
        if error.details.get("status") in (403, 404):
            return
        raise
    raise _taken(key)


def _taken(key: str) -> KeyTaken:
    return KeyTaken(f"there is an object with the key '{key}' already; send another key, or none")
