"""Requests to one S3 bucket; each failure becomes one sentence.

The sentence holds no key and no signature, and of the storage's own text only the error code. The
storage verifies the bytes of every request; a request is retried when the connection breaks, and
its time is bounded. The first request loads the client library.
"""

import base64
import hashlib
import io
import logging
import re
import threading
import time
from typing import Any
from urllib.parse import urlsplit

from higgs_worker.errors import StorageFailed
from higgs_worker.logs import mask
from higgs_worker.storage.config import S3Config

_MAX_CONNECTIONS = 64  # more than the uploads that ever run at once


class Bucket:
    """One bucket; its methods block and may be called from any thread."""

    def __init__(self, config: S3Config) -> None:
        """
        Args:
            config: its secrets are masked in every log line from now on. No connection is opened.
        """
        mask(config.secret_key)
        if config.session_token:
            mask(config.session_token)
        self.config = config
        self.has_conditional_writes = True
        """Whether `If-None-Match` works; true until the storage refuses it."""
        self._lock = threading.Lock()
        self._client: Any = None

    def call(self, operation: str, *, data: bytes | bytearray | None = None, **params: Any) -> Any:
        """Send one request and return the answer.

        Args:
            operation: the name of a method of boto3's client.
            data: the body, sent with a checksum.
            params: of the operation; the bucket is added.

        Raises:
            StorageFailed: it was refused (then `details` has `answer` and `status`), or there was
                no answer.
        """
        from botocore.exceptions import BotoCoreError, ClientError

        client = self._connected()
        deadline = time.monotonic() + self.config.request_timeout_s
        if data is not None:
            # MD5: every storage checks it, and several refuse the newer checksums.
            digest = hashlib.md5(data, usedforsecurity=False).digest()
            params["ContentMD5"] = base64.b64encode(digest).decode("ascii")
            params["Body"] = _Body(data, deadline)
        try:
            return getattr(client, operation)(Bucket=self.config.bucket, **params)
        except ClientError as error:
            raise _refused(self.config, error.response) from error
        except (BotoCoreError, OSError) as error:
            late = time.monotonic() > deadline
            raise _lost(self.config, "late" if late else type(error).__name__) from error

    def signed_url(self, key: str) -> str:
        """Return an address that lets everybody read one object for `url_ttl_s`; sends nothing."""
        url: str = self._connected().generate_presigned_url(
            "get_object",
            Params={"Bucket": self.config.bucket, "Key": key},
            ExpiresIn=self.config.url_ttl_s,
        )
        return url

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                self._client = _connect(self.config)
            return self._client


class _Body(io.BytesIO):
    """Bytes that cannot be read after a deadline; a socket's timeout does not end a slow upload."""

    def __init__(self, data: bytes | bytearray, deadline: float) -> None:
        super().__init__(data)
        self._deadline = deadline

    def read(self, size: int | None = -1) -> bytes:
        if time.monotonic() > self._deadline:
            raise TimeoutError
        return super().read(size)


def _connect(config: S3Config) -> Any:
    import boto3
    import botocore.session
    from botocore.config import Config
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES

    # Its DEBUG lines hold signatures and session tokens.
    library = logging.getLogger("botocore")
    library.setLevel(max(library.level, logging.INFO))
    # No file and no variable may override `config`, or fail a job with a value that the library
    # refuses. What counts of AWS's variables has been read into `config`. Only the session below
    # boto3's can be told so; boto3's own fails with a profile's name that is in no file.
    unread = {
        name: (None, None, default, convert)
        for name, (_, _, default, convert) in BOTOCORE_DEFAUT_SESSION_VARIABLES.items()
    }
    for name in ("config_file", "credentials_file"):
        unread[name] = (None, None, None, None)
    session = boto3.Session(botocore_session=botocore.session.Session(session_vars=unread))
    return session.client(
        "s3",
        region_name=config.region,
        endpoint_url=config.endpoint,
        aws_access_key_id=config.access_key,
        aws_secret_access_key=config.secret_key,
        aws_session_token=config.session_token,
        verify=config.ca_bundle,
        config=Config(
            connect_timeout=config.connect_timeout_s,
            read_timeout=config.read_timeout_s,
            retries={"mode": "standard", "total_max_attempts": config.attempts},
            max_pool_connections=_MAX_CONNECTIONS,
            signature_version="s3v4",
            s3={
                "addressing_style": "virtual" if config.bucket_in_host else "path",
                "us_east_1_regional_endpoint": "legacy",  # its default, or a variable counts
            },
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            ignore_configured_endpoint_urls=True,
        ),
    )


_REFUSALS = {
    "InvalidAccessKeyId": "does not know the access key; check AWS_ACCESS_KEY_ID or "
    "BUCKET_ACCESS_KEY_ID",
    "SignatureDoesNotMatch": "refuses the signature; check AWS_SECRET_ACCESS_KEY or "
    "BUCKET_SECRET_ACCESS_KEY, and AWS_DEFAULT_REGION",
    "ExpiredToken": "says that the session token has expired; set new temporary keys",
    "InvalidToken": "refuses the session token; check AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "refuses requests because this machine's clock is off; set the clock",
    "AuthorizationHeaderMalformed": "has the bucket '{bucket}' in another region; check "
    "AWS_DEFAULT_REGION",
    "NoSuchBucket": "has no bucket '{bucket}'; check HIGGS_S3_BUCKET",
    "AccessDenied": "does not let this access key write into bucket '{bucket}' under '{prefix}'; "
    "allow s3:PutObject and s3:AbortMultipartUpload there",
    "BadDigest": "got other bytes than were sent; try again",
    "SlowDown": "has too much to do; try again",
}
_SYNONYMS = {
    "PermanentRedirect": "AuthorizationHeaderMalformed",
    "IllegalLocationConstraintException": "AuthorizationHeaderMalformed",
    "301": "AuthorizationHeaderMalformed",
    "403": "AccessDenied",
    "ServiceUnavailable": "SlowDown",
    "503": "SlowDown",
}
_LOSSES = {
    "late": "takes what is sent too slowly: it was not through after {request_timeout_s:g} s",
    "ConnectTimeoutError": "did not answer within {connect_timeout_s:g} s",
    "ReadTimeoutError": "was silent for {read_timeout_s:g} s",
    "EndpointConnectionError": "cannot be reached",
    "SSLError": "does not prove its name with a certificate that is trusted here",
    "ParamValidationError": "cannot have a bucket or a key of such a name",
}


def _refused(config: S3Config, response: Any) -> StorageFailed:
    # The rest of the answer may hold the access key, the signature and the signed headers.
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    code = re.sub(r"[^A-Za-z0-9.]", "", str(response["Error"].get("Code") or status))[:64]
    words = _REFUSALS.get(_SYNONYMS.get(code, code))
    if words is None:
        words = f"answered {code} with status {status}; look up what it means there"
    words = words.format(bucket=config.bucket, prefix=config.prefix)
    return StorageFailed(
        f"the storage at {_place(config)} {words}", details={"answer": code, "status": status}
    )


def _lost(config: S3Config, how: str) -> StorageFailed:
    words = _LOSSES.get(how, "broke off the connection").format(
        connect_timeout_s=config.connect_timeout_s,
        read_timeout_s=config.read_timeout_s,
        request_timeout_s=config.request_timeout_s,
    )
    return StorageFailed(
        f"the storage at {_place(config)} {words}; check its address and the network, or try again"
    )


def _place(config: S3Config) -> str:
    return urlsplit(config.endpoint).netloc if config.endpoint else f"AWS ({config.region})"
