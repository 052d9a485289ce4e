"""The variables that name a bucket and the keys to it, and which of them count.

The storage and its keys come under AWS's names, read as boto3 does, or under RunPod's three. Only
one family counts, and the two are never mixed: no key goes to the address of the other family.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from higgs_worker.environment import (
    Address,
    ForeignSwitch,
    Integer,
    Matching,
    ParsedVariables,
    Secret,
    Text,
    env_field,
    read_variables,
    variables_of,
)

DEFAULT_REGION = "us-east-1"
_MAX_URL_TTL_S = 604_800  # the longest that a signature lasts

PATH = r"(?!\.\.?(/|$))[^/\\]+(/(?!\.\.?(/|$))[^/\\]+)*"
"""Names between single slashes, none of them `.` or `..`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketVariables:
    """The variables of the bucket and its use, whichever family names the keys."""

    bucket: str | None = env_field(
        "HIGGS_S3_BUCKET",
        Matching(
            r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}",
            "2 to 63 letters, digits, dots, dashes and underscores",
        ),
        "The bucket that results are uploaded to. Without it, and without a bucket in "
        "BUCKET_ENDPOINT_URL, results are not uploaded.",
        default=None,
    )
    prefix: str = env_field(
        "HIGGS_S3_PREFIX",
        Matching(
            rf"/|(?=.{{1,200}}$)/?{PATH}/?",
            "a path of at most 200 characters, without `.`, `..` and backslashes",
        ),
        "The folder of the bucket that all results go to; `/` is the whole bucket.",
        default="higgs",
    )
    url_ttl_s: int = env_field(
        "HIGGS_S3_URL_TTL_S",
        Integer(0, _MAX_URL_TTL_S),
        "Seconds that the signed address of a result works (less where temporary keys expire "
        "sooner). 0: nothing is signed, and a result names only its bucket and key.",
        default=86_400,
    )
    public_url: str | None = env_field(
        "HIGGS_S3_PUBLIC_URL",
        Address(),
        "The address where everybody can read the bucket. A result's address is then this, a "
        "slash and its key, and is not signed.",
        default=None,
    )
    region: str = env_field(
        "AWS_DEFAULT_REGION",
        Matching(r"[A-Za-z0-9-]{1,63}", "letters, digits and dashes"),
        "The bucket's region, where the storage's address does not name it.",
        "AWS_REGION",
        default=DEFAULT_REGION,
    )
    ca_bundle: str | None = env_field(
        "AWS_CA_BUNDLE",
        Text(),
        "A file of certificates that the storage's own is checked with. Unset: those that are "
        "trusted here.",
        default=None,
    )
    attempts: int = env_field(
        "AWS_MAX_ATTEMPTS",
        Integer(1, 100),
        "How often a request to the storage is tried.",
        default=3,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsVariables:
    """The storage and its keys under AWS's names."""

    access_key: str = env_field(
        "AWS_ACCESS_KEY_ID",
        Secret(),
        "The access key of the bucket.",
    )
    secret_key: str = env_field(
        "AWS_SECRET_ACCESS_KEY",
        Secret(),
        "The secret of the access key.",
    )
    session_token: str | None = env_field(
        "AWS_SESSION_TOKEN",
        Secret(),
        "The token that belongs to a temporary access key.",
        "AWS_SECURITY_TOKEN",
        default=None,
    )
    endpoint: str | None = env_field(
        "AWS_ENDPOINT_URL_S3",
        Address(),
        "The address of the storage. Without it, only a key of Amazon's (`AKIA…`, `ASIA…`) is "
        "used, in Amazon's S3.",
        "AWS_ENDPOINT_URL",
        default=None,
    )
    ignores_endpoint: bool = env_field(
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
        ForeignSwitch(("true",)),
        "Whether AWS's names for the address of the storage do not count.",
        default=False,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunpodVariables:
    """The storage and its keys under RunPod's names; all are required as soon as one is set."""

    endpoint: str = env_field(
        "BUCKET_ENDPOINT_URL",
        Address(),
        "RunPod's name for the address of the storage, with or without the bucket in it. With "
        "the two below, it replaces AWS's names.",
    )
    access_key: str = env_field(
        "BUCKET_ACCESS_KEY_ID",
        Secret(),
        "RunPod's name for the access key.",
    )
    secret_key: str = env_field(
        "BUCKET_SECRET_ACCESS_KEY",
        Secret(),
        "RunPod's name for the secret of the access key.",
    )

    @property
    def session_token(self) -> None:
        """RunPod has no temporary keys."""
        return None

    @property
    def ignores_endpoint(self) -> bool:
        """RunPod's address always counts."""
        return False


S3_TABLES = (BucketVariables, AwsVariables, RunpodVariables)
"""The dataclasses that the environment fills."""

_MEANT_FOR_S3 = frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL_S3"})
"""Of AWS's names, those that nobody sets who stores nothing; the rest may be there for others."""


@dataclass(frozen=True, slots=True)
class S3Variables:
    """All variables of the storage that are set."""

    ours: ParsedVariables
    aws: ParsedVariables
    runpod: ParsedVariables

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "S3Variables":
        """Read them."""
        return cls(*(read_variables(each, environ) for each in S3_TABLES))

    @property
    def family(self) -> type[AwsVariables] | type[RunpodVariables] | None:
        """The family that counts; None where no uploads are asked for."""
        if self.runpod.names:
            return RunpodVariables
        return AwsVariables if "HIGGS_S3_BUCKET" in self.ours.names else None

    @property
    def keys(self) -> ParsedVariables:
        """What is set of the family that counts."""
        return self.runpod if self.family is RunpodVariables else self.aws

    @property
    def problems(self) -> dict[str, str]:
        """What is wrong or missing, by variable; nothing where no uploads are asked for."""
        if self.family is None:
            return {}
        missing = {
            each.name: f"{each.name} is missing; results cannot be uploaded without it"
            for each in variables_of(self.family).values()
            if each.is_required and each.name not in self.keys.names
        }
        return self.ours.problems | self.aws.problems | self.runpod.problems | missing

    @property
    def given(self) -> dict[str, str]:
        """The valid values as text, by variable; secrets are masked."""
        return self.ours.given | self.aws.given | self.runpod.given

    @property
    def are_meant(self) -> bool:
        """Whether somebody wants uploads, or seems to."""
        return self.family is not None or bool(self.half_set)

    @property
    def half_set(self) -> list[str]:
        """The names that somebody set for uploads, where no uploads are asked for."""
        if self.family is not None:
            return []
        ours = {each for each in self.ours.names if each.startswith("HIGGS_")}
        return sorted(ours | (self.aws.names & _MEANT_FOR_S3))

    @property
    def warnings(self) -> list[str]:
        """A sentence for what is set and does not count."""
        if self.half_set:
            names = ", ".join(self.half_set)
            return [f"without HIGGS_S3_BUCKET, nothing is uploaded with {names}"]
        if self.family is None:
            return []
        found = [*self.ours.warnings, *self.keys.warnings]
        if self.family is RunpodVariables and self.aws.names:
            names = ", ".join(sorted(self.aws.names))
            found.append(f"beside BUCKET_ENDPOINT_URL and its keys, nothing is done with {names}")
        if self.family is AwsVariables and self.aws.values.get("ignores_endpoint"):
            found += [
                f"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS takes the effect of {name}"
                for name in variables_of(AwsVariables)["endpoint"].names
                if name in self.aws.names
            ]
        return found
