"""Prompts as rows, and chunks of several prompts packed into one batch."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.roofline import PUBLISHED
from higgs_worker.engine.rows import PromptRows, num_positions, pack
from higgs_worker.engine.sequence import AudioSegment, Prompt, TextSegment
from higgs_worker.errors import InvalidCheckpoint

CONFIG = replace(PUBLISHED, num_codebooks=2, codebook_size=12, stream_bos_id=10, stream_eos_id=11)


def prompt(num_frames: int) -> Prompt:
    """Return text, reference audio and text."""
    codes = np.arange(2 * num_frames).reshape(num_frames, 2)
    return Prompt((TextSegment((5, 6, 7)), AudioSegment(codes), TextSegment((8,))), num_shared=2)


def test_a_prompt_ends_with_the_forced_column() -> None:
    """Text ids and delayed columns alternate; the last row is all stream BOS."""
    rows = PromptRows.from_prompt(prompt(1), CONFIG)
    assert rows.text_ids.tolist() == [5, 6, 7, -1, -1, -1, -1, 8, -1]
    assert rows.columns[3:7].tolist() == [[10, 10], [0, 10], [11, 1], [11, 11]]
    assert rows.columns[-1].tolist() == [10, 10]
    assert rows.num_positions == num_positions(prompt(1), CONFIG) == 9
    assert rows.num_shared_positions == 7
    assert rows.last_audio_columns(2).tolist() == [[11, 11], [10, 10]]


@pytest.mark.parametrize(
    "segment",
    [
        TextSegment((5, CONFIG.vocab_size)),
        TextSegment((-1,)),
        AudioSegment(np.array([[0, 12]])),
        AudioSegment(np.array([[-1, 0]])),
        AudioSegment(np.array([[0, 0, 0]])),
        AudioSegment(np.array([0, 0])),
    ],
)
def test_what_the_model_lacks_is_refused(segment: TextSegment | AudioSegment) -> None:
    """An index beyond a table would end the device for everybody."""
    with pytest.raises(InvalidCheckpoint, match="belongs to"):
        PromptRows.from_prompt(Prompt((segment,)), CONFIG)


def test_a_packed_batch_holds_every_row_once() -> None:
    """Text rows come first; each sequence finds its rows in the order of their positions."""
    prompts = [PromptRows.from_prompt(prompt(num_frames), CONFIG) for num_frames in (1, 3, 2)]
    chunks = [
        prompts[0].chunk(4, 0, 9),
        prompts[1].chunk(0, 2, 5),
        prompts[2].chunk(7, 9, 1),
    ]
    batch = pack(chunks)
    num_text = len(batch.text_ids)
    assert (batch.text_ids >= 0).all()
    assert num_text + len(batch.columns) == len(batch.positions) == len(batch.slots) == 9 + 5 + 1
    packed = np.concatenate([sequence.rows for sequence in batch.sequences])
    assert sorted(packed.tolist()) == list(range(15))
    for chunk, sequence in zip(chunks, batch.sequences, strict=True):
        assert (sequence.slot, sequence.start) == (chunk.slot, chunk.start)
        assert (batch.slots[sequence.rows] == chunk.slot).all()
        positions = chunk.start + np.arange(len(chunk.text_ids))
        assert np.array_equal(batch.positions[sequence.rows], positions)
        for row, text_id, column in zip(sequence.rows, chunk.text_ids, chunk.columns, strict=True):
            if text_id >= 0:
                assert batch.text_ids[row] == text_id
            else:
                assert np.array_equal(batch.columns[row - num_text], column)
