"""The bucket that results are stored in and the keys to it, as the environment names them.

No repr and no error shows a key. This opens no connection: `health` finds out whether the bucket is
there.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from higgs_worker.environment import variables_of
from higgs_worker.errors import InvalidSettings
from higgs_worker.storage.endpoint import Endpoint, parse_endpoint
from higgs_worker.storage.variables import (
    DEFAULT_REGION,
    AwsVariables,
    BucketVariables,
    RunpodVariables,
    S3Variables,
)

_AMAZONS_KEY = r"A(BI|CC|KI|SI)A[A-Z0-9]{12,}"
"""An access key of Amazon's, by the prefixes that its documentation of IAM identifiers lists."""
_NOT_AMAZONS = (
    "AWS_ENDPOINT_URL_S3 is missing, and AWS_ACCESS_KEY_ID is no key of Amazon's (AKIA…, ASIA…), "
    "so it is not sent there; set the address of the storage, for Amazon's as well: "
    "https://s3.REGION.amazonaws.com"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """One bucket, the keys to it, and how long to wait for its storage."""

    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    """The storage's address; None for AWS, in `region`."""
    region: str = DEFAULT_REGION
    bucket_in_host: bool = True
    """Whether requests name the bucket in the host; otherwise in the path."""
    prefix: str = "higgs/"
    """The start of every key: empty, or a path that ends in a slash."""
    url_ttl_s: int = 86_400
    """How long a signed address works; 0 where nothing is signed."""
    public_url: str | None = None
    """Where everybody can read the bucket; without a slash at its end."""
    ca_bundle: str | None = None
    """A file of certificates to check the storage's with; None for those that are trusted here."""
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 15.0
    """How long the storage may be silent."""
    request_timeout_s: float = 60.0
    """How long one request may take to send, retries included."""
    attempts: int = 3

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "S3Config | None":
        """Read the variables; return None when they ask for no uploads.

        Raises:
            InvalidSettings: a value is wrong or missing; `details["errors"]` has all of them.
        """
        read = S3Variables.read(environ)
        if read.family is None:
            return None
        if read.problems:
            raise _invalid(read.problems)
        ours, keys = BucketVariables(**read.ours.values), read.family(**read.keys.values)
        names = variables_of(read.family)["endpoint"].names
        variable = next((each for each in names if each in read.keys.given), names[0])
        return cls._of(ours, keys, variable)

    @classmethod
    def _of(
        cls, ours: BucketVariables, keys: AwsVariables | RunpodVariables, variable: str
    ) -> "S3Config":
        """Return what the variables say; `variable` names the address."""
        address = None if keys.ignores_endpoint else keys.endpoint
        if address is None and not re.fullmatch(_AMAZONS_KEY, keys.access_key):
            raise _invalid({variable: _NOT_AMAZONS})
        if ours.ca_bundle is not None and not Path(ours.ca_bundle).is_file():
            raise _invalid({"AWS_CA_BUNDLE": "AWS_CA_BUNDLE names no file that is here"})
        try:
            endpoint = parse_endpoint(address, ours.bucket) if address else Endpoint()
        except ValueError as error:
            raise _invalid({variable: f"{variable} {error}"}) from error
        bucket = ours.bucket or endpoint.bucket
        if bucket is None:
            raise _invalid(
                {"HIGGS_S3_BUCKET": f"HIGGS_S3_BUCKET is missing, and {variable} names no bucket"}
            )
        prefix = ours.prefix.strip("/")
        return cls(
            bucket=bucket,
            access_key=keys.access_key,
            secret_key=keys.secret_key,
            session_token=keys.session_token,
            endpoint=endpoint.url,
            region=endpoint.region or ours.region,
            bucket_in_host=endpoint.bucket_in_host,
            prefix=prefix and prefix + "/",
            url_ttl_s=ours.url_ttl_s if endpoint.can_sign else 0,
            public_url=ours.public_url and ours.public_url.rstrip("/"),
            ca_bundle=ours.ca_bundle,
            attempts=ours.attempts,
        )


def _invalid(problems: Mapping[str, str]) -> InvalidSettings:
    return InvalidSettings(". ".join(problems.values()), details={"errors": dict(problems)})
