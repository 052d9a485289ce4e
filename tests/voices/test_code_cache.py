"""Codes by content: the right ones or none, after a restart, after damage, and within bounds."""

import os
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from higgs_worker.voices.code_cache import CodeCache, content_key

KEY = content_key(b"a recording")
CODES = np.arange(-12, 12, dtype=np.int16).reshape(3, 8)


def file_in(directory: Path) -> Path:
    """Return the only file of codes."""
    (path,) = directory.glob("*.codes")
    return path


def test_codes_survive_a_restart(tmp_path: Path) -> None:
    """Another cache on the same volume gives the same codes, which nobody can change."""
    CodeCache(tmp_path / "codes").store(KEY, "codec@1", CODES)
    codes = CodeCache(tmp_path / "codes").load(KEY, "codec@1")
    assert codes is not None
    assert codes.dtype == np.int16
    np.testing.assert_array_equal(codes, CODES)
    assert not codes.flags.writeable


def test_what_was_stored_cannot_be_changed_from_outside(tmp_path: Path) -> None:
    """Neither through the array that was given nor through the one that comes back."""
    cache, codes = CodeCache(tmp_path), CODES.copy()
    cache.store(KEY, "codec@1", codes)
    codes[:] = 0
    found = cache.load(KEY, "codec@1")
    assert found is not None
    np.testing.assert_array_equal(found, CODES)
    with pytest.raises(ValueError, match="read-only"):
        found[:] = 0


def test_codes_belong_to_one_recording_and_one_codec(tmp_path: Path) -> None:
    """Another revision of the codec or another recording has none yet."""
    cache = CodeCache(tmp_path)
    cache.store(KEY, "codec@1", CODES)
    assert cache.load(KEY, "codec@2") is None
    assert cache.load(content_key(b"another"), "codec@1") is None
    assert CodeCache(tmp_path / "none").load(KEY, "codec@1") is None


def test_foreign_codes_are_not_taken(tmp_path: Path) -> None:
    """A whole file under the name of another recording or codec is not taken for its own."""
    cache = CodeCache(tmp_path)
    cache.store(KEY, "codec@1", CODES)
    whole = file_in(tmp_path).read_bytes()
    for key, codec_id in ((KEY, "codec@2"), (content_key(b"another"), "codec@1")):
        other = CodeCache(tmp_path / codec_id / key)
        other.store(key, codec_id, CODES)
        file_in(tmp_path / codec_id / key).write_bytes(whole)
        fresh = CodeCache(tmp_path / codec_id / key)
        assert fresh.load(key, codec_id) is None


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(st.data())
def test_damaged_codes_are_computed_again(tmp_path: Path, data: st.DataObject) -> None:
    """Any changed, missing or added byte is found; storing again repairs it, and only that.

    A file that was found damaged may by now be another worker's whole one.
    """
    CodeCache(tmp_path).store(KEY, "codec@1", CODES)
    path = file_in(tmp_path)
    whole = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(whole) - 1))
    match data.draw(st.sampled_from(["change", "cut", "add"])):
        case "change":
            whole[position] ^= data.draw(st.integers(1, 255))
        case "cut":
            del whole[position:]
        case "add":
            whole += bytes(position + 1)
    path.write_bytes(whole)
    cache = CodeCache(tmp_path)
    assert cache.load(KEY, "codec@1") is None
    assert path.read_bytes() == whole
    cache.store(KEY, "codec@1", CODES)
    assert CodeCache(tmp_path).load(KEY, "codec@1") is not None


@given(st.integers(0, 40), st.integers(0, 12))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20, deadline=None
)
def test_every_shape_comes_back(tmp_path: Path, num_frames: int, num_codebooks: int) -> None:
    """Empty ones as well."""
    codes = np.full((num_frames, num_codebooks), 1023, np.int16)
    CodeCache(tmp_path).store(KEY, "codec@1", codes)
    found = CodeCache(tmp_path).load(KEY, "codec@1")
    assert found is not None
    np.testing.assert_array_equal(found, codes, strict=True)


