"""The address of an S3 storage, as providers' consoles show it, taken apart.

An address may name the bucket (in its host or in its path) and the region. Opens no connection.
"""

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

_BUCKET = r"(?P<bucket>[a-z0-9][a-z0-9.-]*)\."
_REGION = r"(?P<region>[a-z0-9-]+)"
_HOSTS = (
    # AWS, Backblaze, Wasabi
    rf"({_BUCKET})?(?P<base>s3[.-]{_REGION}\.(amazonaws\.com(\.cn)?|backblazeb2\.com|wasabisys\.com))",
    rf"({_BUCKET})?(?P<base>(?P<region>[a-z]+[0-9])\.digitaloceanspaces\.com)",
    # Alibaba, Tencent, any other
    rf"{_BUCKET}(?P<base>oss-.+\.aliyuncs\.com|cos\..+\.myqcloud\.com|s3[.-].+)",
)
"""Hosts that name more than a machine; the first match counts. `base` leaves the bucket out."""
_RUNPOD_VOLUME = rf"s3api-{_REGION}\.runpod\.io"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where an S3 storage is, and how to address its buckets; the defaults are AWS."""

    url: str | None = None
    """The storage's address without the bucket; None for AWS, in the configured region."""
    bucket: str | None = None
    """The bucket that the address names, if any."""
    region: str | None = None
    """The region that the address names, if any."""
    bucket_in_host: bool = True
    """Whether requests name the bucket in the host; otherwise in the path."""
    can_sign: bool = True
    """Whether a signed address lets everybody read an object."""


def parse_endpoint(url: str, bucket: str | None = None) -> Endpoint:
    """Return what the address of a storage says.

    Args:
        url: an http or https address.
        bucket: its name, where that is known. A host that seems to start with the name of another
            bucket is then used as it is: a private storage may be called anything.

    Raises:
        ValueError: the address cannot be used; the text completes "the address …".
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError("has no valid host or port") from None
    in_path = parts.path.strip("/")
    labels = next((found.groupdict() for each in _HOSTS if (found := re.fullmatch(each, host))), {})
    in_host = labels.get("bucket")
    if in_host and bucket not in (None, in_host):
        labels, in_host = {}, None
    named = bucket or in_path or in_host
    if in_path not in ("", named):
        raise ValueError("has a path that is not the bucket; leave the path out")

    base = labels.get("base", host)
    base_url = f"{parts.scheme}://" + (f"[{base}]" if ":" in base else base)
    base_url += f":{port}" if port else ""
    volume = re.fullmatch(_RUNPOD_VOLUME, host)
    if volume:  # a network volume: its regions are in capitals, and it serves no signed address
        return Endpoint(base_url, named, volume["region"].upper(), False, False)
    is_in_host = in_host is not None or base.endswith(".amazonaws.com")
    return Endpoint(base_url, named, labels.get("region"), is_in_host)
