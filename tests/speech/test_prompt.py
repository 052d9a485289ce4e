"""Prompts: token ids equal those of upstream's rendered format."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from higgs_worker.engine.sequence import AudioSegment, Prompt
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from higgs_worker.speech.prompt import (
    Control,
    PastTurn,
    PromptBuilder,
    PromptContext,
    SpeakerProfile,
)
from higgs_worker.weights import locate as weights

DIRECTORY = weights.DEMO_DIRECTORY / "model"
TOKENIZER = Tokenizer.from_file(str(DIRECTORY / "tokenizer.json"))
BUILDER = PromptBuilder(TOKENIZER)
CODES = np.arange(24).reshape(3, 8)

# Rendered by hand after boson-ai/higgs-audio `examples/generation.py` (messages) and
# `boson_multimodal/dataset/chatml_dataset.py` (`prepare_chatml_sample`); audio is forced to start.
PLAIN = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Generate audio following instruction.\n\n"
    "<|scene_desc_start|>\nAudio is recorded from a quiet room.\n<|scene_desc_end|><|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHello there.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>"
)
PLAIN_WITHOUT_SCENE = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Generate audio following instruction.<|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHello there.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>"
)
# The bar marks where the reference's columns stand.
CLONE_AFTER_SYSTEM = (
    "<|start_header_id|>user<|end_header_id|>\n\nWhat I said.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>|<|audio_eos|><|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\nHello there.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>"
)
CLONE = PLAIN.split("<|start_header_id|>user")[0] + CLONE_AFTER_SYSTEM
CLONE_WITHOUT_SCENE = "<|begin_of_text|>" + CLONE_AFTER_SYSTEM
SCENE = "Audio is recorded from a quiet room."
SAID = PastTurn("What I said.", CODES)

# Upstream's `MULTISPEAKER_DEFAULT_SYSTEM_MESSAGE` and `prepare_generation_context`.
DIALOGUE = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "You are an AI assistant designed to convert text into speech.\n"
    "If the user's message includes a [SPEAKER*] tag, do not read out the tag and generate speech "
    "for the following text, using the specified voice.\n"
    "If no speaker tag is present, select a suitable voice on your own.\n\n"
    "<|scene_desc_start|>\nAudio is recorded from a quiet room.\n\n"
    "SPEAKER0: feminine\nSPEAKER1: masculine\n<|scene_desc_end|><|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n[SPEAKER0] Hi.\n[SPEAKER1] Hello.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>"
)
TAGGED_REFERENCES = (
    PLAIN.split("<|start_header_id|>user")[0]
    + "<|start_header_id|>user<|end_header_id|>\n\n[SPEAKER0] What I said.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>|<|audio_eos|><|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n[SPEAKER1] What I said.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>|<|audio_eos|><|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n[SPEAKER0] Hi.\n[SPEAKER1] Hello.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>"
)
PROFILES = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Generate audio following instruction.\n\n"
    "<|scene_desc_start|>\nAudio is recorded from a quiet room.\n\n"
    "SPEAKER0: <|audio_bos|>|<|audio_eos|>\nSPEAKER1: An old man.\n<|scene_desc_end|><|eot_id|>"
    "<|start_header_id|>user<|end_header_id|>\n\n[SPEAKER0] Hi.\n[SPEAKER1] Hello.<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>"
)
TURNS = "[SPEAKER0] Hi.\n[SPEAKER1] Hello."


def ids_of(rendered: str) -> list[tuple[int, ...]]:
    """Encode a rendered prompt with control tokens recognised, split at the reference's place."""
    parts = rendered.replace(">|<", ">\0<").split("\0")
    return [tuple(TOKENIZER.encode(part, add_special_tokens=False).ids) for part in parts]


def text_of(prompt: Prompt) -> list[tuple[int, ...]]:
    """Join the text of a prompt on either side of its reference."""
    runs: list[tuple[int, ...]] = [()]
    for part in prompt.segments:
        if isinstance(part, AudioSegment):
            runs.append(())
        else:
            runs[-1] += part.ids
    return runs


def test_plain_speech() -> None:
    """Form (a) with a scene."""
    assert text_of(BUILDER.build("Hello there.", PromptContext(SCENE))) == ids_of(PLAIN)


def test_plain_speech_without_scene() -> None:
    """Form (a) without one keeps the instruction alone."""
    assert text_of(BUILDER.build("Hello there.", PromptContext())) == ids_of(PLAIN_WITHOUT_SCENE)


@pytest.mark.parametrize(
    ("scene", "rendered"), [(SCENE, CLONE), (None, CLONE_WITHOUT_SCENE)], ids=["scene", "none"]
)
def test_clone(scene: str | None, rendered: str) -> None:
    """Form (b): the reference's text and audio as an earlier turn; no system turn without scene."""
    prompt = BUILDER.build("Hello there.", PromptContext(scene, references=[SAID]))
    assert text_of(prompt) == ids_of(rendered)
    (reference,) = [part for part in prompt.segments if isinstance(part, AudioSegment)]
    assert np.array_equal(reference.codes, CODES)


