"""The environment: defaults, bounds, and complaints an operator can act on."""

import itertools
from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from higgs_worker.environment import (
    Choice,
    ForeignSwitch,
    Integer,
    Text,
    Variable,
    variables_of,
)
from higgs_worker.errors import InvalidSettings
from higgs_worker.settings import Settings, variables

RESOLVED = {"s3", "given", "warnings"}
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
        "HF_HUB_CACHE": "~/hub",
        "HF_HUB_OFFLINE": "1",
        "HIGGS_VERIFY": "always",
        "HIGGS_DEVICE": "cuda:1",
        "HIGGS_DTYPE": "bfloat16",
        "HIGGS_KERNELS": "torch",
        "HIGGS_CODEC_PRECISION": "TF32",
        "HIGGS_MAX_SLOTS": "16",
        "HIGGS_MAX_LENGTH": "8192",
        "HIGGS_MAX_TEXT_CHARS": "5000",
        "HIGGS_SAVE_DIR": "/tmp/out",
        "HIGGS_SERVE": "http",
        "HIGGS_HOST": "0.0.0.0",
        "PORT": "8000",
        "PORT_HEALTH": "8001",
        "HIGGS_API_KEY": "the-key-of-the-server",
        "HIGGS_CORS_ORIGINS": "https://App.example, http://localhost:3000",
        "HIGGS_MAX_BODY_BYTES": "5000000",
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
        "HIGGS_EARLY_PING": "4",
        "RUNPOD_API_KEY": "rpa_secret",
        "RUNPOD_LOG_LEVEL": "debug",
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
        hf_hub_cache=Path("~/hub").expanduser(),
        hf_hub_offline=True,
        verify="always",
        device="cuda:1",
        dtype="bfloat16",
        kernels="torch",
        codec_precision="tf32",
        max_slots=16,
        max_length=8192,
        max_text_chars=5000,
        save_dir=Path("/tmp/out"),
        serve="http",
        host="0.0.0.0",
        port=8000,
        health_port=8001,
        api_key="the-key-of-the-server",
        cors_origins=frozenset({"https://app.example", "http://localhost:3000"}),
        max_body_bytes=5_000_000,
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
        early_ping=4,
        runpod_api_key="rpa_secret",
        runpod_log_level="DEBUG",
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
        ("RUNPOD_LOG_LEVEL", "WARNING"),
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


SPELLINGS = (
    '"{}"',
    "“{}”",
    "{{{{ RUNPOD_SECRET_x }}}}",
    "https://{{{{RUNPOD_SECRET_x}}}}/{}",
    "<your-{}>",
    "None",
    "undefined",
)


@pytest.mark.parametrize("variable", variables(), ids=lambda each: each.name)
def test_what_was_pasted_badly_is_refused(variable: Variable) -> None:
    """Of every variable and under every name of it, and never with the value."""
    uploads = {"HIGGS_S3_BUCKET": "results"}
    for name, spelling in itertools.product(variable.names, SPELLINGS):
        if spelling in ("None", "undefined") and isinstance(variable.kind, ForeignSwitch):
            continue  # its library takes them for off
        with pytest.raises(InvalidSettings) as caught:
            Settings.from_env(uploads | {name: spelling.format("hunter2")})
        assert name in caught.value.details["errors"]
        assert "hunter2" not in caught.value.message


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("'hunter2'", "HF_TOKEN has quotes around its value; leave them out"),
        ("null", "HF_TOKEN says 'null', as programs write no value"),
        ("{{RUNPOD_SECRET_hf}}", "HF_TOKEN holds a placeholder, {{ … }}, that was not filled in"),
        ("${HUNTER2}", "HF_TOKEN is a placeholder; put the value in its place"),
        ("HF_TOKEN=hunter2", "HF_TOKEN repeats its name in its value; leave the name out"),
        ("export HF_TOKEN = hunter2", "HF_TOKEN repeats its name in its value"),
        ("********", "HF_TOKEN holds what hides a value, not the value; copy the value itself"),
        ("hun\nter2", "HF_TOKEN is not usable; it must be one word"),
        ("hunter2\u200b", "HF_TOKEN is not usable; it must be one word"),
    ],
)
def test_the_reason_why_a_secret_is_refused(value: str, reason: str) -> None:
    """It tells what is wrong with it, and shows none of it."""
    with pytest.raises(InvalidSettings) as caught:
        Settings.from_env({"HF_TOKEN": value})
    assert reason in caught.value.message
    assert "hunter2" not in caught.value.message.lower()


