"""Streaming: the pieces joined are the whole, however the codes came."""

import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from higgs_worker import weights
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.loader import load_decoder
from higgs_worker.codec.streaming import Piece, StreamingDecoder
from higgs_worker.codec.thread import CodecThread

HOP = 960
LAG = 9458
"""Samples that the decoder looks ahead. Source: its kernel shapes, 9.85 frames."""


@pytest.fixture(scope="module")
def decoder() -> CodecDecoder:
    """The demo codec: the published rates, narrow layers."""
    return load_decoder(weights.locate("demo", "codec"), torch.device("cpu"))[0]


def random_codes(seed: int, num_frames: int) -> np.ndarray:
    """Draw codes [F, K]."""
    return np.random.default_rng(seed).integers(0, 1024, (num_frames, 8))


def whole(decoder: CodecDecoder, codes: np.ndarray) -> np.ndarray:
    """Decode at once."""
    with torch.inference_mode():
        return decoder(torch.from_numpy(codes.T.copy())[None])[0].numpy()


def close(streamed: np.ndarray, expected: np.ndarray) -> None:
    """Equal length, and equal to less than 1 LSB of 16 bits."""
    assert streamed.shape == expected.shape
    assert np.abs(streamed - expected).max(initial=0) < 3e-5


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    lengths=st.lists(st.integers(1, 45), min_size=1, max_size=4),
    seed=st.integers(0, 2**16),
)
def test_any_schedule_gives_the_whole(decoder: CodecDecoder, lengths: list[int], seed: int) -> None:
    """Streams of any length, fed in any pieces, side by side in any mix, equal the whole decode."""
    rng = np.random.default_rng(seed)
    streaming = StreamingDecoder(decoder, len(lengths))
    codes = [random_codes(seed + i, length) for i, length in enumerate(lengths)]
    heard: list[list[np.ndarray]] = [[] for _ in lengths]
    fed = [0] * len(lengths)
    open_streams = set(range(len(lengths)))
    for stream in open_streams:
        streaming.open(stream)
    while open_streams:
        chosen = [s for s in sorted(open_streams) if rng.random() < 0.7 and fed[s] < lengths[s]]
        pieces = []
        for stream in chosen:
            size = int(rng.integers(1, 14))
            pieces.append(Piece(stream, codes[stream][fed[stream] : fed[stream] + size]))
            fed[stream] += len(pieces[-1].codes)
        for piece, pcm in zip(pieces, streaming.advance(pieces), strict=True):
            heard[piece.stream].append(pcm)
        ending = [s for s in sorted(open_streams) if fed[s] == lengths[s] and rng.random() < 0.5]
        for stream, pcm in zip(ending, streaming.finish(ending), strict=True):
            heard[stream].append(pcm)
            open_streams.discard(stream)
    for stream, pieces_heard in enumerate(heard):
        close(np.concatenate(pieces_heard), whole(decoder, codes[stream]))


def test_samples_are_final_as_early_as_can_be(decoder: CodecDecoder) -> None:
    """Nothing after nine frames, 142 samples after ten, then a frame for a frame."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    assert streaming.lag == LAG
    assert streaming.num_lag_frames == 10
    sizes = [len(streaming.advance([Piece(0, random_codes(i, 1))])[0]) for i in range(14)]
    assert sizes == [0] * 9 + [10 * HOP - LAG] + [HOP] * 4
    assert [len(pcm) for pcm in streaming.finish([0])] == [LAG]


def test_a_stream_used_again_forgets(decoder: CodecDecoder) -> None:
    """Opening a stream anew leaves nothing of what it was."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    streaming.advance([Piece(0, random_codes(1, 20))])
    streaming.open(0)
    codes = random_codes(2, 15)
    pcm = [*streaming.advance([Piece(0, codes)]), *streaming.finish([0])]
    close(np.concatenate(pcm), whole(decoder, codes))


def test_a_stream_without_frames_is_silent(decoder: CodecDecoder) -> None:
    """Ending at once gives no samples and no error."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    assert streaming.advance([Piece(0, random_codes(0, 0))])[0].shape == (0,)
    assert streaming.finish([0])[0].shape == (0,)


def test_state_is_small_and_fixed(decoder: CodecDecoder) -> None:
    """What a stream keeps does not grow with its length."""
    streaming = StreamingDecoder(decoder, 1)
    streaming.open(0)
    sizes = set()
    for i in range(6):
        streaming.advance([Piece(0, random_codes(i, 25))])
        sizes.add(sum(kept.numel() for kept in streaming._kept))
    assert len(sizes) == 1


class Ear:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.pcm: list[np.ndarray] = []
        self.ended = threading.Event()
        self.error: Exception | None = None

    def on_pcm(self, pcm: np.ndarray) -> None:
        """Keep the samples."""
        assert not self.ended.is_set()
        self.pcm.append(pcm)

    def on_end(self, error: Exception | None) -> None:
        """Note the end, which comes once."""
        assert not self.ended.is_set()
        self.error = error
        self.ended.set()


def test_the_thread_serves_more_listeners_than_streams(decoder: CodecDecoder) -> None:
    """Seven listeners on three streams, fed from several threads, each hear their own audio."""
    thread = CodecThread(StreamingDecoder(decoder, 3))
    ears = [Ear() for _ in range(7)]
    codes = [random_codes(i, 12 + 5 * i) for i in range(7)]

    def speak(i: int) -> None:
        stream = thread.open(ears[i])
        for start in range(0, len(codes[i]), 8):
            thread.feed(stream, codes[i][start : start + 8])
            time.sleep(0.002)
        thread.finish(stream)

    speakers = [threading.Thread(target=speak, args=(i,)) for i in range(7)]
    for speaker in speakers:
        speaker.start()
    for ear, expected in zip(ears, codes, strict=True):
        assert ear.ended.wait(20)
        assert ear.error is None
        close(np.concatenate(ear.pcm), whole(decoder, expected))
    thread.close()


def test_a_dropped_stream_is_silent_and_frees_its_place(decoder: CodecDecoder) -> None:
    """Dropping a stream lets the next one in, and its listener hears no end."""
    thread = CodecThread(StreamingDecoder(decoder, 1))
    gone, ear = Ear(), Ear()
    first = thread.open(gone)
    thread.feed(first, random_codes(0, 30))
    thread.drop(first)
    stream = thread.open(ear)
    thread.feed(stream, random_codes(1, 12))
    thread.finish(stream)
    assert ear.ended.wait(20)
    close(np.concatenate(ear.pcm), whole(decoder, random_codes(1, 12)))
    assert not gone.ended.is_set()
    thread.close()


def test_a_failure_ends_its_listeners_and_the_thread_goes_on(decoder: CodecDecoder) -> None:
    """Codes that cannot be decoded end their stream with the error; the next stream is served."""
    thread = CodecThread(StreamingDecoder(decoder, 2))
    bad, good = Ear(), Ear()
    stream = thread.open(bad)
    thread.feed(stream, np.full((12, 8), 10**6))
    assert bad.ended.wait(20)
    assert bad.error is not None
    stream = thread.open(good)
    thread.feed(stream, random_codes(1, 12))
    thread.finish(stream)
    assert good.ended.wait(20)
    assert good.error is None
    thread.close()


def test_closing_ends_what_waits(decoder: CodecDecoder) -> None:
    """Nobody waits for a thread that is gone."""
    thread = CodecThread(StreamingDecoder(decoder, 1))
    ear = Ear()
    thread.feed(thread.open(ear), random_codes(0, 3))
    thread.close()
    assert ear.ended.is_set()
    assert ear.error is not None
