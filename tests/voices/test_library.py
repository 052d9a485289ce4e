"""Voices: found again whole, told apart, within bounds, and built-in ones left alone."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from higgs_worker.errors import InvalidRequest, UnknownVoice
from higgs_worker.voices.code_cache import content_key
from higgs_worker.voices.library import MAX_VOICES, VoiceLibrary
from tests.fakes.library import WAV, file_of, leftovers, make_wav


@pytest.fixture
def library(tmp_path: Path) -> VoiceLibrary:
    """Return a library whose directory does not exist yet."""
    return VoiceLibrary(tmp_path / "volume" / "voices")


def test_a_voice_is_found_again(library: VoiceLibrary, tmp_path: Path) -> None:
    """By another library on the same volume, with all that was said of it."""
    added = library.add("Anna-1_b", WAV, " Grüß Gott. ", description="calm", licence="CC0")
    voice = VoiceLibrary(tmp_path / "volume" / "voices").get("Anna-1_b")
    assert voice.wav == WAV
    assert voice.key == content_key(WAV)
    assert (voice.name, voice.text, voice.description, voice.licence) == (
        "Anna-1_b",
        "Grüß Gott.",
        "calm",
        "CC0",
    )
    assert voice.duration_s == 0.1
    assert voice.created_at.endswith("+00:00")
    assert not voice.preset
    assert library.list() == (added,)
    assert leftovers(tmp_path / "volume" / "voices") == []


def test_a_library_without_its_directory_is_empty(library: VoiceLibrary, tmp_path: Path) -> None:
    """Reading does not create it."""
    assert library.list() == ()
    with pytest.raises(UnknownVoice, match="none was saved yet"):
        library.get("anna")
    with pytest.raises(UnknownVoice):
        library.remove("anna")
    assert not (tmp_path / "volume").exists()


def test_taken_names_are_told_without_a_look_into_the_files(
    library: VoiceLibrary, tmp_path: Path
) -> None:
    """They are in small letters, and the name of a damaged voice is taken as well."""
    library.add("Anna", WAV, "Hello.")
    file_of(tmp_path, "anna").write_bytes(b"damaged")
    assert library.taken_names() == {"anna"}


def test_a_voice_is_replaced_only_on_purpose(library: VoiceLibrary) -> None:
    """Otherwise the first one stays."""
    library.add("Anna", WAV, "First.")
    with pytest.raises(InvalidRequest, match="'Anna' exists"):
        library.add("Anna", WAV, "Second.")
    assert library.get("Anna").text == "First."
    library.add("Anna", make_wav(fill=8), "Second.", replace=True)
    assert library.get("Anna").text == "Second."
    assert library.get("Anna").key == content_key(make_wav(fill=8))
    library.add("New", WAV, "Third.", replace=True)
    assert [each.name for each in library.list()] == ["Anna", "New"]


@pytest.mark.parametrize("replace", [False, True])
def test_names_that_differ_in_case_are_too_near(library: VoiceLibrary, replace: bool) -> None:
    """The one that exists is found under either spelling; a second one is refused."""
    library.add("Anna", WAV, "First.")
    with pytest.raises(InvalidRequest, match="'anna' is too near to the voice 'Anna'"):
        library.add("anna", WAV, "Second.", replace=replace)
    assert library.get("ANNA").name == "Anna"


def test_a_removed_voice_leaves_nothing(library: VoiceLibrary, tmp_path: Path) -> None:
    """Its codes, from which it could be heard again, go as well."""
    library.add("Anna", WAV, "First.")
    voice = library.get("Anna")
    library.codes.store(voice.key, "codec", np.zeros((3, 8), np.int16))
    library.remove("anna")
    assert library.list() == ()
    assert library.codes.load(voice.key, "codec") is None
    assert [each for each in (tmp_path / "volume").rglob("*") if each.is_file()] == []
    with pytest.raises(UnknownVoice):
        library.remove("Anna")


# Names and bounds


@pytest.mark.parametrize(
    "name",
    [
        *[
            "",
            " ",
            "../x",
            "..",
            ".x",
            "-x",
            "_x",
            "a/b",
            "a\\b",
            "a.b",
            "a b",
            "a\n",
            "a\x00",
            "ä",
        ],
        *["x" * 65, "x" * 300, "/etc/passwd", "C:x", "ｘ", "\ud800"],
        *["CON", "con", "NUL", "Aux", "prn", "COM1", "com0", "LPT9"],
    ],
)
def test_names_that_are_none(library: VoiceLibrary, tmp_path: Path, name: str) -> None:
    """A sentence says what a name is made of, whatever was to be done, and no file is touched."""
    for use in (library.get, library.remove, lambda each: library.add(each, WAV, "Text.")):
        with pytest.raises(InvalidRequest, match=r"name of a voice is|name of a file") as caught:
            use(name)
        assert caught.value.code == "invalid_request"
        assert len(caught.value.message) < 250
    assert not (tmp_path / "volume").exists()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(st.one_of(st.text(max_size=80), st.from_regex(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}\Z")))
def test_any_name_is_kept_or_refused(tmp_path: Path, name: str) -> None:
    """What is accepted comes back under that name, in one file of the directory."""
    library = VoiceLibrary(tmp_path / "voices")
    try:
        library.add(name, WAV, "Text.")
    except InvalidRequest:
        return
    assert library.get(name).name == name
    assert [each.name for each in library.list()] == [name]
    assert [each.name for each in (tmp_path / "voices").iterdir()] == [f"{name.lower()}.zip"]
    assert [each.name for each in tmp_path.iterdir()] == ["voices"]
    library.remove(name)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"text": ""}, "needs the transcript"),
        ({"text": " \n"}, "needs the transcript"),
        ({"text": "x" * 2001}, "transcript of a voice has 2001 characters and at most 2000"),
        ({"text": "a\x00"}, "control character"),
        ({"text": "a\ud800"}, "lone surrogate"),
        ({"description": "x" * 501}, "description of a voice has 501 characters and at most 500"),
        ({"licence": "x" * 501}, "licence note of a voice has 501 characters"),
        ({"wav": b""}, "16-bit mono WAV at 24000 Hz"),
        ({"wav": b"ID3" + bytes(100)}, "16-bit mono WAV at 24000 Hz"),
        ({"wav": WAV[:-1]}, "whole"),
        ({"wav": WAV[:30]}, "16-bit mono WAV"),
        ({"wav": make_wav(0)}, "not empty"),
        ({"wav": make_wav(rate=44_100)}, "24000 Hz"),
        ({"wav": make_wav(channels=2)}, "mono"),
        ({"wav": make_wav(width=1)}, "16-bit"),
        ({"wav": bytes(10_000_001)}, "at most 10 MB"),
    ],
)
def test_what_is_out_of_bounds(
    library: VoiceLibrary, changes: dict[str, object], words: str
) -> None:
    """Nothing is written."""
    with pytest.raises(InvalidRequest, match=words):
        library.add(**({"name": "anna", "wav": WAV, "text": "Text."} | changes))
    assert library.list() == ()


def test_bounds_themselves_are_allowed(library: VoiceLibrary) -> None:
    """The longest of everything is kept."""
    library.add("x" * 64, make_wav(1), "x" * 2000, description="x" * 500, licence="x" * 500)
    assert len(library.get("x" * 64).text) == 2000


def test_a_thousand_voices_are_enough(library: VoiceLibrary, tmp_path: Path) -> None:
    """One more is refused, one in the place of another is not."""
    library.add("voice-0", WAV, "Text.")
    for number in range(1, MAX_VOICES):
        file_of(tmp_path, f"voice-{number}").touch()
    with pytest.raises(InvalidRequest, match="1000 voices already"):
        library.add("another", WAV, "Text.")
    library.add("voice-0", WAV, "Other.", replace=True)


def test_an_unknown_voice_names_the_nearest(library: VoiceLibrary) -> None:
    """At most five, as they are written."""
    for name in ("Anna", "Hannah", "Bert", "Carl", "Dora", "Emil"):
        library.add(name, WAV, "Text.")
    with pytest.raises(UnknownVoice, match="named 'Ana'; did you mean 'Anna'") as caught:
        library.get("Ana")
    assert caught.value.code == "unknown_voice"
    assert caught.value.details["known"][0] == "Anna"
    with pytest.raises(UnknownVoice, match="there are 'Anna', 'Bert'") as caught:
        library.get("xyzzy")
    assert len(caught.value.details["known"]) == 5
    library.remove("Emil")
    with pytest.raises(UnknownVoice, match="known are 'Anna', 'Bert', 'Carl', 'Dora', 'Hannah'"):
        library.get("xyzzy")


# Presets


@pytest.fixture
def with_presets(tmp_path: Path) -> VoiceLibrary:
    """Return a library with the built-in voice Vera."""
    VoiceLibrary(tmp_path / "presets").add("Vera", WAV, "Built in.")
    return VoiceLibrary(tmp_path / "volume" / "voices", presets=tmp_path / "presets")


def test_presets_are_listed_and_read_only(with_presets: VoiceLibrary, tmp_path: Path) -> None:
    """They can be used, but neither replaced nor removed."""
    with_presets.add("Anna", WAV, "Own.")
    assert [(each.name, each.preset) for each in with_presets.list()] == [
        ("Anna", False),
        ("Vera", True),
    ]
    assert with_presets.get("vera").preset
    assert with_presets.get("vera").text == "Built in."
    with pytest.raises(InvalidRequest, match="cannot be removed"):
        with_presets.remove("Vera")
    for name in ("Vera", "vera"):
        with pytest.raises(InvalidRequest, match="built-in voice"):
            with_presets.add(name, WAV, "Mine.", replace=True)
    with pytest.raises(UnknownVoice, match="'Vera'"):
        with_presets.get("Veras")
    assert [each.name for each in (tmp_path / "presets").iterdir()] == ["vera.zip"]


def test_an_own_voice_outlives_a_new_preset(with_presets: VoiceLibrary, tmp_path: Path) -> None:
    """A new image does not change who speaks under a name that was saved before."""
    VoiceLibrary(tmp_path / "volume" / "voices").add("Vera", WAV, "Own.")
    assert with_presets.get("Vera").text == "Own."
    assert [each.preset for each in with_presets.list()] == [False]
    with_presets.remove("Vera")
    assert with_presets.get("Vera").text == "Built in."
