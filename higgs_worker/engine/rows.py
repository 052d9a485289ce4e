"""A prompt as rows, one per position, and chunks of prompts packed into one batch.

A row is a text id or an audio column. Reference codes are laid out in the delay pattern. The forced
first column of the answer is the last row: it is prefilled with the prompt. Host-side arrays only,
without torch.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.delay import delay
from higgs_worker.engine.sequence import AudioSegment, Codes, Prompt
from higgs_worker.errors import InvalidCheckpoint


@dataclass(frozen=True, slots=True, eq=False)
class RowChunk:
    """Consecutive rows of one prompt, prefilled in one pass."""

    slot: int
    start: int
    """Position of the first row; earlier positions are in the cache already."""
    text_ids: NDArray[np.int64]
    """[T]; -1 in audio rows."""
    columns: Codes
    """[T, K]; zero in text rows."""


@dataclass(frozen=True, slots=True, eq=False)
class PromptRows:
    """All rows of one prompt."""

    text_ids: NDArray[np.int64]
    """[T]; -1 in audio rows."""
    columns: Codes
    """[T, K]; zero in text rows."""
    num_shared_positions: int
    """Leading positions that other prompts share, see `Prompt.num_shared`."""

    @classmethod
    def from_prompt(cls, prompt: Prompt, config: ModelConfig) -> "PromptRows":
        """Lay out a prompt.

        Raises:
            InvalidCheckpoint: the model lacks an id or a code. Indexing with one would end the
                device for everybody.
        """
        bos, eos = config.stream_bos_id, config.stream_eos_id
        ids: list[NDArray[np.int64]] = []
        columns: list[Codes] = []
        for part in prompt.segments:
            if isinstance(part, AudioSegment):
                _check_codes(part.codes, config)
                columns.append(delay(part.codes, bos, eos))
                ids.append(np.full(len(columns[-1]), -1))
            else:
                ids.append(_check_ids(np.asarray(part.ids, dtype=np.int64), config))
                columns.append(np.zeros((len(part.ids), config.num_codebooks), dtype=np.int64))
        ids.append(np.full(1, -1))
        columns.append(np.full((1, config.num_codebooks), bos))
        return cls(
            text_ids=np.concatenate(ids),
            columns=np.concatenate(columns),
            num_shared_positions=sum(map(len, ids[: prompt.num_shared])),
        )

    @property
    def num_positions(self) -> int:
        """Number of rows, the forced first column included."""
        return len(self.text_ids)

    def chunk(self, slot: int, start: int, num_positions: int) -> RowChunk:
        """Return the rows from `start` on, for a slot."""
        part = slice(start, start + num_positions)
        return RowChunk(slot, start, self.text_ids[part], self.columns[part])

    def last_audio_columns(self, max_columns: int) -> Codes:
        """Return the last audio columns, the forced first one included, [at most max_columns, K].

        RAS looks back at them.
        """
        return self.columns[self.text_ids < 0][-max_columns:]


@dataclass(frozen=True, slots=True, eq=False)
class PackedSequence:
    """One chunk's share of a packed batch."""

    slot: int
    start: int
    """Position of its first row; earlier positions are in the cache already."""
    rows: NDArray[np.int64]
    """[T], its rows of the batch in the order of their positions."""


@dataclass(frozen=True, slots=True, eq=False)
class PackedBatch:
    """Chunks of several prompts as the rows of one pass: all text rows, then all audio rows."""

    text_ids: NDArray[np.int64]
    """[N_text]."""
    columns: Codes
    """[N_audio, K]."""
    positions: NDArray[np.int64]
    """[N_text + N_audio]."""
    slots: NDArray[np.int64]
    """[N_text + N_audio]."""
    sequences: list[PackedSequence]
    """One per chunk, in the order of the chunks."""


def pack(chunks: Sequence[RowChunk]) -> PackedBatch:
    """Pack chunks, at least one, at most one per slot, into one batch."""
    lengths = [len(chunk.text_ids) for chunk in chunks]
    text_ids = np.concatenate([chunk.text_ids for chunk in chunks])
    positions = np.concatenate(
        [chunk.start + np.arange(size) for chunk, size in zip(chunks, lengths, strict=True)]
    )
    is_audio = text_ids < 0
    order = np.argsort(is_audio, kind="stable")
    # The inverse: which row of the batch each position became.
    rows = np.split(np.argsort(order), np.cumsum(lengths)[:-1])
    return PackedBatch(
        text_ids=text_ids[~is_audio],
        columns=np.concatenate([chunk.columns for chunk in chunks])[is_audio],
        positions=positions[order],
        slots=np.repeat([chunk.slot for chunk in chunks], lengths)[order],
        sequences=[
            PackedSequence(chunk.slot, chunk.start, own)
            for chunk, own in zip(chunks, rows, strict=True)
        ],
    )


def num_positions(prompt: Prompt, config: ModelConfig) -> int:
    """Count the positions of a prompt without laying it out, the forced first column included."""
    extra = config.num_codebooks + 1
    return 1 + sum(
        len(part.codes) + extra if isinstance(part, AudioSegment) else len(part.ids)
        for part in prompt.segments
    )


def _check_ids(ids: NDArray[np.int64], config: ModelConfig) -> NDArray[np.int64]:
    """Return text ids if the model has them all."""
    if len(ids) and (ids.min() < 0 or ids.max() >= config.vocab_size):
        raise InvalidCheckpoint(
            f"the text has ids from {ids.min()} to {ids.max()}, and the model has "
            f"{config.vocab_size}; tokenizer.json belongs to another model"
        )
    return ids


def _check_codes(codes: Codes, config: ModelConfig) -> None:
    """Check that codes are [F, K] and the model's."""
    is_right = codes.ndim == 2 and codes.shape[1] == config.num_codebooks
    if is_right and codes.size:
        is_right = bool(codes.min() >= 0 and codes.max() < config.codebook_size)
    if not is_right:
        raise InvalidCheckpoint(
            "the codes of a recording are not the model's; remove the directory of codes from the "
            "volume, and see that HIGGS_CODEC belongs to HIGGS_MODEL"
        )
