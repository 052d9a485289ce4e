"""Voices as the embedded model speaks with them; one model for all of these tests."""

import base64
import logging
from pathlib import Path

import pytest

from higgs_worker.api.request import SpeechRequest
from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.load import load_model
from higgs_worker.reference_voices import ReferenceVoices
from higgs_worker.settings import Settings
from higgs_worker.speech.model import LoadedModel
from higgs_worker.speech.service import SpeechService
from tests.fakes import speeches
from tests.voices.test_references import babble, choice


@pytest.fixture(scope="module")
def speaker(tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """Return the embedded model, with a volume that holds no voices and no codes at first."""
    volume = tmp_path_factory.mktemp("volume")
    settings = {"HIGGS_MODEL": "demo", "HIGGS_MAX_LENGTH": "1024", "HIGGS_MAX_SLOTS": "2"}
    return load_model(Settings.from_env(settings | {"HIGGS_VOLUME": str(volume)}))


def test_the_voice_is_heard(speaker: LoadedModel) -> None:
    """Another recording or transcript gives other audio; the same gives the same."""

    def speak(**voice: object) -> bytes:
        raw = {"text": "Hello.", "seed": 1, "max_duration_s": 0.4}
        request = SpeechRequest.parse(raw | voice, max_text_chars=100)
        return speeches.speak(SpeechService(lambda: speaker), request)

    one, two = (base64.b64encode(babble(seed)).decode() for seed in (1, 2))
    heard = [
        speak(),
        speak(voice={"audio": one, "text": "a"}),
        speak(voice={"audio": two, "text": "a"}),
        speak(voice={"audio": one, "text": "b"}),
    ]
    assert len(set(heard)) == 4
    assert speak(ref_audio=one, ref_text="a") == heard[1]


def test_a_worker_has_one_encoder(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The first new voice loads it, saved or spoken; all others use it again."""
    caplog.set_level(logging.INFO)
    raw = {"HIGGS_MODEL": "demo", "HIGGS_MAX_SLOTS": "1", "HIGGS_VOLUME": str(tmp_path)}
    settings = Settings.from_env(raw)
    worker = ReferenceVoices(settings)
    fresh = load_model(settings, references=worker)
    assert "encoder loaded" not in caplog.messages
    worker.load().save("anna", choice(babble(8)))
    for seed in (9, 10):
        fresh.references.resolve(choice(babble(seed)))
    assert caplog.messages.count("encoder loaded") == 1
    assert worker.load() is fresh.references


def test_a_codec_without_encoder_says_so(tmp_path: Path) -> None:
    """A decoder-only codec speaks, and a new voice is refused in words."""
    from safetensors.torch import load_file, save_file

    from higgs_worker.codec.loader import NOT_NEEDED_PREFIXES
    from higgs_worker.weights.locate import DEMO_DIRECTORY

    codec = DEMO_DIRECTORY / "codec"
    tensors = load_file(codec / "model.safetensors")
    kept = {name: t for name, t in tensors.items() if not name.startswith(NOT_NEEDED_PREFIXES)}
    save_file(kept, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text((codec / "config.json").read_text())
    settings = {"HIGGS_MODEL": "demo", "HIGGS_CODEC": str(tmp_path), "HIGGS_MAX_SLOTS": "1"}
    speaker = load_model(Settings.from_env(settings | {"HIGGS_VOLUME": str(tmp_path)}))
    with pytest.raises(InvalidCheckpoint, match="not take in a new voice"):
        speaker.references.resolve(choice(babble(3)))


def test_a_preset_speaks(speaker: LoadedModel, caplog: pytest.LogCaptureFixture) -> None:
    """A request names a preset and is spoken with it; its codes are made once and kept."""
    caplog.set_level(logging.INFO)
    service = SpeechService(lambda: speaker)

    def speak(voice: str | None) -> bytes:
        fields = {"text": "Hello.", "max_duration_s": 0.4, "seed": 1}
        voiced = fields if voice is None else fields | {"voice": voice}
        request = SpeechRequest.parse(voiced, max_text_chars=100)
        return speeches.speak(service, request)

    bram = speak("bram")
    assert len({bram, speak("Clara"), speak(None)}) == 3
    library = speaker.references.library
    voice = library.get("bram")
    codes = library.codes.load(voice.key, f"{speaker.references.codec_id}, as stored")
    assert codes is not None
    assert len(codes) == pytest.approx(25 * voice.duration_s, abs=2)
    assert len(speak("BRAM")) == len(bram)
    assert [record.message for record in caplog.records].count("encoded a reference") == 2
