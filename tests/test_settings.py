"""The environment: defaults, bounds, and complaints an operator can act on."""

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from higgs_worker.environment import Choice, Integer, Text, Variable, variables_of
from higgs_worker.errors import InvalidSettings
from higgs_worker.settings import Settings, nearest_name

RESOLVED = {"s3", "given", "unknown_names"}
"""What no variable fills by itself."""


def test_defaults_speak_with_the_published_model() -> None:
    """An empty environment gives the published model and conservative limits."""
    settings = Settings.from_env({"XDG_CACHE_HOME": "/somewhere"})
    assert settings == Settings(volume=Path("/somewhere/higgs"))
    assert settings.model == "bosonai/higgs-audio-v2-generation-3B-base"
    assert settings.codec == "bosonai/higgs-audio-v2-tokenizer"
    assert (settings.max_slots, settings.max_length, settings.max_text_chars) == (
        None,
        4096,
        20_000,
    )
    assert settings.save_dir is None


def test_every_variable_arrives() -> None:
    """Each variable fills its own field, with its own type."""
    environ = {
        "HIGGS_MODEL": "/models/higgs",
        "HIGGS_MODEL_REVISION": "v2",
        "HIGGS_CODEC": "/models/codec",
        "HIGGS_CODEC_REVISION": "v1",
        "HF_TOKEN": "hf_secret",
        "HF_ENDPOINT": "https://mirror.example",
        "HF_HOME": "/cache",
        "HF_HUB_OFFLINE": "1",
        "HIGGS_DEVICE": "cuda:1",
        "HIGGS_DTYPE": "bfloat16",
        "HIGGS_MAX_SLOTS": "16",
        "HIGGS_MAX_LENGTH": "8192",
        "HIGGS_MAX_TEXT_CHARS": "5000",
        "HIGGS_SAVE_DIR": "/tmp/out",
        "HIGGS_VOLUME": "/volume",
        "HIGGS_MAX_REFERENCE_S": "20",
        "HIGGS_MAX_REFERENCE_BYTES": "1000000",
        "HIGGS_ALLOWED_HOSTS": "Files.example, 127.0.0.1:9000",
        "HIGGS_LOG_LEVEL": "debug",
        "HIGGS_CONCURRENCY": "5",
        "HIGGS_QUEUE_SIZE": "99",
        "HIGGS_JOB_TIMEOUT_S": "300",
        "HIGGS_GRACE_S": "0",
        "HIGGS_STREAM": "true",
        "HIGGS_PRELOAD": "Never",
        "HIGGS_STARTED_AT": "1767225600",
        "RUNPOD_API_KEY": "rpa_secret",
    }
    assert environ.keys() == {each.name for each in variables_of(Settings).values()}
    assert Settings.from_env(environ) == Settings(
        model="/models/higgs",
        model_revision="v2",
        codec="/models/codec",
        codec_revision="v1",
        hf_token="hf_secret",
        hf_endpoint="https://mirror.example",
        hf_home=Path("/cache"),
        hf_hub_offline=True,
        device="cuda:1",
        dtype="bfloat16",
        max_slots=16,
        max_length=8192,
        max_text_chars=5000,
        save_dir=Path("/tmp/out"),
        volume=Path("/volume"),
        max_reference_s=20,
        max_reference_bytes=1_000_000,
        allowed_hosts=frozenset({"files.example", "127.0.0.1:9000"}),
        log_level="DEBUG",
        concurrency=5,
        queue_size=99,
        job_timeout_s=300,
        grace_s=0,
        stream=True,
        preload="never",
        started_at=1767225600,
        runpod_api_key="rpa_secret",
    )


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("HIGGS_CONCURRENCY", "0"),
        ("HIGGS_CONCURRENCY", "257"),
        ("HIGGS_JOB_TIMEOUT_S", "0"),
        ("HIGGS_JOB_TIMEOUT_S", "1.5"),
        ("HIGGS_GRACE_S", "-1"),
        ("HIGGS_QUEUE_SIZE", "0"),
        ("HIGGS_STREAM", "maybe"),
        ("HIGGS_PRELOAD", "sometimes"),
    ],
)
def test_how_jobs_are_served_has_bounds(name: str, wrong: str) -> None:
    """A wrong value is named with what is allowed, not rounded or ignored."""
    with pytest.raises(InvalidSettings, match=f"{name} is '{wrong}'; it must be"):
        Settings.from_env({name: wrong})


