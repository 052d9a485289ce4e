"""Voices on the volume: damage, several writers at once, and volumes that refuse."""

import codecs
import io
import json
import os
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from higgs_worker.errors import DamagedVoice, InvalidRequest, VolumeUnusable
from higgs_worker.voices.library import VoiceLibrary
from tests.fakes.library import WAV, file_of, leftovers, make_wav
from tests.fakes.voice_writer import VoiceWriter


@pytest.fixture
def library(tmp_path: Path) -> VoiceLibrary:
    """Return a library whose directory does not exist yet."""
    return VoiceLibrary(tmp_path / "volume" / "voices")


# Damage


def rewritten(data: bytes, **changes: object) -> bytes:
    """Return a voice's file with other values in its JSON; None drops a key."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        about, wav = json.loads(archive.read("voice.json")), archive.read("voice.wav")
    about = {key: each for key, each in (about | changes).items() if each != "dropped"}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("voice.json", json.dumps(about))
        archive.writestr("voice.wav", wav)
    return file.getvalue()


DAMAGES = {
    "empty": lambda data: b"",
    "cut": lambda data: data[:-100],
    "noise": lambda data: os.urandom(5000),
    "another bit": lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:],
    "other sound": lambda data: rewritten(data, sha256="0" * 64),
    "renamed": lambda data: rewritten(data, name="Bert"),
    "no text": lambda data: rewritten(data, text="dropped"),
    "wrong type": lambda data: rewritten(data, licence=["CC0"]),
    "no duration": lambda data: rewritten(data, duration_s=float("nan")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_voice_spoils_no_other(
    library: VoiceLibrary, tmp_path: Path, damage: str
) -> None:
    """It says what is wrong, the rest is listed, and it can be replaced or removed."""
    library.add("Anna", WAV, "Text.")
    library.add("Carl", WAV, "Text.")
    path = file_of(tmp_path, "Anna")
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(DamagedVoice, match="'anna' is damaged or was renamed") as caught:
        library.get("Anna")
    assert caught.value.code == "damaged_voice"
    assert str(tmp_path) not in caught.value.message
    listed = library.list()
    assert [each.name.lower() for each in listed] == ["anna", "carl"]
    assert listed[1].problem is None
    if damage not in ("another bit", "other sound"):  # a list does not read the sound
        assert "damaged" in (listed[0].problem or "")
    assert library.get("Carl").wav == WAV
    library.add("Anna", WAV, "Repaired.", replace=True)
    assert library.get("Anna").text == "Repaired."
    path.write_bytes(b"")
    library.remove("Anna")
    assert [each.name for each in library.list()] == ["Carl"]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(st.data())
def test_any_damage_is_a_sentence(tmp_path: Path, data: st.DataObject) -> None:
    """A changed byte is either without effect or found; nothing else is ever raised."""
    library = VoiceLibrary(tmp_path / "voices")
    library.add("anna", make_wav(50), "Text.", replace=True)
    path = tmp_path / "voices" / "anna.zip"
    whole = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(whole) - 1))
    whole[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(whole)
    assert len(library.list()) == 1
    try:
        voice = library.get("anna")
    except DamagedVoice:
        return
    assert (voice.wav, voice.text) == (make_wav(50), "Text.")


def test_other_files_are_not_voices(library: VoiceLibrary, tmp_path: Path) -> None:
    """What lies there besides is neither listed nor touched."""
    library.add("anna", WAV, "Text.")
    for name in ("notes.txt", ".hidden.zip", "a b.zip", "ä.zip"):
        (tmp_path / "volume" / "voices" / name).write_text("mine")
    (tmp_path / "volume" / "voices" / "folder.zip").mkdir()
    assert [each.name for each in library.list() if each.problem is None] == ["anna"]
    assert (tmp_path / "volume" / "voices" / ".hidden.zip").read_text() == "mine"


# Several writers, and volumes that refuse


def test_two_workers_add_at_once(library: VoiceLibrary, tmp_path: Path) -> None:
    """Of a name, in any case, exactly one succeeds; of other names all do; every file is whole."""
    shared = [f"Same-{number}" for number in range(40)]
    directory = tmp_path / "volume" / "voices"
    names = [[*shared, "one"], [*[each.lower() for each in shared], "two"]]
    workers = [VoiceWriter(directory, fill, names[fill - 1]) for fill in (1, 2)]
    for worker in workers:
        worker.go()
    said = [[worker.next() for _ in names[0]] for worker in workers]
    for number, name in enumerate(shared):
        won = [each[number] for each in said if isinstance(each[number], str)]
        assert len(won) == 1
        voice = library.get(name)
        assert voice.name == won[0]
        fill = 1 if won[0] == name else 2
        assert (voice.wav, voice.text) == (make_wav(fill=fill), f"text {fill}")
    assert [each[-1] for each in said] == ["one", "two"]
    assert len(library.list()) == 42
    assert leftovers(directory) == []


def test_a_worker_killed_in_the_middle(library: VoiceLibrary, tmp_path: Path) -> None:
    """Whatever it wrote is whole, and what it left behind goes once it is old."""
    directory = tmp_path / "volume" / "voices"
    worker = VoiceWriter(directory, 1, [f"voice-{number}" for number in range(900)])
    worker.go()
    assert worker.next() == "voice-0"
    worker.kill()
    old, new = directory / ".anna.0.tmp", directory / ".bert.1.tmp"
    for path in (old, new):
        path.write_bytes(b"half a vo")
    os.utime(old, (time.time() - 7200,) * 2)
    listed = library.list()
    assert listed
    assert all(each.problem is None for each in listed)
    assert all(library.get(each.name).wav == make_wav(fill=1) for each in listed)
    library.add("anna", WAV, "Text.")
    assert not old.exists()
    assert new.exists()  # its writer may be at work


def test_a_volume_without_hard_links(
    library: VoiceLibrary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The first writer still wins, and the file is still whole."""

    def link(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    library.add("Anna", WAV, "First.")
    with pytest.raises(InvalidRequest, match="exists"):
        library.add("Anna", WAV, "Second.")
    with pytest.raises(InvalidRequest, match="too near"):
        library.add("anna", WAV, "Second.")
    assert library.get("Anna").text == "First."
    assert leftovers(tmp_path / "volume" / "voices") == []


def test_a_quicker_worker_wins_without_hard_links(
    library: VoiceLibrary, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A file that appears at the last moment is left as it is."""

    def link(_: Path, target: Path) -> None:
        target.write_bytes(b"another worker's")
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(InvalidRequest, match="exists"):
        library.add("Anna", WAV, "Text.")
    assert file_of(tmp_path, "Anna").read_bytes() == b"another worker's"


@pytest.fixture
def read_only() -> Iterator[Path]:
    """Return a directory with the voice Anna in which nobody may write, not even root."""
    with tempfile.TemporaryDirectory() as name:
        path = Path(name)
        VoiceLibrary(path).add("Anna", WAV, "Text.")
        path.chmod(0o555)
        user = os.geteuid()
        try:
            if user == 0:
                # zipfile needs it, and Python may lie where only root can read.
                codecs.lookup("cp437")
                os.seteuid(65534)
            yield path
        finally:
            os.seteuid(user)
            path.chmod(0o755)


def test_a_read_only_volume_can_be_read(read_only: Path) -> None:
    """Voices speak; adding and removing say what the operator should do."""
    library = VoiceLibrary(read_only)
    assert library.get("Anna").wav == WAV
    for write in (lambda: library.add("Bert", WAV, "Text."), lambda: library.remove("Anna")):
        with pytest.raises(VolumeUnusable, match=r"Permission denied.*writable") as caught:
            write()
        assert caught.value.code == "volume_unusable"
        assert str(read_only) not in caught.value.message
    assert [each.name for each in library.list()] == ["Anna"]


def test_a_file_where_the_directory_should_be(tmp_path: Path) -> None:
    """Listing finds nothing, adding says why it cannot."""
    (tmp_path / "voices").touch()
    library = VoiceLibrary(tmp_path / "voices")
    assert library.list() == ()
    with pytest.raises(VolumeUnusable):
        library.add("anna", WAV, "Text.")


def test_a_full_volume_keeps_what_was_there(library: VoiceLibrary, tmp_path: Path) -> None:
    """A voice that does not fit leaves the one it should replace, and no half of itself."""
    library.add("Anna", WAV, "First.")
    directory = tmp_path / "volume" / "voices"
    writer = VoiceWriter(directory, 8, ["Anna"], replace=True, max_file_bytes=1000)
    writer.go()
    assert isinstance(writer.next(), VolumeUnusable)
    assert library.get("Anna").text == "First."
    assert leftovers(tmp_path / "volume" / "voices") == []
