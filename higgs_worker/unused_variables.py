"""Variables that look as if they configured the worker, and that nothing reads.

They are told from others by how they begin. What they hold is neither looked at nor shown.
"""

import difflib
from collections.abc import Collection, Iterable

OWN = "HIGGS_"
HUB = ("HF_", "HUGGINGFACE_", "HUGGING_FACE_")
AWS = "AWS_"
RUNPODS_BUCKET = "BUCKET_"

_OWN_DOWNLOADS = "weights are pulled by the worker itself, over several connections"
_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
_ADDRESS = "set AWS_ENDPOINT_URL_S3 to that address"
_CHECKSUM = "every request has an MD5, which all storages check"
_INSTEAD = {
    "AWS_CONFIG_FILE": _KEYS,
    "AWS_CONTAINER_CREDENTIALS_FULL_URI": _KEYS,
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": _KEYS,
    "AWS_DEFAULT_PROFILE": _KEYS,
    "AWS_PROFILE": _KEYS,
    "AWS_REQUEST_CHECKSUM_CALCULATION": _CHECKSUM,
    "AWS_RESPONSE_CHECKSUM_VALIDATION": _CHECKSUM,
    "AWS_RETRY_MODE": "set AWS_MAX_ATTEMPTS",
    "AWS_ROLE_ARN": _KEYS,
    "AWS_SHARED_CREDENTIALS_FILE": _KEYS,
    "AWS_USE_DUALSTACK_ENDPOINT": _ADDRESS,
    "AWS_USE_FIPS_ENDPOINT": _ADDRESS,
    "AWS_WEB_IDENTITY_TOKEN_FILE": _KEYS,
    "BUCKET_NAME": "set HIGGS_S3_BUCKET",
    "BUCKET_PREFIX": "set HIGGS_S3_PREFIX",
    "BUCKET_REGION": "set AWS_DEFAULT_REGION",
    "HF_HUB_DISABLE_TELEMETRY": "the worker sends none",
    "HF_HUB_DISABLE_XET": _OWN_DOWNLOADS,
    "HF_HUB_ENABLE_HF_TRANSFER": _OWN_DOWNLOADS,
    "HF_TOKEN_PATH": "set HF_TOKEN",
    "HF_XET_HIGH_PERFORMANCE": _OWN_DOWNLOADS,
}
"""By name: what to set instead, or why there is nothing to set."""


def unused(names: Iterable[str], known: Collection[str], *beginnings: str) -> list[str]:
    """Return a sentence for each name that nothing reads.

    Args:
        names: of the variables that are set.
        known: the names that are read.
        beginnings: of the names to look at.
    """
    found = sorted(each for each in names if each.startswith(beginnings) and each not in known)
    return [f"nothing reads {each}{_advice(each, known)}" for each in found]


def _advice(name: str, known: Collection[str]) -> str:
    if name in _INSTEAD:
        return f"; {_INSTEAD[name]}"
    # Without the beginning, which would make all names of a family look alike.
    beginning = name.partition("_")[0] + "_"
    tails = [each.removeprefix(beginning) for each in known if each.startswith(beginning)]
    # Of others' names, many are right and only not for us.
    cutoff = 0.6 if beginning == OWN else 0.8
    near = difflib.get_close_matches(name.removeprefix(beginning), tails, n=1, cutoff=cutoff)
    return f"; did you mean {beginning}{near[0]}?" if near else ""