def test_the_environment_of_the_process_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without an argument the variables of this process count."""
    monkeypatch.setenv("HIGGS_MAX_SLOTS", "3")
    assert Settings.from_env().max_slots == 3


@pytest.mark.parametrize("blank", ["", "  "])
def test_empty_is_unset(blank: str) -> None:
    """A template's empty variable means the default."""
    assert Settings.from_env({"HIGGS_MAX_LENGTH": blank}).max_length == 4096


def test_the_demo_model_brings_its_codec() -> None:
    """`demo` needs no second variable, and a codec that was named stays."""
    assert Settings.from_env({"HIGGS_MODEL": "demo"}).codec == "demo"
    assert Settings.from_env({"HIGGS_MODEL": "demo", "HIGGS_CODEC": "/c"}).codec == "/c"


def test_all_wrong_values_are_named_at_once() -> None:
    """The error names every wrong variable, its value and what is allowed."""
    wrong = {"HIGGS_MAX_SLOTS": "many", "HIGGS_DEVICE": "tpu", "HIGGS_MAX_LENGTH": "255"}
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env(wrong)
    assert "HIGGS_MAX_SLOTS is 'many'; it must be a whole number from 1 to 256" in str(caught.value)
    assert "one of auto, cpu, cuda, cuda:N" in str(caught.value)
    assert set(caught.value.details["errors"]) == set(wrong)


@pytest.mark.parametrize("number", ["0", "257", "8.0", "1_0", "٨", "0x8", "9" * 5000])
def test_numbers_are_plain_and_within_bounds(number: str) -> None:
    """Nothing but ASCII digits within the bounds is a number, and little of it is quoted."""
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({"HIGGS_MAX_SLOTS": number})
    assert len(str(caught.value)) < 150


def test_control_characters_are_no_path() -> None:
    """A stray newline in a template is reported instead of searched for."""
    with pytest.raises(InvalidSettings, match="one line"):
        Settings.from_env({"HIGGS_MODEL": "a\nb"})


def test_a_secret_is_never_shown() -> None:
    """Neither the settings' text nor the complaint about a wrong token holds any of it."""
    assert "hf_secret" not in repr(Settings.from_env({"HF_TOKEN": "hf_secret"}))
    with pytest.raises(InvalidSettings, match="HF_TOKEN is not usable") as caught:
        Settings.from_env({"HF_TOKEN": "hf_secret hf_other"})
    assert "hf_" not in repr(caught.value) + str(caught.value.details)


@pytest.mark.parametrize("address", ["huggingface.co", "ftp://a", "https://", "https://me@a"])
def test_the_hub_has_a_web_address(address: str) -> None:
    """What cannot be the hub is refused, and not repeated: a password may be in it."""
    with pytest.raises(InvalidSettings, match="HF_ENDPOINT is not usable") as caught:
        Settings.from_env({"HF_ENDPOINT": address})
    assert address not in caught.value.message.partition(";")[0]


def test_unknown_names_are_reported_with_the_nearest() -> None:
    """A misspelled variable of ours is noticed; others are not ours."""
    settings = Settings.from_env({"HIGGS_MAX_SLOT": "4", "HOME": "/root"})
    assert settings.unknown_names == ("HIGGS_MAX_SLOT",)
    assert nearest_name("HIGGS_MAX_SLOT") == "HIGGS_MAX_SLOTS"
    assert nearest_name("HIGGS_ZZZ") is None


def test_settings_are_frozen() -> None:
    """Nothing changes settings after they were read."""
    with pytest.raises(FrozenInstanceError):
        Settings().max_slots = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "variable"), variables_of(Settings).items(), ids=variables_of(Settings)
)
def test_every_setting_is_described_and_bounded(name: str, variable: Variable) -> None:
    """No setting without a sentence of meaning, and bounds that hold its default."""
    assert variable.name in (f"HIGGS_{name.upper()}", name.upper())
    assert variable.name.startswith(("HIGGS_", "HF_", "RUNPOD_"))
    assert len(variable.meaning) > 10
    assert variable.meaning.endswith(".")
    assert isinstance(variable.kind, Integer | Choice | Text)
    assert variable.kind.allowed
    if variable.default:
        assert variable.kind.parse(str(variable.default)) == variable.default


def test_every_field_has_a_variable() -> None:
    """Nothing can be set in the code alone."""
    assert {each.name for each in fields(Settings)} == variables_of(Settings).keys() | RESOLVED
