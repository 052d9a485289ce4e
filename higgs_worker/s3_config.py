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

from higgs_worker.errors import InvalidSettings

_DEFAULT_REGION = "us-east-1"


class Variable(NamedTuple):
    """One environment variable, as the documentation shows it."""

    meaning: str
    allowed: str
    """Completes the sentence "it must be …"."""
    pattern: str


PATH = r"(?!\.\.?(/|$))[^/\\]+(/(?!\.\.?(/|$))[^/\\]+)*"
"""Names between single slashes, none of them `.` or `..`."""

_KEY = "printable characters without spaces", r"[!-~]{1,4096}"
_ADDRESS = (
    "an http or https address without user, password and query",
    r"https?://[^\s/?#@\\]+(/[^\s?#@\\]*)?",
)

VARIABLES = {
    "HIGGS_S3_BUCKET": Variable(
        "The bucket that results are uploaded to; when unset and BUCKET_ENDPOINT_URL does not name "
        "one, results are not uploaded.",
        "2 to 63 letters, digits, dots, dashes and underscores",
        r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}",
    ),
    "HIGGS_S3_PREFIX": Variable(
        "The folder of the bucket that all results are in (`higgs`); `/` is the whole bucket.",
        "a path of at most 200 characters, without `.`, `..` and backslashes",
        rf"/|(?=.{{1,200}}$)/?{PATH}/?",
    ),
    "HIGGS_S3_URL_TTL_S": Variable(
        "How many seconds the signed address of a result works (86400, a day; keys with a session "
        "token may end sooner); 0: none is signed, and a result names its bucket and key alone.",
        "a whole number from 0 to 604800, what signatures allow",
        r"[0-9]{1,5}|[1-5][0-9]{5}|60[0-3][0-9]{3}|604[0-7][0-9]{2}|604800",
    ),
    "HIGGS_S3_PUBLIC_URL": Variable(
        "Where everybody can read the bucket; a result's address is this, a slash and its key, "
        "and nothing is signed.",
        *_ADDRESS,
    ),
    "AWS_ACCESS_KEY_ID": Variable("The access key of the bucket.", *_KEY),
    "AWS_SECRET_ACCESS_KEY": Variable("Its secret.", *_KEY),
    "AWS_SESSION_TOKEN": Variable("The token that belongs to a temporary access key.", *_KEY),
    "AWS_ENDPOINT_URL_S3": Variable("The address of the storage, if it is not AWS.", *_ADDRESS),
    "AWS_DEFAULT_REGION": Variable(
        "The bucket's region, where the storage's address does not name it (us-east-1).",
        "letters, digits and dashes",
        r"[A-Za-z0-9-]{1,63}",
    ),
    "BUCKET_ENDPOINT_URL": Variable(
        "RunPod's name for the address of the storage, with or without the bucket in it; with the "
        "two after it, it takes the place of AWS's names.",
        *_ADDRESS,
    ),
    "BUCKET_ACCESS_KEY_ID": Variable("RunPod's name for the access key.", *_KEY),
    "BUCKET_SECRET_ACCESS_KEY": Variable("RunPod's name for its secret.", *_KEY),
}

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
        """Read the variables above; None when nothing asks for uploads.

        Raises:
            InvalidSettings: something is wrong or missing; `details["errors"]` has all of it.
        """
        found = {name: text for name in VARIABLES if (text := environ.get(name, "").strip())}
        runpod = any(name.startswith("BUCKET_") for name in found)
        if "HIGGS_S3_BUCKET" not in found and not runpod:
            return None
        problems = {
            name: f"{name} must be {VARIABLES[name].allowed}"
            for name, text in found.items()
            if not (text.isprintable() and re.fullmatch(VARIABLES[name].pattern, text))
        }
        family = "BUCKET" if runpod else "AWS"
        needed = [f"{family}_ACCESS_KEY_ID", f"{family}_SECRET_ACCESS_KEY"]
        for name in [*needed, "BUCKET_ENDPOINT_URL"] if runpod else needed:
            if name not in found:
                problems[name] = f"{name} is missing; results cannot be uploaded without it"
        if problems:
            raise _invalid(problems)

        variable = "BUCKET_ENDPOINT_URL" if runpod else "AWS_ENDPOINT_URL_S3"
        where = _Where.of(found.get(variable), found.get("HIGGS_S3_BUCKET"), variable)
        prefix = found.get("HIGGS_S3_PREFIX", "higgs").strip("/")
        return cls(
            bucket=where.bucket,
            access_key=found[needed[0]],
            secret_key=found[needed[1]],
            session_token=None if runpod else found.get("AWS_SESSION_TOKEN"),
            endpoint=where.endpoint,
            region=where.region or found.get("AWS_DEFAULT_REGION", _DEFAULT_REGION),
            bucket_in_host=where.bucket_in_host,
            prefix=prefix and prefix + "/",
            url_ttl_s=int(found.get("HIGGS_S3_URL_TTL_S", "86400")) if where.signs else 0,
            public_url=found.get("HIGGS_S3_PUBLIC_URL", "").rstrip("/") or None,
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
