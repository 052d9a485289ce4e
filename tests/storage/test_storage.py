"""Results in a bucket of a real S3 server: written, found, refused, and never half there."""

import threading
import traceback
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.errors import InvalidRequest, KeyTaken, StorageFailed
from higgs_worker.storage.bucket import Bucket
from higgs_worker.storage.config import S3Config
from higgs_worker.storage.storage import MAX_KEY_BYTES, Storage
from higgs_worker.storage.upload import PART_BYTES
from tests.fakes.leaks import leaks
from tests.fakes.s3 import READER, SECRETS, WRITER, config, get, objects, opened, unfinished

SOUND = b"RIFF" + bytes(range(256)) * 400
WAV = "audio/wav"
NOWHERE = S3Config(bucket="results", access_key="a-key", secret_key="a-secret")


def status_of(url: str) -> int:
    """Return the status with which an address is refused."""
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url, timeout=10)
    caught.value.close()
    return caught.value.code


def refused(storage: Storage, **how: Any) -> StorageFailed:
    """Return the failure of an upload."""
    with pytest.raises(StorageFailed) as caught:
        storage.put(SOUND, key=storage.key_for("job", "wav"), mime_type=WAV, **how)
    return caught.value


# Writing


def test_an_object_is_stored_and_its_address_works(storage: Storage) -> None:
    """Its bytes and type come back from the signed address, which says when it ends."""
    key = storage.key_for("job", "wav")
    stored = storage.put(SOUND, key=key, mime_type=WAV)
    assert (stored.bucket, stored.key) == ("results", key)
    assert key.startswith("higgs/job-")
    assert get(stored.url) == (SOUND, WAV)
    left = stored.expires_at - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < left <= timedelta(days=1)
    assert stored.url not in repr(stored)


@pytest.mark.parametrize("num_bytes", [0, 1, PART_BYTES, PART_BYTES + 1])
def test_every_size_is_stored(storage: Storage, num_bytes: int) -> None:
    """Nothing, one part and a little more than one part are the same to a caller."""
    data = bytes([7]) * num_bytes
    stored = storage.put(data, key=storage.key_for("job", "mp3"), mime_type="audio/mpeg")
    assert get(stored.url) == (data, "audio/mpeg")


def test_uploads_do_not_disturb_each_other(storage: Storage) -> None:
    """One storage serves many threads."""

    def put(number: int) -> bool:
        data = bytes([number]) * 50_000
        stored = storage.put(data, key=storage.key_for("job", "wav"), mime_type=WAV)
        return get(stored.url) == (data, WAV)

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(put, range(32)))


def test_the_check_leaves_nothing(port: int, prefix: str) -> None:
    """What it writes, it removes; it may run again."""
    storage = Storage(config(port, prefix=prefix))
    storage.check()
    storage.check()
    assert objects(port, prefix) == {}


# Addresses


