"""The bucket that results are stored in and the keys to it, as the environment names them.

Keys come from the environment alone, in one of two families of variables: RunPod's own three, or
AWS's. Only one family counts; the two are never mixed. No repr and no error shows a key.
This opens no connection: `health` finds out whether the bucket is there.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from higgs_worker.environment import (
    Address,
    Integer,
    Matching,
    ParsedVariables,
    Secret,
    env_field,
    read_variables,
    variables_of,
)
from higgs_worker.errors import InvalidSettings
from higgs_worker.storage.endpoint import Endpoint, parse_endpoint

_DEFAULT_REGION = "us-east-1"
_MAX_URL_TTL_S = 604_800  # the longest that a signature lasts

PATH = r"(?!\.\.?(/|$))[^/\\]+(/(?!\.\.?(/|$))[^/\\]+)*"
"""Names between single slashes, none of them `.` or `..`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketVariables:
    """The variables of the bucket and its use, whichever family names the keys."""

    bucket: str | None = field(
        default=None,
        metadata=env_field(
            "HIGGS_S3_BUCKET",
            Matching(
                r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}",
                "2 to 63 letters, digits, dots, dashes and underscores",
            ),
            "The bucket that results are uploaded to. Without it, and without a bucket in "
            "BUCKET_ENDPOINT_URL, results are not uploaded.",
        ),
    )
    prefix: str = field(
        default="higgs",
        metadata=env_field(
            "HIGGS_S3_PREFIX",
            Matching(
                rf"/|(?=.{{1,200}}$)/?{PATH}/?",
                "a path of at most 200 characters, without `.`, `..` and backslashes",
            ),
            "The folder of the bucket that all results go to; `/` is the whole bucket.",
        ),
    )
    url_ttl_s: int = field(
        default=86_400,
        metadata=env_field(
            "HIGGS_S3_URL_TTL_S",
            Integer(0, _MAX_URL_TTL_S),
            "Seconds that the signed address of a result works (less where temporary keys expire "
            "sooner). 0: nothing is signed, and a result names only its bucket and key.",
        ),
    )
    public_url: str | None = field(
        default=None,
        metadata=env_field(
            "HIGGS_S3_PUBLIC_URL",
            Address(),
            "The address where everybody can read the bucket. A result's address is then this, a "
            "slash and its key, and is not signed.",
        ),
    )
    region: str = field(
        default=_DEFAULT_REGION,
        metadata=env_field(
            "AWS_DEFAULT_REGION",
            Matching(r"[A-Za-z0-9-]{1,63}", "letters, digits and dashes"),
            "The bucket's region, where the storage's address does not name it.",
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsVariables:
    """The storage and its keys under AWS's names."""

    access_key: str = field(
        repr=False,
        metadata=env_field("AWS_ACCESS_KEY_ID", Secret(), "The access key of the bucket."),
    )
    secret_key: str = field(
        repr=False,
        metadata=env_field("AWS_SECRET_ACCESS_KEY", Secret(), "The secret of the access key."),
    )
    session_token: str | None = field(
        default=None,
        repr=False,
        metadata=env_field(
            "AWS_SESSION_TOKEN", Secret(), "The token that belongs to a temporary access key."
        ),
    )
    endpoint: str | None = field(
        default=None,
        metadata=env_field(
            "AWS_ENDPOINT_URL_S3", Address(), "The address of the storage, if it is not AWS."
        ),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunpodVariables:
    """The storage and its keys under RunPod's names; all are required as soon as one is set."""

    endpoint: str = field(
        metadata=env_field(
            "BUCKET_ENDPOINT_URL",
            Address(),
            "RunPod's name for the address of the storage, with or without the bucket in it. With "
            "the two below, it replaces AWS's names.",
        ),
    )
    access_key: str = field(
        repr=False,
        metadata=env_field("BUCKET_ACCESS_KEY_ID", Secret(), "RunPod's name for the access key."),
    )
    secret_key: str = field(
        repr=False,
        metadata=env_field(
            "BUCKET_SECRET_ACCESS_KEY", Secret(), "RunPod's name for the secret of the access key."
        ),
    )

    @property
    def session_token(self) -> None:
        """RunPod has no temporary keys."""
        return None


S3_TABLES = (BucketVariables, AwsVariables, RunpodVariables)
"""The dataclasses that the environment fills."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """One bucket, the keys to it, and how long to wait for its storage."""

    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    """The storage's address; None for AWS, in `region`."""
    region: str = _DEFAULT_REGION
    bucket_in_host: bool = True
    """Whether requests name the bucket in the host; otherwise in the path."""
    prefix: str = "higgs/"
    """The start of every key: empty, or a path that ends in a slash."""
    url_ttl_s: int = 86_400
    """How long a signed address works; 0 where nothing is signed."""
    public_url: str | None = None
    """Where everybody can read the bucket; without a slash at its end."""
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
        ours, aws, runpod = (read_variables(each, environ) for each in S3_TABLES)
        family: type[AwsVariables] | type[RunpodVariables]
        if runpod.names:
            family, keys = RunpodVariables, runpod
        elif "HIGGS_S3_BUCKET" in ours.names:
            family, keys = AwsVariables, aws
        else:
            return None
        problems = ours.problems | aws.problems | runpod.problems | _missing(family, keys)
        if problems:
            raise _invalid(problems)
        return cls._of(BucketVariables(**ours.values), family(**keys.values))

    @classmethod
    def _of(cls, ours: BucketVariables, keys: AwsVariables | RunpodVariables) -> "S3Config":
        variable = variables_of(type(keys))["endpoint"].name
        try:
            endpoint = parse_endpoint(keys.endpoint, ours.bucket) if keys.endpoint else Endpoint()
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
        )


def _missing(family: type, keys: ParsedVariables) -> dict[str, str]:
    """Return a problem for each required variable that is not set."""
    return {
        each.name: f"{each.name} is missing; results cannot be uploaded without it"
        for each in variables_of(family).values()
        if each.is_required and each.name not in keys.names
    }


def _invalid(problems: Mapping[str, str]) -> InvalidSettings:
    return InvalidSettings(". ".join(problems.values()), details={"errors": dict(problems)})
