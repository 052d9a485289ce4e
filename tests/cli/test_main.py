"""The command line, on the embedded model."""

import json
from pathlib import Path

import pytest
import soundfile

from higgs_worker.audio import encode
from higgs_worker.cli.main import main
from tests.voices.test_references import babble


@pytest.fixture(autouse=True)
def _volume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Use the embedded model and an empty volume."""
    monkeypatch.setenv("HIGGS_MODEL", "demo")
    monkeypatch.setenv("HIGGS_MAX_SLOTS", "1")
    monkeypatch.setenv("HIGGS_VOLUME", str(tmp_path / "volume"))
    monkeypatch.chdir(tmp_path)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    """Run a command that succeeds; give its JSON."""
    assert main(["--json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("format", ["wav", "flac"])
def test_say_writes_a_whole_file(capsys: pytest.CaptureFixture[str], format: str) -> None:
    """The file tells its true length and is in the form that its name says."""
    said = run(capsys, "say", "Hello.", "-o", f"hello.{format}", "--seed", "1")
    info = soundfile.info(f"hello.{format}")
    assert info.format == format.upper()
    assert info.duration == pytest.approx(said["duration_s"], abs=1e-3)
    assert said["seed"] == 1
    assert 0 < said["first_audio_s"] <= said["total_s"]


def test_say_writes_what_telephones_play(capsys: pytest.CaptureFixture[str]) -> None:
    """G.711 at 8 kHz, by the file's name alone: a byte for each sample, and no header."""
    said = run(capsys, "say", "Hello.", "-o", "hello.ulaw", "--seed", "1")
    assert Path("hello.ulaw").stat().st_size == pytest.approx(8000 * said["duration_s"], abs=8)


def test_8_bits_speak(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded model says three words in a second or two, and they are no silence."""
    monkeypatch.setenv("HIGGS_DTYPE", "int8")
    said = run(capsys, "say", "The sun shines.", "-o", "sun.wav", "--seed", "1")
    pcm, _ = soundfile.read("sun.wav")
    assert 0.7 < said["duration_s"] < 2.5
    assert pcm.std() > 0.02


def test_voices_are_added_heard_and_removed(capsys: pytest.CaptureFixture[str]) -> None:
    """A saved voice is listed, shown, changes the speech, and is gone when removed."""
    Path("anna.wav").write_bytes(babble(1))
    assert all(each["preset"] for each in run(capsys, "voices", "list")["voices"])
    added = run(capsys, "voices", "add", "Anna", "anna.wav", "--text", "What I said.")
    assert added["name"] == "Anna"
    listed = run(capsys, "voices", "list")["voices"]
    assert [each["name"] for each in listed if not each["preset"]] == ["Anna"]
    assert run(capsys, "voices", "show", "anna")["text"] == "What I said."
    run(capsys, "say", "Hello.", "-o", "one.wav", "--seed", "1")
    run(capsys, "say", "Hello.", "-o", "two.wav", "--seed", "1", "--voice", "Anna")
    assert Path("one.wav").read_bytes() != Path("two.wav").read_bytes()
    changes = ("--name", "Hannah", "--description", "calm", "--licence", "mine")
    updated = run(capsys, "voices", "update", "Anna", *changes)
    assert (updated["name"], updated["created_at"]) == ("Hannah", added["created_at"])
    run(capsys, "voices", "update", "Hannah", "--name", "Anna", "--licence", "")
    shown = run(capsys, "voices", "show", "anna")
    assert (shown["description"], shown["licence"]) == ("calm", None)
    assert main(["voices", "update", "Anna"]) == 1
    assert "nothing is to be changed" in capsys.readouterr().err
    run(capsys, "voices", "remove", "Anna")
    assert main(["voices", "show", "Anna"]) == 1
    assert "unknown_voice" in capsys.readouterr().err


def test_a_gpu_that_is_not_there(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is a wrong setting and no defect of ours, and is told before weights are pulled."""
    monkeypatch.setenv("HIGGS_DEVICE", "cuda:63")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for model in ("demo", "bosonai/toy"):
        monkeypatch.setenv("HIGGS_MODEL", model)
        assert main(["say", "Hello."]) == 1
        assert capsys.readouterr().err.startswith("invalid_settings: HIGGS_DEVICE is cuda:63, and ")


def test_words_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json the outcome is a sentence or a line per voice."""
    assert main(["voices", "list"]) == 0
    assert "clara  6.5 s  The morning train" in capsys.readouterr().out
    assert main(["say", "Hi.", "-o", "hi.wav"]) == 0
    assert "hi.wav: " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["say", "", "-o", "a.wav"], "text is empty"),
        (["say", "a", "-o", "a.xyz"], "format must be 'wav'"),
        (["say", "a", "--ref-audio", "none.wav", "--ref-text", "b"], "none.wav cannot be read"),
        (["say", "a", "--voice", "nobody"], "nobody"),
        (["voices", "remove", "../x"], "invalid_request"),
        (["voices", "add", "Bert", "short.wav", "--text", "a"], "invalid_audio"),
    ],
)
def test_what_fails_says_why(
    capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """Exit code 1, a code and a sentence on stderr, nothing on stdout."""
    import numpy as np

    Path("short.wav").write_bytes(encode.encode(np.zeros(2400, np.float32), 24000, "wav"))
    assert main(arguments) == 1
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.out == ""


def test_wrong_use_is_two(capsys: pytest.CaptureFixture[str]) -> None:
    """A command that does not exist is wrong use."""
    with pytest.raises(SystemExit) as caught:
        main(["shout"])
    assert caught.value.code == 2


def test_subtitles_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    """SRT and WebVTT hold every sentence, at the times of the audio."""
    said = run(
        capsys, "say", "Hello there. Good night.", "--seed", "1", "--srt", "a.srt", "--vtt", "a.vtt"
    )
    srt, vtt = Path("a.srt").read_text(), Path("a.vtt").read_text()
    assert srt.startswith("1\n00:00:00,000 --> ")
    assert "Hello there." in srt
    assert "Good night." in srt
    assert vtt.startswith("WEBVTT")
    minutes, seconds = divmod(said["duration_s"], 60)
    assert f"--> 00:{int(minutes):02}:{seconds:06.3f}" in vtt


def test_a_dialogue_from_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Speakers take their voices by name; one without a voice is the model's choice."""
    run(
        capsys, "say", "[Anna] Hi. [Bert] Ho.", "--speaker", "Anna=clara", "--speaker", "Bert=",
        "--retries", "0", "-o", "two.wav",
    )  # fmt: skip
    assert soundfile.info("two.wav").duration > 0
