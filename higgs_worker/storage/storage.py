"""Results in an S3 bucket: bytes in, an address out.

An object appears complete or not at all, and replaces another only on request.
"""

import logging
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from higgs_worker.errors import InvalidRequest, StorageFailed
from higgs_worker.storage.bucket import Bucket
from higgs_worker.storage.config import S3Config
from higgs_worker.storage.upload import StoredObject, Upload, refuse_taken
from higgs_worker.storage.variables import PATH

MAX_KEY_BYTES = 1024

_MAX_NAME_CHARS = 100
_MAX_THREADS = 16  # each may hold one part in memory

log = logging.getLogger(__name__)


class Storage:
    """One bucket; its methods may be called from any thread."""

    def __init__(self, config: S3Config) -> None:
        """
        Args:
            config: the bucket; no connection is opened yet.
        """
        self._config = config
        self._bucket = Bucket(config)
        self.threads = ThreadPoolExecutor(_MAX_THREADS, "storage")
        """Threads for blocking calls of this class, but not for `put`: it waits for one of them."""

    def key_for(self, job_id: str, suffix: str) -> str:
        """Return a new key under the prefix, which nobody can guess."""
        name = re.sub(r"[^A-Za-z0-9_-]", "_", job_id)[:_MAX_NAME_CHARS]
        return f"{self._config.prefix}{name}-{uuid.uuid4().hex}.{suffix}"

    def check_key(self, key: str) -> str:
        """Return a caller's key if it is allowed.

        Raises:
            InvalidRequest: it is not a path, too long, or not under the prefix.
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
        """Raise if an object has this key, before work is spent on audio for it; blocks.

        Raises:
            KeyTaken: an object has it.
            StorageFailed: the storage does not answer.
        """
        refuse_taken(self._bucket, key)

    def open(self, key: str, mime_type: str, *, overwrite: bool = False) -> Upload:
        """Start an object whose bytes come piece by piece; nothing is sent yet."""
        return Upload(
            self._bucket, self.threads, key, mime_type, address=self._locate, overwrite=overwrite
        )

    def put(
        self, data: bytes, *, key: str, mime_type: str, overwrite: bool = False
    ) -> StoredObject:
        """Store one object; blocks.

        Raises:
            KeyTaken: an object has this key, and `overwrite` is false; it is unchanged.
            StorageFailed: the storage is unreachable or refused; nothing was stored.
        """
        return self.open(key, mime_type, overwrite=overwrite).finish(data).result()

    def check(self) -> None:
        """Write a small object and remove it, to see that results can be stored; blocks.

        Raises:
            StorageFailed: results could not be stored.
        """
        key = f"{self._config.prefix}.check"
        self.put(b"higgs-worker\n", key=key, mime_type="text/plain", overwrite=True)
        try:
            self._bucket.call("delete_object", Key=key)
        except StorageFailed as error:
            log.warning("the check of the storage left '%s' behind: %s", key, error.message)

    def _locate(self, key: str) -> StoredObject:
        config = self._config
        url, expires_at = None, None
        if config.public_url is not None:
            url = f"{config.public_url}/{quote(key)}"
        elif config.url_ttl_s:
            expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(
                seconds=config.url_ttl_s
            )
            url = self._bucket.signed_url(key)
        return StoredObject(config.bucket, key, url, expires_at)
