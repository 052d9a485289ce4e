"""Where results go, as the environment says it: two families of names, and ways to be wrong."""

import subprocess
import sys
from pathlib import Path

import pytest

from higgs_worker.environment import Variable, variables_of
from higgs_worker.errors import InvalidSettings
from higgs_worker.settings import Settings
from higgs_worker.storage.config import S3Config
from higgs_worker.storage.variables import S3_TABLES

AWS = {
    "HIGGS_S3_BUCKET": "results",
    "AWS_ACCESS_KEY_ID": "AKIATHEKEYOFAMAZON00",
    "AWS_SECRET_ACCESS_KEY": "the-secret",
}
MINIO = {"AWS_ACCESS_KEY_ID": "minioadmin", "AWS_ENDPOINT_URL_S3": "http://minio.internal:9000"}
RUNPOD = {
    "BUCKET_ENDPOINT_URL": "https://results.s3.eu-west-1.amazonaws.com",
    "BUCKET_ACCESS_KEY_ID": "runpods-key",
    "BUCKET_SECRET_ACCESS_KEY": "runpods-secret",
}


def config(environ: dict[str, str]) -> S3Config:
    """Return what asks for uploads."""
    found = S3Config.from_env(environ)
    assert found is not None
    return found


def complaints(environ: dict[str, str]) -> dict[str, str]:
    """Return what is wrong, by variable."""
    with pytest.raises(InvalidSettings) as caught:
        S3Config.from_env(environ)
    assert all(each in caught.value.message for each in caught.value.details["errors"].values())
    return dict(caught.value.details["errors"])


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"},
        {**AWS, **dict.fromkeys(AWS, " ")},
    ],
)
def test_nothing_is_uploaded_unless_asked(environ: dict[str, str]) -> None:
    """Keys alone, which may be there for something else, and empty variables ask for nothing."""
    assert S3Config.from_env(environ) is None


def test_every_variable_arrives(tmp_path: Path) -> None:
    """AWS's names and ours fill one configuration."""
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    assert config(
        AWS
        | {
            "AWS_CA_BUNDLE": str(bundle),
            "AWS_MAX_ATTEMPTS": "7",
            "HIGGS_S3_PREFIX": "/audio/out/",
            "HIGGS_S3_URL_TTL_S": "604800",
            "HIGGS_S3_PUBLIC_URL": "https://cdn.example.com/a/",
            "AWS_SESSION_TOKEN": "the-token",
            "AWS_ENDPOINT_URL_S3": "http://[::1]:9000/",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }
    ) == S3Config(
        bucket="results",
        access_key=AWS["AWS_ACCESS_KEY_ID"],
        secret_key="the-secret",
        session_token="the-token",
        endpoint="http://[::1]:9000",
        region="eu-central-1",
        bucket_in_host=False,
        prefix="audio/out/",
        url_ttl_s=604_800,
        public_url="https://cdn.example.com/a",
        ca_bundle=str(bundle),
        attempts=7,
    )
    assert config(AWS) == S3Config(
        bucket="results",
        access_key=AWS["AWS_ACCESS_KEY_ID"],
        secret_key="the-secret",
        prefix="higgs/",
    )
    assert config(AWS | {"HIGGS_S3_PREFIX": "/"}).prefix == ""


def test_runpods_names_count_together_or_not_at_all() -> None:
    """They take the place of AWS's; no key of one goes to the address of the other."""
    both = AWS | RUNPOD | {"AWS_SESSION_TOKEN": "t", "AWS_ENDPOINT_URL_S3": "https://b.example"}
    assert (
        config(both)
        == config(RUNPOD)
        == S3Config(
            bucket="results",
            access_key="runpods-key",
            secret_key="runpods-secret",
            endpoint="https://s3.eu-west-1.amazonaws.com",
            region="eu-west-1",
        )
    )
    for name in RUNPOD:
        rest = {key: value for key, value in both.items() if key != name}
        assert list(complaints(rest)) == [name]


