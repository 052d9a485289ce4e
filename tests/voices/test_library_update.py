"""Voices that are changed: all or nothing, beside other workers, and their recordings stay."""

import os
from dataclasses import replace
from pathlib import Path
from threading import Thread

import numpy as np
import pytest

from higgs_worker.errors import (
    DamagedVoice,
    InvalidAudio,
    InvalidRequest,
    UnknownVoice,
    VolumeUnusable,
)
from higgs_worker.voices.library import VoiceLibrary
from higgs_worker.voices.voice_file import pack
from tests.fakes.library import file_of, leftovers, make_wav

SECOND = make_wav(24_000)


@pytest.fixture
def library(tmp_path: Path) -> VoiceLibrary:
    """Return a library with the voice Anna, whose recording lasts a second."""
    VoiceLibrary(tmp_path / "presets").add("Vera", SECOND, "Built in.")
    library = VoiceLibrary(tmp_path / "volume" / "voices", presets=tmp_path / "presets")
    library.add("Anna", SECOND, "One word.", description="calm", licence="CC0")
    return library


def names(library: VoiceLibrary) -> list[str]:
    """Return the names of the voices that are not built in."""
    return [each.name for each in library.list() if not each.preset]


def test_what_is_not_named_stays(library: VoiceLibrary, tmp_path: Path) -> None:
    """The recording, its codes, and since when the voice is there, whatever else is changed."""
    written = replace(library.get("Anna").info, created_at="2020-01-01T00:00:00+00:00")
    file_of(tmp_path, "anna").write_bytes(pack(written, SECOND))
    first = library.get("Anna")
    codes = np.zeros((25, 8), np.int16)
    library.codes.store(first.key, "codec", codes)
    told = library.update("anna", text=" Two words. ", description="")
    assert (told.info.text, told.info.description, told.info.licence) == ("Two words.", None, "CC0")
    told = library.update("Anna", new_name="Hannah", licence="mine")
    found = library.get("Hannah")
    assert found.info == told.info
    assert (found.text, found.description, found.licence) == ("Two words.", None, "mine")
    assert (found.wav, found.key, found.created_at) == (first.wav, first.key, first.created_at)
    assert library.codes.load(found.key, "codec") is not None
    assert names(library) == ["Hannah"]
    assert leftovers(tmp_path / "volume" / "voices") == []
    with pytest.raises(UnknownVoice, match="known are 'Hannah'"):
        library.get("Anna")


def test_only_the_case_may_change(library: VoiceLibrary, tmp_path: Path) -> None:
    """The file stays the same one, and the voice is found under either spelling."""
    library.update("anna", new_name="ANNA")
    assert names(library) == ["ANNA"]
    assert library.get("anna").name == "ANNA"
    assert library.update("anna", new_name="ANNA").info.name == "ANNA"  # as it is already
    assert leftovers(tmp_path / "volume" / "voices") == []