def test_space_around_a_value_is_nothing() -> None:
    """A line break after a pasted secret does not become part of it."""
    assert Settings.from_env({"HF_TOKEN": " hf_secret\n"}).hf_token == "hf_secret"


@pytest.mark.parametrize(
    ("word", "is_on"),
    [("1", 1), ("ON", 1), ("Yes", 1), ("TRUE", 1), ("0", 0), ("off", 0), ("t", 0)],
)
def test_a_switch_of_the_hub_is_read_as_the_hub_does(word: str, is_on: int) -> None:
    """Four words are on, in any case; no word ends the worker."""
    from huggingface_hub.constants import _is_true

    assert _is_true(word) is bool(is_on)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        assert Settings.from_env({name: word}).hf_hub_offline is bool(is_on)


@pytest.mark.parametrize("word", ["true", "ON", "yes", "1"])
def test_a_switch_of_ours_takes_the_usual_words(word: str) -> None:
    """On in all of them, and off in their opposites."""
    off = {"true": "False", "on": "off", "yes": "no", "1": "0"}[word.lower()]
    assert Settings.from_env({"HIGGS_STREAM": word}).stream
    assert not Settings.from_env({"HIGGS_STREAM": off}).stream


@pytest.mark.parametrize("value", ["10s", "", "1.5"])
def test_what_keeps_the_hubs_library_from_starting_is_refused(value: str) -> None:
    """The library reads these two when it is imported, and fails then."""
    with pytest.raises(InvalidSettings, match="HF_HUB_ETAG_TIMEOUT is no whole number"):
        Settings.from_env({"HF_HUB_ETAG_TIMEOUT": value})


def test_names_that_nothing_reads_are_warned_of() -> None:
    """One of ours comes with the nearest name, one of the hub's with what to set instead."""
    environ = {
        "HIGGS_MAX_SLOT": "4",
        "HIGGS_ZZZ": "1",
        "HF_HUB_ENABLE_HF_TRANSFER": "1",
        "HF_TOKEN_PATH": "/token",
        "HF_DEBUG": "1",
        "HF_HUB_DISABLE_XET": " ",
        "HUGGING_FACE_HUB_TOKEN": "hf_secret",
        "RUNPOD_POD_ID": "w0",
        "HOME": "/root",
    }
    assert Settings.from_env(environ).warnings == (
        "nothing reads HF_DEBUG",
        "nothing reads HF_HUB_ENABLE_HF_TRANSFER; weights are pulled by the worker itself, over "
        "several connections",
        "nothing reads HF_TOKEN_PATH; set HF_TOKEN",
        "nothing reads HIGGS_MAX_SLOT; did you mean HIGGS_MAX_SLOTS?",
        "nothing reads HIGGS_ZZZ",
    )
    both = {"HF_TOKEN": "hf_one", "HUGGING_FACE_HUB_TOKEN": "hf_other"}
    settings = Settings.from_env(both)
    assert settings.hf_token == "hf_one"
    assert settings.warnings == (
        "HUGGING_FACE_HUB_TOKEN has no effect, because HF_TOKEN has another value",
    )


def test_settings_are_frozen() -> None:
    """Nothing changes settings after they were read."""
    with pytest.raises(FrozenInstanceError):
        Settings().max_slots = 9  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "variable"), variables_of(Settings).items(), ids=variables_of(Settings)
)
def test_every_setting_is_described_and_bounded(name: str, variable: Variable) -> None:
    """No setting without a sentence of meaning, and bounds that hold its default."""
    is_balancers = variable.name in ("PORT", "PORT_HEALTH")  # RunPod's load balancer sets them
    if not is_balancers:
        assert variable.name in (f"HIGGS_{name.upper()}", name.upper())
        assert variable.name.startswith(("HIGGS_", "HF_", "RUNPOD_"))
    assert len(variable.meaning) > 10
    assert variable.meaning.endswith(".")
    assert isinstance(variable.kind, Integer | Choice | ForeignSwitch | Text)
    assert variable.kind.allowed
    if variable.default:
        assert variable.kind.parse(str(variable.default)) == variable.default


def test_every_field_has_a_variable() -> None:
    """Nothing can be set in the code alone."""
    assert {each.name for each in fields(Settings)} == variables_of(Settings).keys() | RESOLVED
