"""Llama 3's vocabulary as the `tokenizer.json` of the published checkpoint.

The ranks are those of PyPI's `llama-models`, whose file alone is read: the package itself would
import more than its file needs. Of the tokens that Higgs Audio added, the known ones have their
published ids; the others follow, as their ids are not known and are looked up by name.
"""

import base64
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from itertools import pairwise
from pathlib import Path

import regex
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors

Ranks = Mapping[bytes, int]
"""The id of each token by its bytes; of two neighbours, those with the lowest id merge first."""

PACKAGE = "llama-models"
NUM_SPECIAL = 256
NAMED = {
    0: "<|begin_of_text|>",
    1: "<|end_of_text|>",
    2: "<|reserved_special_token_0|>",
    3: "<|reserved_special_token_1|>",
    4: "<|finetune_right_pad_id|>",
    5: "<|reserved_special_token_2|>",
    6: "<|start_header_id|>",
    7: "<|end_header_id|>",
    8: "<|eom_id|>",
    9: "<|eot_id|>",
    10: "<|python_tag|>",
    11: "<|audio_bos|>",
    12: "<|audio_eos|>",
    13: "<|audio_out_bos|>",
    14: "<|reserved_special_token_6|>",
    15: "<|AUDIO|>",
    16: "<|AUDIO_OUT|>",
    17: "<|scene_desc_start|>",
    18: "<|scene_desc_end|>",
    19: "<|generation_instruction_start|>",
    20: "<|generation_instruction_end|>",
    21: "<|recipient|>",
}
"""Control tokens by their number after the ranks; from 17 on the number is ours."""
# Source: llama_models/llama3/tokenizer.py.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def published_ranks() -> Ranks:
    """Return Llama 3's ranks.

    Raises:
        FileNotFoundError: the package is not installed.
    """
    try:
        file = distribution(PACKAGE).locate_file("llama_models/llama3/tokenizer.model")
    except PackageNotFoundError as error:
        raise FileNotFoundError(
            f"{PACKAGE} is not installed; pip install --no-deps {PACKAGE}, or make real-size"
        ) from error
    lines = (line.split() for line in Path(str(file)).read_bytes().splitlines())
    return {base64.b64decode(token): int(rank) for token, rank in lines}


def tiny_ranks() -> Ranks:
    """Return ranks to rehearse with: single bytes, and a few pairs that merge."""
    pairs = (b"th", b"he", b" t", b"in", b"er", b" the", b"the", b"ing", b"||", b"<|", b"|>", b"  ")
    tokens = [bytes([number]) for number in range(256)] + sorted(pairs, key=len)
    return {token: rank for rank, token in enumerate(tokens)}


def special_tokens() -> list[str]:
    """Return the control tokens in the order of their ids."""
    # 14 is the sixth reserved one, and the others are counted on from there.
    return [
        NAMED.get(number, f"<|reserved_special_token_{number - 8}|>")
        for number in range(NUM_SPECIAL)
    ]


def merges_of(ranks: Ranks) -> list[tuple[bytes, bytes]]:
    """Return every pair of tokens that makes a third one, in the order in which pairs merge."""
    found = []
    for token, rank in ranks.items():
        parts = ((token[:at], token[at:]) for at in range(1, len(token)))
        known = [(left, right) for left, right in parts if left in ranks and right in ranks]
        found += [(rank, ranks[left], ranks[right], left, right) for left, right in known]
    return [(left, right) for _, _, _, left, right in sorted(found)]


def tokenizer(ranks: Ranks) -> Tokenizer:
    """Return the tokenizer of these ranks and the control tokens.

    Source: transformers `convert_slow_tokenizer.TikTokenConverter`.
    """
    written = _characters()

    def word(token: bytes) -> str:
        return "".join(written[byte] for byte in token)

    made = Tokenizer(
        models.BPE(
            {word(token): rank for token, rank in ranks.items()},
            [(word(left), word(right)) for left, right in merges_of(ranks)],
            ignore_merges=True,
        )
    )
    made.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    made.decoder = decoders.ByteLevel()
    controls = [AddedToken(each, normalized=False, special=True) for each in special_tokens()]
    made.add_special_tokens(controls)
    # As in the published file: who asks for special tokens gets a beginning.
    begin = NAMED[0]
    made.post_processor = processors.TemplateProcessing(
        single=f"{begin} $A",
        pair=f"{begin} $A {begin} $B",
        special_tokens=[(begin, made.token_to_id(begin))],
    )
    return made


def encode_by_rank(text: str, ranks: Ranks) -> list[int]:
    """Return the ids of plain text by the definition: the slow twin of `tokenizer`."""
    ids: list[int] = []
    for piece in regex.findall(PATTERN, text):
        word = piece.encode()
        parts = [word] if word in ranks else [bytes([byte]) for byte in word]
        while True:
            pairs = [left + right for left, right in pairwise(parts)]
            mergeable = [(ranks[pair], at) for at, pair in enumerate(pairs) if pair in ranks]
            if not mergeable:
                break
            _, at = min(mergeable)
            parts[at : at + 2] = [pairs[at]]
        ids += [ranks[part] for part in parts]
    return ids


def num_merges(path: Path) -> int:
    """Return how many merges a `tokenizer.json` has."""
    return len(json.loads(path.read_text(encoding="utf-8"))["model"]["merges"])


def _characters() -> list[str]:
    """Return the character that byte-level tokenizers write for each byte: GPT-2's table."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    others = iter(range(256, 512))
    return [chr(byte if byte in printable else next(others)) for byte in range(256)]