@pytest.mark.parametrize(
    ("second", "first", "field", "expected"),
    [
        ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "endpoint", "https://{}.example"),
        ("AWS_REGION", "AWS_DEFAULT_REGION", "region", "{}"),
        ("AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN", "session_token", "{}"),
    ],
)
def test_two_names_of_one_thing(second: str, first: str, field: str, expected: str) -> None:
    """Either counts alone; of two that differ the first counts, and the other is warned of."""
    one, two = {second: expected.format("two")}, {first: expected.format("one")}
    assert getattr(config(AWS | one), field) == expected.format("two")
    assert getattr(config(AWS | one | two), field) == expected.format("one")
    assert Settings.from_env(AWS | one).warnings == ()
    assert Settings.from_env(AWS | one | {first: one[second]}).warnings == ()
    warned = Settings.from_env(AWS | one | two).warnings
    assert warned == (f"{second} has no effect, because {first} has another value",)


def test_no_key_goes_to_amazon_unless_it_is_amazons() -> None:
    """A key of another storage needs the storage's address, under either of AWS's names."""
    minio = AWS | MINIO
    assert config(minio).endpoint == MINIO["AWS_ENDPOINT_URL_S3"]
    nowhere = AWS | {"AWS_ACCESS_KEY_ID": "minioadmin"}
    ignored = minio | {"AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "TRUE"}
    for environ in (nowhere, ignored):
        (found,) = complaints(environ).values()
        assert "AWS_ENDPOINT_URL_S3 is missing" in found
        assert "minioadmin" not in found
    amazon = {"AWS_ENDPOINT_URL": "https://s3.eu-west-1.amazonaws.com"}
    assert config(nowhere | amazon).region == "eu-west-1"
    named = {"AWS_ENDPOINT_URL_S3": "https://b.example", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "1"}
    assert config(AWS | named).endpoint == "https://b.example"  # boto3 takes no word but true
    named["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] = "true"
    assert config(AWS | named).endpoint is None
    (warned,) = Settings.from_env(AWS | named).warnings
    assert warned == "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS takes the effect of AWS_ENDPOINT_URL_S3"


@pytest.mark.parametrize(
    ("environ", "sentences"),
    [
        ({"AWS_PROFILE": "p", "AWS_CA_BUNDLE": "/certificates", "AWS_ENDPOINT_URL": "x"}, []),
        (
            {"AWS_ENDPOINT_URL_S3": "http://minio:9000", "AWS_PROFILE": "p"},
            [
                "without HIGGS_S3_BUCKET, nothing is uploaded with AWS_ENDPOINT_URL_S3",
                "nothing reads AWS_PROFILE; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY",
            ],
        ),
        (
            {"HIGGS_S3_PREFIX": "out", "AWS_ACCESS_KEY_ID": "k"},
            [
                "without HIGGS_S3_BUCKET, nothing is uploaded with "
                "AWS_ACCESS_KEY_ID, HIGGS_S3_PREFIX"
            ],
        ),
        (
            AWS | {"BUCKET_PREFIX": "out", "BUCKET_NAME": "b", "AWS_RETRY_MODE": "adaptive"},
            [
                "nothing reads AWS_RETRY_MODE; set AWS_MAX_ATTEMPTS",
                "nothing reads BUCKET_NAME; set HIGGS_S3_BUCKET",
                "nothing reads BUCKET_PREFIX; set HIGGS_S3_PREFIX",
            ],
        ),
        (
            AWS | {"AWS_S3_ENDPOINT_URL": "http://minio:9000", "AWS_PAGER": ""},
            ["nothing reads AWS_S3_ENDPOINT_URL; did you mean AWS_ENDPOINT_URL?"],
        ),
        (
            AWS | RUNPOD,
            [
                "beside BUCKET_ENDPOINT_URL and its keys, nothing is done with "
                "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY"
            ],
        ),
        ({"BUCKET_PREFIX": "out"}, ["nothing reads BUCKET_PREFIX; set HIGGS_S3_PREFIX"]),
    ],
)
def test_what_is_set_for_uploads_and_has_no_effect_is_named(
    environ: dict[str, str], sentences: list[str]
) -> None:
    """With what to set instead; AWS's names alone may be there for another program."""
    assert list(Settings.from_env(environ).warnings) == sentences


ADDRESSES = {
    "https://b1.c.s3.amazonaws.com": "b1.c in https://s3.amazonaws.com",
    "https://b1.s3.us-west-2.amazonaws.com": "b1 in https://s3.us-west-2.amazonaws.com, us-west-2",
    "https://b1.fra1.digitaloceanspaces.com/": "b1 in https://fra1.digitaloceanspaces.com, fra1",
    "https://s3.eu-central-003.backblazeb2.com/b1": "b1 under "
    "https://s3.eu-central-003.backblazeb2.com, eu-central-003",
    "https://0a1b.r2.cloudflarestorage.com/b1/": "b1 under https://0a1b.r2.cloudflarestorage.com",
    "https://s3api-eur-is-1.runpod.io/b1": "b1 under https://s3api-eur-is-1.runpod.io, EUR-IS-1",
    "http://minio.internal:9000/b1": "b1 under http://minio.internal:9000",
}


@pytest.mark.parametrize("url", ADDRESSES)
def test_addresses_as_consoles_show_them(url: str) -> None:
    """Bucket and region are found in the address, wherever it has them."""
    for named in ({}, {"HIGGS_S3_BUCKET": ADDRESSES[url].split()[0]}):
        found = config(RUNPOD | {"BUCKET_ENDPOINT_URL": url} | named)
        said = f"{found.bucket} {'in' if found.bucket_in_host else 'under'} {found.endpoint}"
        region = "" if found.region == "us-east-1" else f", {found.region}"
        assert said + region == ADDRESSES[url]
        assert bool(found.url_ttl_s) == ("runpod.io" not in url)  # its volumes sign nothing


def test_a_host_that_only_looks_like_a_bucket() -> None:
    """A storage of one's own may have any name, when the bucket is said."""
    environ = RUNPOD | {"BUCKET_ENDPOINT_URL": "http://minio.s3.internal", "HIGGS_S3_BUCKET": "b1"}
    assert config(environ).endpoint == "http://minio.s3.internal"
    assert config(environ).bucket == "b1"


def test_an_address_that_names_no_region_leaves_it_to_the_variable() -> None:
    """AWS_DEFAULT_REGION counts where the address says nothing."""
    region = {"AWS_DEFAULT_REGION": "auto"}
    assert config(RUNPOD | region).region == "eu-west-1"
    other = {"BUCKET_ENDPOINT_URL": "https://minio.internal/b1"}
    assert config(RUNPOD | region | other).region == "auto"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HIGGS_S3_BUCKET", "a/b"),
        ("HIGGS_S3_BUCKET", "x"),
        ("HIGGS_S3_PREFIX", "a/../b"),
        ("HIGGS_S3_PREFIX", "."),
        ("HIGGS_S3_PREFIX", "a//b"),
        ("HIGGS_S3_PREFIX", "a\\b"),
        ("HIGGS_S3_PREFIX", "a\x00b"),
        ("HIGGS_S3_PREFIX", "a\udc80b"),
        ("HIGGS_S3_PREFIX", "a" * 201),
        ("HIGGS_S3_URL_TTL_S", "604801"),
        ("HIGGS_S3_URL_TTL_S", "610000"),
        ("HIGGS_S3_URL_TTL_S", "-1"),
        ("HIGGS_S3_URL_TTL_S", "٣"),
        ("HIGGS_S3_URL_TTL_S", "9" * 5000),
        ("HIGGS_S3_PUBLIC_URL", "ftp://cdn.example.com"),
        ("HIGGS_S3_PUBLIC_URL", "https://cdn.example.com?a=hunter2"),
        ("AWS_ENDPOINT_URL_S3", "storage.example.com"),
        ("AWS_ENDPOINT_URL_S3", "https://user:hunter2@storage.example.com"),
        ("AWS_ENDPOINT_URL_S3", "https://storage.example.com:hunter2"),
        ("AWS_ENDPOINT_URL_S3", "https://[hunter2"),
        ("AWS_ENDPOINT_URL_S3", "https://storage.example.com/another"),
        ("AWS_ENDPOINT_URL", "https://user:hunter2@storage.example.com"),
        ("AWS_ENDPOINT_URL", "https://storage.example.com/another"),
        ("AWS_CA_BUNDLE", "/nowhere/hunter2"),
        ("AWS_DEFAULT_REGION", "eu west"),
        ("AWS_REGION", "eu west"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2\nhunter2"),
        ("AWS_SESSION_TOKEN", "hunter2 hunter2"),
        ("AWS_SECURITY_TOKEN", '"hunter2"'),
    ],
)
def test_a_wrong_value_is_named_and_not_repeated(name: str, value: str) -> None:
    """The complaint says what it must be; the value may be a secret in the wrong place."""
    found = complaints(AWS | {name: value})
    assert list(found) == [name]
    assert "hunter2" not in found[name]


def test_what_is_missing_is_named() -> None:
    """A bucket without keys, and RunPod's names without a bucket."""
    found = complaints({"HIGGS_S3_BUCKET": "results"})
    assert list(found) == ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]
    nameless = {"BUCKET_ENDPOINT_URL": "https://minio.internal"}
    assert list(complaints(RUNPOD | nameless)) == ["HIGGS_S3_BUCKET"]