def test_a_signed_address_opens_one_object_for_its_time(
    storage: Storage, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for another key, not with another time, not after its end, not unsigned."""
    url = storage.put(SOUND, key=f"{prefix}a.wav", mime_type=WAV).url
    storage.put(SOUND, key=f"{prefix}b.wav", mime_type=WAV)
    assert url is not None
    for wrong in (
        url.replace("a.wav", "b.wav"),
        url.replace("X-Amz-Expires=86400", "X-Amz-Expires=86401"),
        url.partition("?")[0],
    ):
        assert status_of(wrong) == 403
    set_clock(monkeypatch, timedelta(hours=-25))
    late = storage._locate(f"{prefix}a.wav").url
    assert late is not None
    assert status_of(late) == 403


def test_a_public_bucket_is_not_signed(port: int) -> None:
    """Its address is the base, a slash and the key, as a browser can take it."""
    public = Storage(config(port, prefix="p/", public_url="https://cdn.example.com/x"))
    stored = public.put(SOUND, key="p/é ü?#%+.wav", mime_type=WAV, overwrite=True)
    assert stored.url == "https://cdn.example.com/x/p/%C3%A9%20%C3%BC%3F%23%25%2B.wav"
    assert stored.expires_at is None


def test_where_nothing_is_signed_a_result_names_its_key(port: int, prefix: str) -> None:
    """RunPod's volumes sign nothing."""
    plain = opened(config(port, url_ttl_s=0))
    stored = plain.put(SOUND, key=f"{prefix}a.wav", mime_type=WAV)
    assert (stored.url, stored.expires_at) == (None, None)


def test_signatures_are_of_the_kind_that_all_take() -> None:
    """Version 4, by region, with the bucket in the host or in the path."""
    aws = Storage(replace(NOWHERE, region="eu-west-1"))._locate("a b").url
    other = replace(NOWHERE, endpoint="https://minio.internal:9000", bucket_in_host=False)
    assert aws is not None
    assert aws.startswith("https://results.s3.eu-west-1.amazonaws.com/a%20b?X-Amz-Algorithm=AWS4")
    url = Storage(other)._locate("a/b").url
    assert url is not None
    assert url.startswith("https://minio.internal:9000/results/a/b?X-Amz-Algorithm=AWS4")


# Keys


def test_made_keys_are_safe_and_never_the_same() -> None:
    """Whatever a job's id is, its keys are plain, short and different."""
    storage = Storage(NOWHERE)
    for job_id in ("sync-1f-u1", "../../etc", "a/b\\c\x00", "ü" * 5000, "", "\ud800"):
        keys = {storage.key_for(job_id, "wav") for _ in range(100)}
        assert len(keys) == 100
        assert all(storage.check_key(key) == key and len(key) < 200 for key in keys)


@pytest.mark.parametrize("key", ["higgs/a", "higgs/a b/é…/x.wav", "higgs/" + "a" * 1018])
def test_a_callers_key_is_taken_as_it_is(key: str) -> None:
    """Any readable path under the prefix."""
    assert Storage(NOWHERE).check_key(key) == key


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("", "between single slashes"),
        ("/higgs/a", "between single slashes"),
        ("higgs/", "between single slashes"),
        ("higgs//a", "between single slashes"),
        ("higgs/../voices/a", "between single slashes"),
        ("higgs/.", "between single slashes"),
        ("higgs\\a", "between single slashes"),
        ("higgs/a\n", "between single slashes"),
        ("higgs/a\x7f", "between single slashes"),
        ("higgs/\u202egpj.wav", "between single slashes"),
        ("higgs/\ud800", "between single slashes"),
        ("higgs/" + "é" * 510, f"longer than {MAX_KEY_BYTES} bytes"),
        ("voices/a", "must begin with 'higgs/'"),
        ("higgs", "must begin with 'higgs/'"),
        ("https://x/higgs/a", "between single slashes"),
    ],
)
def test_a_callers_key_stays_under_the_prefix(key: str, words: str) -> None:
    """Everything else is refused with what to do, before anything is sent."""
    with pytest.raises(InvalidRequest, match=words) as caught:
        Storage(NOWHERE).check_key(key)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("num_bytes", [10, PART_BYTES + 1])
def test_what_is_there_is_not_replaced(
    storage: Storage, port: int, prefix: str, num_bytes: int
) -> None:
    """A clash of names is an error, known beforehand too; replacing has to be asked for."""
    key = f"{prefix}a.wav"
    storage.refuse_taken(key)
    url = storage.put(SOUND, key=key, mime_type=WAV).url
    with pytest.raises(KeyTaken, match=r"a\.wav' already; send another key"):
        storage.put(bytes(num_bytes), key=key, mime_type=WAV)
    with pytest.raises(KeyTaken):
        storage.refuse_taken(key)
    assert get(url) == (SOUND, WAV)
    assert unfinished(port, prefix) == []
    storage.put(bytes(num_bytes), key=key, mime_type="audio/flac", overwrite=True)
    assert get(url) == (bytes(num_bytes), "audio/flac")


def test_a_key_that_may_only_write_is_enough(port: int, prefix: str) -> None:
    """What it cannot look up, it still does not replace."""
    storage = opened(config(port, WRITER))
    storage.refuse_taken(f"{prefix}a")
    for data in (SOUND, bytes(PART_BYTES + 1)):
        storage.put(data, key=f"{prefix}{len(data)}", mime_type=WAV)
        storage.refuse_taken(f"{prefix}{len(data)}")
        with pytest.raises(KeyTaken):
            storage.put(data, key=f"{prefix}{len(data)}", mime_type=WAV)
    storage.check()


