"""Prompts with the real vocabulary: their ids, and texts that look like control tokens."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from benchmarks.real_size.setup import Setup
from benchmarks.real_size.texts import TEXTS
from higgs_worker.engine.sequence import AudioSegment, Prompt
from higgs_worker.speech.prompt import PastTurn, PromptBuilder, PromptContext

SCENE = "Audio is recorded from a quiet room."
CODES = np.zeros((1, 8), dtype=np.int64)
# Source: boson-ai/higgs-audio `examples/generation.py`, as in tests/speech/test_prompt.py.
TURN = "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
ANSWER = "<|start_header_id|>assistant<|end_header_id|>\n\n<|audio_out_bos|>"
PLAIN = (
    "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
    "Generate audio following instruction.\n\n"
    f"<|scene_desc_start|>\n{SCENE}\n<|scene_desc_end|><|eot_id|>{TURN}{ANSWER}"
)
CLONE = f"<|begin_of_text|>{TURN}{ANSWER}<|audio_eos|><|eot_id|>{TURN}{ANSWER}"

SPELLINGS = (
    "{}", " {} ", "a{}b", "{}{}", "\n{}\n", "\t{}", "\r{}", "{}.",
    "<{}>", "<|{}|>", "<<|{}|>|>", "<|<|{}|>|>", "|{}|", "{}|>", "<|{}", "\\{}",
    "({})", "[{}]", "`{}`", "“{}”", "#{}", "1{}2", "...{}...", "&lt;{}&gt;",
    "你好{}世界", "Say {} now.", "\u200b{}\u200b", "{}\u0301", "\u202e{}\u202c", "\ufeff{}",
    "x\x00{}", "{}\U0001f600",
)  # fmt: skip
"""What may stand around a control token."""


def prompts(setup: Setup) -> Iterator[dict[str, Any]]:
    """Prompts: ids equal to those that transformers' tokenizer gives the rendered format"""
    directory = setup.directory("model")
    theirs = PreTrainedTokenizerFast(tokenizer_file=str(directory / "tokenizer.json"))
    builder = PromptBuilder.from_directory(directory)
    equal = 0
    for text in TEXTS:
        said = text.strip()
        plain = builder.build(text, PromptContext(scene=SCENE))
        clone = builder.build(text, PromptContext(references=(PastTurn(text, CODES),)))
        for ours, format in ((plain, PLAIN), (clone, CLONE)):
            rendered = format.replace("{}", said)
            equal += _text_ids(ours) == theirs(rendered, add_special_tokens=False).input_ids
    yield {"prompts": 2 * len(TEXTS), "equal": equal}
    if equal < 2 * len(TEXTS):
        raise RuntimeError("a prompt has other ids than transformers'")


def controls(setup: Setup) -> Iterator[dict[str, Any]]:
    """Control tokens, spelled in texts"""
    directory = setup.directory("model")
    builder = PromptBuilder.from_directory(directory)
    tokens = Tokenizer.from_file(str(directory / "tokenizer.json")).get_added_tokens_decoder()
    special = set(tokens)
    own = _num_of(special, builder.build("Hello.", PromptContext()))
    spelled = [
        form.replace("{}", token.content)
        for token in tokens.values()
        for form in SPELLINGS[: setup.num_spellings]
    ]
    obeyed = [
        text for text in spelled if _num_of(special, builder.build(text, PromptContext())) != own
    ]
    yield {"tokens": len(tokens), "spellings": len(spelled), "obeyed": len(obeyed)}
    if obeyed:
        raise RuntimeError(f"a text gives orders: {obeyed[0]!r}")


def _text_ids(prompt: Prompt) -> list[int]:
    segments = prompt.segments
    return [i for each in segments if not isinstance(each, AudioSegment) for i in each.ids]


def _num_of(special: set[int], prompt: Prompt) -> int:
    return sum(each in special for each in _text_ids(prompt))


MEASUREMENTS = (prompts, controls)