def test_no_repr_holds_a_key() -> None:
    """Settings can be printed."""
    printed = repr(Settings.from_env(AWS | {"AWS_SESSION_TOKEN": "the-token"}))
    assert "bucket='results'" in printed
    for secret in (AWS["AWS_ACCESS_KEY_ID"], "the-secret", "the-token"):
        assert secret not in printed


def test_settings_know_the_variables() -> None:
    """Ours are no unknown names, and what is wrong with them is told with all the rest."""
    assert Settings.from_env(AWS).s3 == config(AWS)
    assert Settings.from_env(AWS).warnings == ()
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({"HIGGS_S3_BUCKET": "results", "HIGGS_MAX_SLOTS": "many"})
    assert {"HIGGS_MAX_SLOTS", "AWS_ACCESS_KEY_ID"} < set(caught.value.details["errors"])


@pytest.mark.parametrize(
    "variable",
    [each for table in S3_TABLES for each in variables_of(table).values()],
    ids=lambda each: each.name,
)
def test_every_variable_is_described(variable: Variable) -> None:
    """No variable without a sentence of meaning and bounds that hold its default."""
    assert variable.meaning.endswith(".")
    assert variable.kind.allowed
    if variable.default is not None:
        assert variable.kind.parse(str(variable.default)) == variable.default


def test_keys_are_secrets() -> None:
    """What was set can be printed: keys and tokens are masked, the rest is readable."""
    shown = Settings.from_env(RUNPOD | AWS | {"AWS_SESSION_TOKEN": "the-token"}).given
    assert shown == {
        "HIGGS_S3_BUCKET": "results",
        "AWS_ACCESS_KEY_ID": "***",
        "AWS_SECRET_ACCESS_KEY": "***",
        "AWS_SESSION_TOKEN": "***",
        "BUCKET_ENDPOINT_URL": RUNPOD["BUCKET_ENDPOINT_URL"],
        "BUCKET_ACCESS_KEY_ID": "***",
        "BUCKET_SECRET_ACCESS_KEY": "***",
    }


def test_the_client_library_waits_for_the_first_request() -> None:
    """Neither settings nor storage load it."""
    script = (
        "import sys, higgs_worker.settings, higgs_worker.storage.storage\n"
        "print(*sys.modules, sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    loaded = done.stdout.splitlines()
    assert "higgs_worker.storage.bucket" in loaded
    assert not {"botocore", "boto3", "torch", "urllib3"} & set(loaded)