def test_dialogue_without_recordings() -> None:
    """Form (c): another instruction, and the speakers told apart in words."""
    profiles = [SpeakerProfile("SPEAKER0", "feminine"), SpeakerProfile("SPEAKER1", "masculine")]
    prompt = BUILDER.build(TURNS, PromptContext(SCENE, profiles, is_dialogue=True))
    assert text_of(prompt) == ids_of(DIALOGUE)


def test_dialogue_with_recordings() -> None:
    """Form (d): one earlier turn per speaker, tagged."""
    said = [PastTurn(f"[SPEAKER{n}] What I said.", CODES) for n in range(2)]
    prompt = BUILDER.build(TURNS, PromptContext(SCENE, references=said))
    assert text_of(prompt) == ids_of(TAGGED_REFERENCES)


@pytest.mark.parametrize("scene", [SCENE, None])
def test_profiles_in_the_system_turn(scene: str | None) -> None:
    """Forms (e) and (f), mixed: one speaker by recording, one in words; with and without scene."""
    profiles = [SpeakerProfile("SPEAKER0", CODES), SpeakerProfile("SPEAKER1", "An old man.")]
    rendered = PROFILES if scene else PROFILES.replace(f"{SCENE}\n\n", "")
    prompt = BUILDER.build(TURNS, PromptContext(scene, profiles))
    assert text_of(prompt) == ids_of(rendered)


def test_what_was_said_before_comes_last() -> None:
    """Context stands between the references and the text, and is not part of what is shared."""
    before = PastTurn("Before.", CODES[:2])
    prompt = BUILDER.build("Hello there.", PromptContext(None, references=[SAID], context=[before]))
    turn = CLONE_AFTER_SYSTEM[: CLONE_AFTER_SYSTEM.rindex("<|start_header_id|>user")]
    rendered = CLONE_WITHOUT_SCENE.replace(turn, turn + turn.replace("What I said.", "Before."))
    assert text_of(prompt) == ids_of(rendered)
    alone = BUILDER.build("Hello there.", PromptContext(None, references=[SAID]))
    assert prompt.shared_key() == alone.shared_key()


def test_context_alone_keeps_the_system_turn() -> None:
    """Chunks that follow one another keep the instruction that began them."""
    prompt = BUILDER.build("Hello there.", PromptContext(None, context=[SAID]))
    head = PLAIN_WITHOUT_SCENE.split("<|start_header_id|>user")[0]
    assert text_of(prompt) == ids_of(head + CLONE_AFTER_SYSTEM)


def test_what_prompts_share_comes_first() -> None:
    """Same scene and reference, another text: the shared part has the same key; else it has not."""

    def clone(text: str, scene: str | None = SCENE, codes: np.ndarray = CODES) -> Prompt:
        return BUILDER.build(
            text, PromptContext(scene, references=[PastTurn("What I said.", codes)])
        )

    plain = BUILDER.build("One.", PromptContext(SCENE))
    assert clone("One.").shared_key() == clone("Two.").shared_key()
    others = [clone("One.", None), clone("One.", codes=CODES[:2]), plain]
    assert len({prompt.shared_key() for prompt in [clone("One."), *others]}) == 4
    assert plain.segments[:1] == BUILDER.build("Two.", PromptContext(SCENE)).segments[:1]
    assert plain.num_shared == 1


def test_text_is_trimmed_as_upstreams_template_does() -> None:
    """Spaces around the text change nothing."""
    spaced = BUILDER.build("  Hello there.\n", PromptContext(f" {SCENE} "))
    assert spaced == BUILDER.build("Hello there.", PromptContext(SCENE))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(st.sampled_from([str(c) for c in Control]), st.text(max_size=4)), max_size=6
    ).map("".join)
)
def test_control_tokens_in_text_are_only_text(text: str) -> None:
    """Whatever a caller writes, no control token is read out of it."""
    controls = {TOKENIZER.token_to_id(c) for c in TOKENIZER.get_vocab() if c.startswith("<|")}

    def found(text: str) -> list[int]:
        setting = PromptContext(f"b{text}", [SpeakerProfile("SPEAKER0", f"c{text}")])
        (ids,) = text_of(BUILDER.build(f"a{text}", setting))
        return [each for each in ids if each in controls]

    assert found(text) == found("")


def test_a_tokenizer_without_the_control_tokens_is_refused(tmp_path: Path) -> None:
    """Another model's tokenizer is named as such."""
    text = (DIRECTORY / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(text.replace("<|audio_out_bos|>", "<|other|>"))
    with pytest.raises(InvalidCheckpoint, match=r"no <\|audio_out_bos\|>"):
        PromptBuilder.from_directory(tmp_path)


def test_a_damaged_tokenizer_is_refused(tmp_path: Path) -> None:
    """A cut file is named with what to do."""
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(InvalidCheckpoint, match="fetch it again"):
        PromptBuilder.from_directory(tmp_path)


def test_a_directory_without_tokenizer(tmp_path: Path) -> None:
    """What is missing is named."""
    with pytest.raises(WeightsNotFound, match=r"tokenizer\.json cannot be read"):
        PromptBuilder.from_directory(tmp_path)