def test_of_many_writers_of_one_key_one_wins(storage: Storage, prefix: str) -> None:
    """The others are told, and the object is the winner's."""
    start = threading.Barrier(4)

    def put(number: int) -> tuple[int, str | None] | None:
        start.wait()
        try:
            return number, storage.put(bytes([number]), key=f"{prefix}a", mime_type=WAV).url
        except KeyTaken:
            return None

    with ThreadPoolExecutor(4) as threads:
        won = [each for each in threads.map(put, range(4)) if each]
    assert len(won) == 1
    number, url = won[0]
    assert get(url)[0] == bytes([number])


# Refusals


def set_clock(monkeypatch: pytest.MonkeyPatch, shift: timedelta) -> None:
    """Let the library's clock be off."""
    import botocore.auth

    now = botocore.auth.get_current_datetime
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda *_, **__: now() + shift)


def test_wrong_settings_are_told_apart(port: int) -> None:
    """Key, secret, bucket and permission each have a sentence that names the variable to check."""
    right = config(port)
    sentences = {
        replace(
            right, access_key="nobody"
        ): "does not know the access key; check AWS_ACCESS_KEY_ID",
        replace(
            right, secret_key="hunter2-is-the-secret"
        ): "refuses the signature; check AWS_SECRET_ACCESS_KEY",
        replace(right, bucket="elsewhere"): "has no bucket 'elsewhere'; check HIGGS_S3_BUCKET",
        config(port, READER): "not let this access key write into bucket 'results' under 'higgs/'",
    }
    for wrong, sentence in sentences.items():
        storage = opened(wrong)
        assert sentence in refused(storage).message
        with pytest.raises(StorageFailed, match=sentence.partition(";")[0]):
            storage.put(bytes(PART_BYTES + 1), key="higgs/a", mime_type=WAV)
        with pytest.raises(StorageFailed):
            storage.check()


@pytest.mark.parametrize("shift", [timedelta(hours=-1), timedelta(days=8)])
def test_a_clock_that_is_off_is_named(
    storage: Storage, monkeypatch: pytest.MonkeyPatch, shift: timedelta
) -> None:
    """Nothing is stored, so that no result has an address that ended before it began."""
    set_clock(monkeypatch, shift)
    assert "this machine's clock is off" in refused(storage).message


def test_nothing_but_the_configuration_counts(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """No variable that the library knows changes or breaks a request, whatever it holds."""
    from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES, DEFAULT_S3_CONFIG_VARS

    tables = (BOTOCORE_DEFAUT_SESSION_VARIABLES, DEFAULT_S3_CONFIG_VARS)
    known = [variables for table in tables for _, variables, *_ in table.values() if variables]
    names = [name for each in known for name in ([each] if isinstance(each, str) else each)]
    assert {"AWS_PROFILE", "AWS_DEFAULTS_MODE", "AWS_STS_REGIONAL_ENDPOINTS"} < set(names)
    for name in (*names, "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ACCESS_KEY_ID"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    Storage(config(port)).check()


def test_the_certificates_are_those_of_the_configuration(tmp_path: Path) -> None:
    """A storage with a certificate of one's own is checked with the file that is named."""
    bundle = str(tmp_path / "ca.pem")
    client = Bucket(config(9, ca_bundle=bundle))._connected()
    assert client._endpoint.http_session._verify == bundle


def test_no_secret_is_ever_shown(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """Not in errors, their details, tracebacks or logs, at any level, right or wrong."""
    right, token = config(port), "hunter2-is-the-token"
    wrong = [
        replace(right, secret_key="hunter2-is-the-secret"),
        replace(right, session_token=token),
        replace(right, bucket="elsewhere"),
        config(port, READER),
        replace(right, endpoint="http://127.0.0.1:9", attempts=1),
    ]
    shown = [repr(right)]
    with caplog.at_level("DEBUG"):
        storage = opened(right)
        stored = storage.put(SOUND, key=storage.key_for("job", "wav"), mime_type=WAV)
        shown.append(repr(stored))
        for each in wrong:
            error = refused(opened(each))
            shown += [repr(each), repr(error), str(error.details)]
            shown += traceback.format_exception(error)
    shown.append(caplog.text)
    assert leaks(shown, [*SECRETS.values(), "hunter2", token, "Signature="]) == []
