"""The request: bounds, names, and sentences a caller can act on."""

import math
from typing import get_args

import pytest
from pydantic import ValidationError

from higgs_worker.api.field_errors import bound_of
from higgs_worker.api.request import DEFAULT_SCENE, Format, SpeechRequest, names_of
from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.errors import InvalidRequest

FIELDS = SpeechRequest.model_fields


def parse(raw: object, max_text_chars: int = 1500) -> SpeechRequest:
    """Parse with the default limit."""
    return SpeechRequest.parse(raw, max_text_chars=max_text_chars)


def problems(raw: object, max_text_chars: int = 1500) -> dict[str, str]:
    """Return the messages of a refused request by field."""
    with pytest.raises(InvalidRequest) as caught:
        parse(raw, max_text_chars)
    return {each["field"]: each["message"] for each in caught.value.details["errors"]}


def test_text_alone_is_enough() -> None:
    """Every other field has the documented default."""
    request = parse({"text": "Hello."})
    assert request.model_dump() == {
        "text": "Hello.",
        "scene": DEFAULT_SCENE,
        "voice": None,
        "speakers": {},
        "dialogue": "turns",
        "language": None,
        "normalise": True,
        "strict_tags": True,
        "chunk_words": 100,
        "context_chunks": 0,
        "retries": 1,
        "timestamps": "sentence",
        "temperature": 0.3,
        "top_p": 0.95,
        "top_k": 50,
        "ras_window": None,
        "ras_max_repeats": None,
        "seed": None,
        "max_duration_s": None,
        "sample_rate": None,
        "speed": 1.0,
        "loudness_lufs": None,
        "format": "wav",
        "output": "auto",
        "key": None,
    }


@pytest.mark.parametrize(
    ("name", "alias"),
    [(name, alias) for name in FIELDS for alias in names_of(name)[1:]],
)
def test_every_alias_fills_its_field(name: str, alias: str) -> None:
    """An alias means exactly what the field's own name means."""
    value = {"format": "wav", "normalise": False}.get(name, "Quiet.")
    assert parse({"text": "a", name: value} if name != "text" else {name: value}) == parse(
        {"text": "a", alias: value} if name != "text" else {alias: value}
    )


def test_the_documented_aliases_exist() -> None:
    """The names other endpoints use are understood."""
    assert names_of("text") == ("text", "input", "prompt", "transcript")
    assert names_of("scene") == ("scene", "scene_prompt", "instructions")
    assert names_of("format") == ("format", "response_format")


def test_two_names_of_one_field_are_refused() -> None:
    """Nobody has to guess which of two texts was spoken."""
    found = problems({"text": "a", "prompt": "b"})
    assert found == {
        "prompt": "'text' and 'prompt' are two names of the same field; send one of them"
    }


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("temprature", "unknown field 'temprature'; did you mean 'temperature'?"),
        ("Seed", "unknown field 'Seed'; did you mean 'seed'?"),
        ("zzz", "unknown field 'zzz'"),
        ("max_new_tokens", "unknown field 'max_new_tokens'"),
        ("batch", "unknown field 'batch'"),
    ],
)
def test_unknown_keys_get_the_nearest_name(key: str, message: str) -> None:
    """A typo is refused with the name that was probably meant, or with none."""
    assert problems({"text": "a", key: 1}) == {key: message}


def test_all_problems_are_listed_at_once() -> None:
    """One answer shows everything that has to change, in the caller's own names."""
    raw = {"prompt": 5, "top_k": -1, "temperature": "hot", "response_format": "ogg", "nope": 1}
    assert problems(raw) == {
        "nope": "unknown field 'nope'",
        "prompt": "prompt must be a string, not 5",
        "top_k": "top_k must be a whole number from 0 to 1026, not -1",
        "temperature": "temperature must be a number from 0 to 2, not 'hot'",
        "response_format": "response_format must be 'wav' or 'mp3' or 'flac' or 'opus' or 'aac' or "
        "'pcm' or 'ulaw' or 'alaw', not 'ogg'",
    }
    with pytest.raises(InvalidRequest, match=r"^unknown field 'nope' \(and 4 more\)$"):
        parse(raw)


