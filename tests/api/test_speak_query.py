"""The query of Deepgram's websocket: theirs and ours, checked before the websocket opens."""

from contextlib import suppress
from typing import get_args
from urllib.parse import parse_qsl

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker.api.request import Format
from higgs_worker.api.speak_query import ENCODINGS, SpeakOptions, parse_query
from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.errors import CredentialsRefused, InvalidRequest, UnknownVoice

VOICES = ("clara", "bram", "Anna", "aura-2-thalia-en")


def parse(query: str) -> SpeakOptions:
    """Read a query as it stands in an address."""
    return parse_query(parse_qsl(query, keep_blank_values=True))


def voice_of(query: str) -> str | None:
    """Return the voice that speaks where VOICES exist."""
    voice = parse(query).with_voice(VOICES).request.voice
    return voice.name if voice else None


def test_what_clients_send() -> None:
    """Pipecat, LiveKit and deepgram-sdk: all of it is understood or has no effect."""
    for query in (
        "model=aura-2-helena-en&encoding=linear16&sample_rate=24000",
        "encoding=linear16&model=aura-2-andromeda-en&sample_rate=24000&mip_opt_out=false",
        "encoding=linear16&mip_opt_out=True&model=aura-asteria-en&sample_rate=24000&speed=1.0",
        "model=aura-2-thalia-en&container=none&tag=a&tag=b",
        "",
    ):
        request = parse(query).request
        assert (request.format, request.sample_rate, request.speed) == ("pcm", 24000, 1.0)
        assert not request.strict_tags


def test_fields_of_ours() -> None:
    """They stand beside theirs, under our names and with our bounds."""
    options = parse(
        "voice=Anna&seed=7&language=de&temperature=.5&top_p=0.9&top_k=20&instructions=Slowly&speed=2"
    )
    request = options.to_request("Hallo.", language="de-AT", seed=9)
    assert (request.text, request.seed, request.language) == ("Hallo.", 9, "de-AT")
    assert (request.temperature, request.top_p, request.top_k) == (0.5, 0.9, 20)
    assert (request.scene, request.speed, options.request.seed) == ("Slowly", 2, 7)
    assert parse("description=A+tired+old+man").request.voice == VoiceSpec(
        description="A tired old man"
    )


@pytest.mark.parametrize(
    ("query", "voice"),
    [
        ("model=clara", "clara"),
        ("voice=ANNA", "ANNA"),
        ("model=aura-2-thalia-en", "aura-2-thalia-en"),  # there is one of that name
        ("model=aura-2-zeus-en", "bram"),
        ("model=aura-zeus-en", "bram"),
        ("model=aura-2-viktoria-de", "clara"),
        ("model=aura-2-somebody", "clara"),
        ("model=AURA-2-ORION-EN", "bram"),
        ("voice=onyx", "bram"),
        ("", "clara"),
        ("description=An+old+man", None),
    ],
)
def test_voices(query: str, voice: str | None) -> None:
    """A voice of this worker comes first, then a stand-in of the same sort."""
    assert voice_of(query) == voice


def test_a_foreign_voice_tells_its_language() -> None:
    """Not an English one, which is sent for any text, and not against the caller."""
    assert parse("model=aura-2-julius-de").with_voice(VOICES).request.language == "de"
    assert parse("model=aura-2-julius-de&language=fr").with_voice(VOICES).request.language == "fr"
    assert parse("model=aura-2-zeus-en").with_voice(VOICES).request.language is None


def test_an_unknown_voice_is_refused() -> None:
    """With the nearest name, or those that there are."""
    with pytest.raises(UnknownVoice, match="did you mean 'clara'"):
        parse("model=clare").with_voice(VOICES)
    with pytest.raises(UnknownVoice, match="there are Anna, aura-2-thalia-en, bram, clara"):
        parse("voice=xyzzy").with_voice(VOICES)


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("encoding=mp3", "encoding must be linear16 or mulaw or alaw, not 'mp3'"),
        ("sample_rate=11025", "sample_rate must be 8000 or .* for linear16, not '11025'"),
        ("sample_rate=24000.0", "sample_rate must be"),
        ("encoding=mulaw&sample_rate=24000", "sample_rate must be 8000 or 16000 for mulaw"),
        ("container=wav", "container must be none"),
        ("modle=clara", "did you mean 'model'"),
        ("callback=http://x", "'callback' is no|callback is no parameter"),
        ("model=a&voice=b", "voice and model both say"),
        ("model=a&model=b", "model was sent twice"),
        ("speed=9", "speed must be a number from 0.25 to 4"),
        ("seed=abc", "seed must be"),
        ("seed=1e3", "seed must be"),
        ("top_k=-1", "top_k must be"),
        ("voice=", "voice"),
        ("language=zz-", "language must be a tag"),
        ("description=", "description"),
        ("&".join(["tag=1"] * 51), "more than 50 parameters"),
        ("scene=" + "x" * 2001, "scene has 2001 characters"),
        ("x" * 30_000 + "=1", "characters"),
    ],
)
def test_what_is_wrong_is_refused(query: str, problem: str) -> None:
    """In a sentence that says what is right."""
    with pytest.raises(InvalidRequest, match=problem):
        parse(query)


@pytest.mark.parametrize("name", ["token", "api_key", "access_token", "key_secret", "password"])
def test_credentials_in_an_address_are_refused(name: str) -> None:
    """They belong into a header; the value is not repeated."""
    with pytest.raises(CredentialsRefused, match="Authorization") as caught:
        parse(f"{name}=hunter2")
    assert "hunter2" not in str(caught.value)


def test_encodings_are_formats() -> None:
    """Each of theirs is a format of ours; the first rate is the default."""
    assert parse("").request.format in get_args(Format)
    assert {rates[0] for _, rates in ENCODINGS.values()} == {24000, 8000}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(max_size=12)
            | st.sampled_from(
                [
                    "model",
                    "voice",
                    "speed",
                    "seed",
                    "scene",
                    "encoding",
                    "sample_rate",
                    "language",
                    "top_k",
                ]
            ),
            st.text(max_size=12) | st.sampled_from(["1", "-5", "1e9", "nan", "٣", "9" * 30]),
        ),
        max_size=4,
    )
)
def test_any_query_is_understood_or_refused(parameters: list[tuple[str, str]]) -> None:
    """Nothing else is raised."""
    with suppress(InvalidRequest):
        options = parse_query(parameters).with_voice(VOICES)
        assert options.to_request("Hi.", language="en", seed=1).text == "Hi."
