"""Where results are stored and who may write there, as the environment says it.

Keys come from the environment alone, in one of two families of variables: RunPod's own three, or
AWS's. One family counts as a whole; the two are never mixed. No key is in any repr or complaint.
It opens no connection: whether the bucket is there is for `storage` to find out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

from higgs_worker.environment import (
    Address,
    Integer,
    Matching,
    Secret,
    env_field,
    read,
    variables_of,
)
from higgs_worker.errors import InvalidSettings

_DEFAULT_REGION = "us-east-1"
_MAX_URL_TTL_S = 604_800  # what signatures allow

PATH = r"(?!\.\.?(/|$))[^/\\]+(/(?!\.\.?(/|$))[^/\\]+)*"
"""Names between single slashes, none of them `.` or `..`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Variables:
    """What the environment may say of a bucket."""

    bucket: str | None = field(
        default=None,
        metadata=env_field(
            "HIGGS_S3_BUCKET",
            Matching(
                r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}",
                "2 to 63 letters, digits, dots, dashes and underscores",
            ),
            "The bucket that results are uploaded to; when unset and BUCKET_ENDPOINT_URL does not "
            "name one, results are not uploaded.",
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
            "The folder of the bucket that all results are in; `/` is the whole bucket.",
        ),
    )
    url_ttl_s: int = field(
        default=86_400,
        metadata=env_field(
            "HIGGS_S3_URL_TTL_S",
            Integer(0, _MAX_URL_TTL_S),
            "How many seconds the signed address of a result works (keys with a session token may "
            "end sooner); 0: none is signed, and a result names its bucket and key alone.",
        ),
    )
    public_url: str | None = field(
        default=None,
        metadata=env_field(
            "HIGGS_S3_PUBLIC_URL",
            Address(),
            "Where everybody can read the bucket; a result's address is this, a slash and its key, "
            "and nothing is signed.",
        ),
    )
    access_key: str | None = field(
        default=None,
        repr=False,
        metadata=env_field("AWS_ACCESS_KEY_ID", Secret(), "The access key of the bucket."),
    )
    secret_key: str | None = field(
        default=None,
        repr=False,
        metadata=env_field("AWS_SECRET_ACCESS_KEY", Secret(), "Its secret."),
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
    region: str = field(
        default=_DEFAULT_REGION,
        metadata=env_field(
            "AWS_DEFAULT_REGION",
            Matching(r"[A-Za-z0-9-]{1,63}", "letters, digits and dashes"),
            "The bucket's region, where the storage's address does not name it.",
        ),
    )
    runpod_endpoint: str | None = field(
        default=None,
        metadata=env_field(
            "BUCKET_ENDPOINT_URL",
            Address(),
            "RunPod's name for the address of the storage, with or without the bucket in it; with "
            "the two after it, it takes the place of AWS's names.",
        ),
    )
    runpod_access_key: str | None = field(
        default=None,
        repr=False,
        metadata=env_field("BUCKET_ACCESS_KEY_ID", Secret(), "RunPod's name for the access key."),
    )
    runpod_secret_key: str | None = field(
        default=None,
        repr=False,
        metadata=env_field("BUCKET_SECRET_ACCESS_KEY", Secret(), "RunPod's name for its secret."),
    )


# Hosts whose first labels are a bucket, as consoles show them.
_BUCKET_IN_HOST = re.compile(
    r"([a-z0-9][a-z0-9.-]*)\."
    r"(s3[.-].+|[a-z]+[0-9]\.digitaloceanspaces\.com|oss-.+\.aliyuncs\.com|cos\..+\.myqcloud\.com)"
)
_REGION_IN_HOST = re.compile(
    r"s3[.-]([a-z0-9-]+)\.(amazonaws\.com|amazonaws\.com\.cn|backblazeb2\.com|wasabisys\.com)"
    r"|([a-z]+[0-9])\.digitaloceanspaces\.com"
)
_VOLUME_HOST = re.compile(r"s3api-([a-z0-9-]+)\.runpod\.io")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Config:
    """One bucket, the keys to it, and how much patience it gets."""

    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    session_token: str | None = field(default=None, repr=False)
    endpoint: str | None = None
    """None is AWS, in the region."""
    region: str = _DEFAULT_REGION
    bucket_in_host: bool = True
    """How the bucket is addressed: in the host's name, or in the path."""
    prefix: str = "higgs/"
    """What every key begins with: empty, or a path that ends in a slash."""
    url_ttl_s: int = 86_400
    """0 where nothing is signed."""
    public_url: str | None = None
    connect_timeout_s: float = 5.0
    read_timeout_s: float = 15.0
    """How long the storage may be silent."""
    request_timeout_s: float = 60.0
    """How long one request may send, its repetitions included."""
    attempts: int = 3

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "S3Config | None":
        """Read the variables; None when nothing asks for uploads.

        Raises:
            InvalidSettings: something is wrong or missing; `details["errors"]` has all of it.
        """
        found = read(S3Variables, environ)
        names = {field: variable.name for field, variable in variables_of(S3Variables).items()}
        is_set = found.given.keys() | found.problems.keys()
        of_runpod = [name for name in names.values() if name.startswith("BUCKET_")]
        is_runpods = not is_set.isdisjoint(of_runpod)
        if not is_runpods and names["bucket"] not in is_set:
            return None
        needed = of_runpod if is_runpods else [names["access_key"], names["secret_key"]]
        problems = found.problems | {
            name: f"{name} is missing; results cannot be uploaded without it"
            for name in needed
            if name not in is_set
        }
        if problems:
            raise _invalid(problems)

        said = S3Variables(**found.values)
        endpoint = "runpod_endpoint" if is_runpods else "endpoint"
        where = _Where.of(getattr(said, endpoint), said.bucket, names[endpoint])
        prefix = said.prefix.strip("/")
        return cls(
            bucket=where.bucket,
            access_key=(said.runpod_access_key if is_runpods else said.access_key) or "",
            secret_key=(said.runpod_secret_key if is_runpods else said.secret_key) or "",
            session_token=None if is_runpods else said.session_token,
            endpoint=where.endpoint,
            region=where.region or said.region,
            bucket_in_host=where.bucket_in_host,
            prefix=prefix and prefix + "/",
            url_ttl_s=said.url_ttl_s if where.signs else 0,
            public_url=said.public_url and said.public_url.rstrip("/"),
        )


class _Where(NamedTuple):
    """What the address of a storage says, taken apart."""

    bucket: str
    endpoint: str | None = None
    bucket_in_host: bool = True
    region: str | None = None
    signs: bool = True

    @classmethod
    def of(cls, url: str | None, bucket: str | None, variable: str) -> "_Where":
        try:
            parts = urlsplit(url or "")
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise _invalid({variable: f"{variable} has no valid host or port"}) from error
        in_path = parts.path.strip("/")
        in_host = _BUCKET_IN_HOST.fullmatch(host)
        if in_host and bucket not in (None, in_host[1]):
            in_host = None  # a storage of one's own may be called anything
        bucket = bucket or in_path or (in_host and in_host[1]) or None
        if bucket is None:
            raise _invalid(
                {"HIGGS_S3_BUCKET": f"HIGGS_S3_BUCKET is missing, and {variable} names no bucket"}
            )
        if in_path not in ("", bucket):
            raise _invalid(
                {variable: f"{variable} has a path that is not the bucket; leave the path out"}
            )
        if url is None:
            return cls(bucket)
        host = in_host[2] if in_host else host
        volume = _VOLUME_HOST.fullmatch(host)
        region = _REGION_IN_HOST.fullmatch(host)
        return cls(
            bucket=bucket,
            endpoint=f"{parts.scheme}://"
            + (f"[{host}]" if ":" in host else host)
            + (f":{port}" if port else ""),
            bucket_in_host=bool(in_host) or host.endswith(".amazonaws.com"),
            region=volume[1].upper() if volume else region and (region[1] or region[3]),
            signs=volume is None,  # RunPod's volumes cannot be read by a signed address
        )


def _invalid(problems: Mapping[str, str]) -> InvalidSettings:
    return InvalidSettings(". ".join(problems.values()), details={"errors": dict(problems)})