def test_a_flood_of_problems_stays_small() -> None:
    """A job of many wrong keys gives a short list and the true number."""
    with pytest.raises(InvalidRequest, match=r"and 5000 more") as caught:
        parse({f"key{index}": 1 for index in range(5000)})
    assert len(caught.value.details["errors"]) == 50


@pytest.mark.parametrize(
    ("field", "low", "high"),
    [
        (name, bound_of(field, "ge"), bound_of(field, "le"))
        for name, field in FIELDS.items()
        if bound_of(field, "ge") is not None
    ],
)
def test_numbers_hold_their_bounds(field: str, low: float, high: float) -> None:
    """Both bounds are accepted; beyond them, other types and impossible numbers are not."""
    for value in (low, high):
        assert getattr(parse({"text": "a", field: value}), field) == value
    wrong: list[object] = [low - 0.1 if isinstance(low, float) else low - 1, high + 1, 10**400]
    wrong += [-(10**5000), True, "1", [1], {}, math.nan, math.inf, -math.inf]
    for value in wrong:
        assert field in problems({"text": "a", field: value})[field]


def test_not_a_number_is_said_clearly() -> None:
    """NaN has no JSON spelling; the message shows what arrived."""
    assert problems({"text": "a", "top_p": math.nan}) == {
        "top_p": "top_p must be a number from 0 to 1, not nan (not a finite number)"
    }


@pytest.mark.parametrize("field", ["temperature", "top_k", "text", "format", "output"])
def test_null_is_no_value(field: str) -> None:
    """Null is accepted only where it is documented."""
    assert problems({"text": "a"} | {field: None})[field].endswith("not null")


def test_text_is_required() -> None:
    """A request without text says what to send."""
    assert problems({}) == {"text": "text is required; send what should be said"}
    assert problems({"text": " \n"}) == {"text": "text is empty; send what should be said"}


def test_the_operator_s_limit_holds() -> None:
    """A text may have just as many characters as allowed; the message gives both numbers."""
    assert parse({"text": "é" * 10}, 10).text == "é" * 10
    assert problems({"text": "é" * 11}, 10) == {
        "text": "text has 11 characters and at most 10 are allowed; send less at once"
    }


def test_scene_can_be_left_out() -> None:
    """Null, empty and blank scenes mean none; a long one is refused."""
    for none in (None, "", "  "):
        assert parse({"text": "a", "scene": none}).scene is None
    assert parse({"text": "a", "instructions": "A hall."}).scene == "A hall."
    assert "2001 characters" in problems({"text": "a", "scene": "x" * 2001})["scene"]


@pytest.mark.parametrize("field", ["text", "scene"])
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("ab\ud83d", "half a character (a lone surrogate), U+D83D, at position 2"),
        ("\x00", "a control character, U+0000, at position 0"),
        ("abc\x1b[0m", "a control character, U+001B, at position 3"),
    ],
)
def test_unreadable_characters_are_located(field: str, value: str, expected: str) -> None:
    """What cannot be spoken or sent back is refused with its position."""
    assert expected in problems({"text": "a"} | {field: value})[field]


def test_any_other_text_is_kept_as_it_is() -> None:
    """Line breaks, tabs and every script pass unchanged."""
    text = "  Tab\tline\r\nनमस्ते 你好 👩‍🚀 ‏שלום "
    assert parse({"text": text}).text == text


def test_deep_nesting_is_harmless() -> None:
    """A job nested far deeper than Python recurses is refused like any other."""
    raw: object = "bottom"
    for _ in range(50_000):
        raw = [raw]
    assert problems({"text": raw}) == {"text": "text must be a string, not a list"}


@pytest.mark.parametrize("raw", [None, "text", ["text"], 3, True])
def test_input_must_be_an_object(raw: object) -> None:
    """Anything but an object gets an example of one."""
    with pytest.raises(InvalidRequest, match=r'such as \{"text": "Hello\."\}'):
        parse(raw)


@pytest.mark.parametrize("value", ["x" * 41, "\ud800" * 300, "é\n" * 100_000])
def test_long_values_are_not_repeated(value: str) -> None:
    """A message quotes at most forty characters, of a value as of a key."""
    message = problems({"text": "a", "top_k": value})["top_k"]
    assert message.endswith(f"not {value[:40]!r}…")
    with pytest.raises(InvalidRequest) as caught:
        parse({"text": "a", value: 1})
    assert str(caught.value) == f"unknown field {value[:40]!r}…"
    assert caught.value.details["errors"][0]["field"] == value[:40] + "…"