@pytest.mark.parametrize("codes", [CODES.astype(np.int64), CODES[0], CODES[None]])
def test_only_frames_of_int16_are_kept(tmp_path: Path, codes: "np.ndarray") -> None:
    """Anything else is a mistake of the caller's."""
    with pytest.raises(ValueError, match=r"\[F, K\] int16"):
        CodeCache(tmp_path).store(KEY, "codec@1", codes)


@pytest.mark.parametrize("key", ["", "../x", "A" * 64, "0" * 63])
def test_a_key_is_a_hash(tmp_path: Path, key: str) -> None:
    """Nothing else can become part of a path."""
    with pytest.raises(ValueError, match="not a sha256"):
        CodeCache(tmp_path).load(key, "codec@1")


def test_memory_forgets_what_was_used_longest_ago(tmp_path: Path) -> None:
    """The volume does not: it is read again."""
    keys = [content_key(bytes([number])) for number in range(3)]
    cache = CodeCache(tmp_path, max_memory_items=2)
    cache.store(keys[0], "codec@1", CODES)
    cache.store(keys[1], "codec@1", CODES)
    assert cache.load(keys[0], "codec@1") is not None
    cache.store(keys[2], "codec@1", CODES)
    saved = {each: each.read_bytes() for each in tmp_path.iterdir()}
    for path in saved:
        path.unlink()
    assert [cache.load(key, "codec@1") is not None for key in keys] == [True, False, True]
    for path, data in saved.items():
        path.write_bytes(data)
    assert cache.load(keys[1], "codec@1") is not None


def test_the_volume_forgets_the_oldest(tmp_path: Path) -> None:
    """So that callers with ever new recordings cannot fill it."""
    for number in range(400):
        path = tmp_path / f"{content_key(bytes([number % 256, number // 256]))}-0.codes"
        path.touch()
        os.utime(path, (1_000_000 + number,) * 2)
    CodeCache(tmp_path, max_files=300).store(KEY, "codec@1", CODES)
    left = list(tmp_path.glob("*.codes"))
    assert len(left) <= 300
    assert CodeCache(tmp_path).load(KEY, "codec@1") is not None
    assert min(each.stat().st_mtime for each in left) > 1_000_000 + 100


def test_removed_codes_are_gone_for_every_codec(tmp_path: Path) -> None:
    """And those of other recordings stay."""
    other = content_key(b"another")
    cache = CodeCache(tmp_path)
    for key, codec_id in ((KEY, "codec@1"), (KEY, "codec@2"), (other, "codec@1")):
        cache.store(key, codec_id, CODES)
    cache.remove(KEY)
    for each in (cache, CodeCache(tmp_path)):
        assert each.load(KEY, "codec@1") is None
        assert each.load(KEY, "codec@2") is None
        assert each.load(other, "codec@1") is not None


def test_a_volume_that_refuses_costs_only_the_restart(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Codes stay in memory, and the log says so."""
    (tmp_path / "codes").touch()
    cache = CodeCache(tmp_path / "codes")
    with caplog.at_level("WARNING"):
        cache.store(KEY, "codec@1", CODES)
    assert "in memory only" in caplog.text
    assert cache.load(KEY, "codec@1") is not None
    cache.remove(KEY)
    assert cache.load(KEY, "codec@1") is None


def test_threads_share_a_cache(tmp_path: Path) -> None:
    """Many at once find what they stored."""
    cache, failures = CodeCache(tmp_path, max_memory_items=3), []

    def work(number: int) -> None:
        for each in range(number, number + 8):
            key, codes = content_key(bytes([each])), np.full((each + 1, 8), each, np.int16)
            cache.store(key, "codec@1", codes)
            found = cache.load(key, "codec@1")
            if found is None or not np.array_equal(found, codes):
                failures.append(each)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