def test_a_name_that_is_taken_is_refused(library: VoiceLibrary, tmp_path: Path) -> None:
    """Whoever has it, in whichever case, damaged or built in; both voices stay as they are."""
    library.add("Bert", make_wav(24_000, fill=9), "Another.")
    file_of(tmp_path, "carl").write_bytes(b"damaged")
    for name, words in [
        ("Bert", "a voice named 'Bert' exists; choose another name, or remove that one first"),
        ("BERT", "'BERT' is too near to the voice 'Bert'"),
        ("Carl", "a voice named 'Carl' exists"),
        ("Vera", "'Vera' is the name of a built-in voice; choose another"),
        ("vera", "built-in voice"),
        ("../x", "name of a voice is"),
        ("con", "name of a file"),
        ("", "name of a voice is"),
    ]:
        with pytest.raises(InvalidRequest, match=words):
            library.update("Anna", new_name=name, text="Two words.")
    assert library.get("Anna").text == "One word."
    assert library.get("Bert").text == "Another."
    assert names(library) == ["Anna", "Bert", "carl"]
    assert leftovers(tmp_path / "volume" / "voices") == []


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "nothing is to be changed; of a voice, send a new name, text, description or licence"),
        ({"text": ""}, "needs the transcript"),
        ({"text": "x" * 2001}, "transcript of a voice has 2001 characters"),
        ({"text": "a\x00"}, "control character"),
        ({"description": "x" * 501}, "description of a voice has 501 characters"),
        ({"licence": "a\ud800"}, "lone surrogate"),
    ],
)
def test_what_is_out_of_bounds(
    library: VoiceLibrary, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    """Nothing is written."""
    before = file_of(tmp_path, "anna").stat().st_mtime_ns
    with pytest.raises(InvalidRequest, match=words):
        library.update("Anna", **changes)
    assert file_of(tmp_path, "anna").stat().st_mtime_ns == before


def test_a_new_transcript_must_fit(library: VoiceLibrary) -> None:
    """It is compared with the recording as that of a new voice is; an old one is let be."""
    with pytest.raises(InvalidAudio, match="transcript takes about"):
        library.update("Anna", text="Far too much for a single second, whoever says it. " * 3)
    assert library.get("Anna").text == "One word."
    doubtful = "As much as nobody ever says in one short second."
    (warning,) = library.update("Anna", text=doubtful).warnings
    assert "1.0 s" in warning
    assert library.update("Anna", description="hasty").warnings == ()


def test_whose_voice_it_is(library: VoiceLibrary, tmp_path: Path) -> None:
    """What is built in, unknown or damaged is not changed, and the error says what to do."""
    with pytest.raises(InvalidRequest, match="built-in voice and cannot be changed; save a rec"):
        library.update("Vera", text="Mine.")
    with pytest.raises(UnknownVoice, match=r"named 'Ana'; .*'Anna'"):
        library.update("Ana", text="Text.")
    file_of(tmp_path, "Anna").write_bytes(b"damaged")
    with pytest.raises(DamagedVoice, match="replace or remove it"):
        library.update("Anna", text="Text.")
    assert file_of(tmp_path, "Anna").read_bytes() == b"damaged"


def test_an_own_voice_in_front_of_a_preset(library: VoiceLibrary, tmp_path: Path) -> None:
    """It can be changed under its name, and renamed; then the preset is heard again."""
    VoiceLibrary(tmp_path / "volume" / "voices").add("Vera", SECOND, "Own.")
    library.update("Vera", text="Changed.")
    assert library.get("Vera").text == "Changed."
    library.update("Vera", new_name="Wanda")
    assert library.get("Wanda").text == "Changed."
    assert library.get("Vera").text == "Built in."


# Beside other workers


def test_a_crash_in_the_middle_loses_nothing(
    library: VoiceLibrary, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the two steps of a new name both files are there, and whole."""

    class Killed(BaseException):
        pass

    def rename(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(Killed):
            library.update("Anna", new_name="Bert")
    assert names(library) == ["Anna", "Bert"]
    assert library.get("Anna").wav == library.get("Bert").wav == SECOND


def test_a_volume_that_refuses_the_second_step(
    library: VoiceLibrary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one is undone: the voice has its old name, and no other."""
    original = Path.rename

    def rename(path: Path, target: Path) -> Path:
        if path.stem == "anna":
            raise PermissionError(1, "Operation not permitted")
        return original(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        with pytest.raises(VolumeUnusable, match="writable"):
            library.update("Anna", new_name="Bert")
    assert names(library) == ["Anna"]
    assert leftovers(tmp_path / "volume" / "voices") == []


@pytest.mark.parametrize("new_name", ["Bert", "anna", None])
@pytest.mark.parametrize("is_removed", [True, False])
def test_a_quicker_worker_is_not_undone(
    library: VoiceLibrary,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    new_name: str | None,
    is_removed: bool,
) -> None:
    """Who replaces or removes the voice while it is changed wins, and the change says so."""
    other = VoiceLibrary(tmp_path / "volume" / "voices")
    original = os.fsync

    def fsync(descriptor: int) -> None:
        original(descriptor)
        monkeypatch.setattr(os, "fsync", original)
        if is_removed:
            other.remove("Anna")
        else:
            other.add("Anna", make_wav(24_000, fill=9), "Another.", replace=True)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(InvalidRequest, match="by somebody else at this moment"):
        library.update("Anna", new_name=new_name, text="Two words.")
    assert names(library) == ([] if is_removed else ["Anna"])
    if not is_removed:
        assert library.get("Anna").text == "Another."
    assert leftovers(tmp_path / "volume" / "voices") == []


def test_many_new_names_at_once(library: VoiceLibrary, tmp_path: Path) -> None:
    """The voice has one of them in the end, whole, and exactly one was told that it worked."""
    done: list[str] = []

    def rename(name: str) -> None:
        try:
            VoiceLibrary(tmp_path / "volume" / "voices").update("Anna", new_name=name)
        except InvalidRequest:
            return
        done.append(name)

    threads = [Thread(target=rename, args=(f"name-{number}",)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(done) == 1
    assert names(library) == done
    assert library.get(done[0]).wav == SECOND
    assert leftovers(tmp_path / "volume" / "voices") == []


def test_without_hard_links(library: VoiceLibrary, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new name works there too, and a taken one is refused."""

    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    library.add("Bert", SECOND, "Another.")
    with pytest.raises(InvalidRequest, match="exists"):
        library.update("Anna", new_name="Bert")
    library.update("Anna", new_name="Carl")
    assert names(library) == ["Bert", "Carl"]
