"""Prompts: token ids equal those of upstream's rendered format."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from higgs_worker import weights
from higgs_worker.engine.sequence import AudioSegment, Prompt
from higgs_worker.errors import InvalidCheckpoint, WeightsNotFound
from higgs_worker.prompt import Control, PromptBuilder

DIRECTORY = weights.locate("demo", "model")
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
    assert text_of(BUILDER.speech("Hello there.", SCENE)) == ids_of(PLAIN)


def test_plain_speech_without_scene() -> None:
    """Form (a) without one keeps the instruction alone."""
    assert text_of(BUILDER.speech("Hello there.", None)) == ids_of(PLAIN_WITHOUT_SCENE)


@pytest.mark.parametrize(
    ("scene", "rendered"), [(SCENE, CLONE), (None, CLONE_WITHOUT_SCENE)], ids=["scene", "none"]
)
def test_clone(scene: str | None, rendered: str) -> None:
    """Form (b): the reference's text and audio as an earlier turn; no system turn without scene."""
    prompt = BUILDER.clone(
        "Hello there.", scene, reference_text="What I said.", reference_codes=CODES
    )
    assert text_of(prompt) == ids_of(rendered)
    (reference,) = [part for part in prompt.segments if isinstance(part, AudioSegment)]
    assert np.array_equal(reference.codes, CODES)


def test_what_prompts_share_comes_first() -> None:
    """Same scene and reference, another text: the shared part has the same key; else it has not."""

    def clone(text: str, scene: str | None = SCENE, codes: np.ndarray = CODES) -> Prompt:
        return BUILDER.clone(text, scene, reference_text="What I said.", reference_codes=codes)

    assert clone("One.").shared_key() == clone("Two.").shared_key()
    others = [clone("One.", None), clone("One.", codes=CODES[:2]), BUILDER.speech("One.", SCENE)]
    assert len({prompt.shared_key() for prompt in [clone("One."), *others]}) == 4
    plain = BUILDER.speech("One.", SCENE)
    assert plain.segments[: plain.num_shared] == BUILDER.speech("Two.", SCENE).segments[:1]


def test_text_is_trimmed_as_upstreams_template_does() -> None:
    """Spaces around the text change nothing."""
    assert BUILDER.speech("  Hello there.\n", f" {SCENE} ") == BUILDER.speech("Hello there.", SCENE)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.one_of(st.sampled_from([str(c) for c in Control]), st.text(max_size=4)), max_size=6
    ).map("".join)
)
def test_control_tokens_in_text_are_only_text(text: str) -> None:
    """Whatever a caller writes, no control token is read out of it."""
    controls = {TOKENIZER.token_to_id(c) for c in TOKENIZER.get_vocab() if c.startswith("<|")}
    plain = [i for i in text_of(BUILDER.speech("x", "y"))[0] if i in controls]
    (hostile,) = text_of(BUILDER.speech(f"a{text}", f"b{text}"))
    assert [i for i in hostile if i in controls] == plain


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
    with pytest.raises(WeightsNotFound, match=r"tokenizer\.json does not exist"):
        PromptBuilder.from_directory(tmp_path)