def test_telephone_formats_have_the_rate_of_telephones() -> None:
    """Unless the caller names another; every other format has the model's own."""
    for format in get_args(Format):
        usual = 8000 if format in ("ulaw", "alaw") else 24000
        assert parse({"text": "a", "format": format}).audio_rate == usual
        assert parse({"text": "a", "format": format, "sample_rate": 16000}).audio_rate == 16000


def test_requests_are_frozen() -> None:
    """A validated request does not change."""
    with pytest.raises(ValidationError):
        parse({"text": "a"}).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_is_described_and_bounded(name: str) -> None:
    """No field without a sentence of meaning, and none that can be arbitrarily large."""
    field = FIELDS[name]
    assert field.description
    assert field.description.endswith(".")
    kinds = str(field.annotation)
    if name == "speakers":
        with pytest.raises(InvalidRequest, match="at most 64"):
            parse({"text": "a", name: {f"S{n}": None for n in range(65)}})
    elif "VoiceSpec" in kinds:
        with pytest.raises(InvalidRequest, match="at most 64"):
            parse({"text": "a", name: "v" * 65})
    elif "Literal" in kinds or "bool" in kinds:
        pass
    elif "str" in kinds:
        assert bound_of(field, "max_length")
    else:
        assert bound_of(field, "ge") is not None
        assert bound_of(field, "le") is not None


@pytest.mark.parametrize(
    "raw",
    [
        {"voice": {"audio": "https://example.com/a.wav", "text": "Hi."}},
        {"voice_url": "https://example.com/a.wav", "ref_text": "Hi."},
        {"ref_audio": " https://example.com/a.wav ", "ref_text": " Hi. "},
    ],
)
def test_a_recording_has_several_names(raw: dict[str, object]) -> None:
    """A recording and its transcript may be sent as other endpoints take them."""
    voice = parse({"text": "a"} | raw).voice
    assert voice == VoiceSpec(audio="https://example.com/a.wav", text="Hi.")


def test_a_voice_may_be_a_name() -> None:
    """A string names a voice of the library."""
    assert parse({"text": "a", "voice": "Anna"}).voice == VoiceSpec(name="Anna")
    assert parse({"text": "a", "voice": None}).voice is None


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"voice": ""}, "voice is empty"),
        ({"voice": 5}, "voice must be the name of a voice, {"),
        ({"voice": {"audio": "x", "text": "y", "more": 1}}, "voice must be the name"),
        ({"voice": {"audio": "x"}}, "voice needs 'text'"),
        ({"voice": {"text": "x"}}, "voice needs 'audio'"),
        ({"voice_url": "x"}, "voice needs 'text'"),
        (
            {"voice": {"audio": "x", "text": "a\x00"}},
            "voice has 'text', which holds a control character",
        ),
        ({"voice": "a", "ref_audio": "b"}, "send voice alone"),
        ({"voice_url": "a", "ref_audio": "b", "ref_text": "c"}, "send voice alone"),
        ({"ref_text": "c"}, "send voice alone"),
        ({"voice": {"description": " "}}, "voice needs 'description'"),
        ({"voice": {"description": "x", "audio": "y"}}, "a description and a recording"),
        ({"voice": {"description": "x" * 3000}}, "voice has 'description', which has 3000"),
        ({"speakers": "Anna"}, "speakers must be an object"),
        ({"speakers": {"": "a"}}, "speakers has the name ''"),
        ({"speakers": {"A]": "a"}}, "no brackets"),
        ({"speakers": {"A" * 65: "a"}}, "at most 64 characters"),
        ({"speakers": {"Anna": "a", "ANNA": "b"}}, "speakers has 'ANNA' twice"),
        ({"speakers": {"Anna": {"audio": "x"}}}, "speakers has 'Anna', which needs 'text'"),
        ({"language": "English please"}, "language must be a tag such as 'en'"),
    ],
)
def test_a_wrong_voice_is_refused(raw: dict[str, object], message: str) -> None:
    """What is missing or too much in a voice is said."""
    assert message in " ".join(problems({"text": "a"} | raw).values())
