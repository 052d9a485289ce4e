"""What only a GPU can show: real graphs at the published sizes, threads on it, memory on it.

They need torch and numpy alone, so that they run on a machine with nothing installed.
"""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.gpu.scale import REAL
from higgs_worker.checkpoint.tensor_file import TensorPlace
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.encoder import CodecEncoder
from higgs_worker.codec.encoder_loader import LazyEncoder
from higgs_worker.codec.encoder_memory import encoder_bytes
from higgs_worker.codec.loader import load_decoder
from higgs_worker.codec.streaming import MAX_ROWS, StreamingDecoder
from higgs_worker.codec.thread import CodecThread
from higgs_worker.cuda import LOW, cuda_capture, own_stream
from higgs_worker.engine.tensor_reader import fill
from tests.codec.streams import (
    DEMO_CODEC,
    any_cuts,
    close,
    random_codes,
    random_decoder,
    scheduled_cuts,
    stream_pcm,
    whole,
)
from tests.codec.test_thread import RecordingListener

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CUDA = torch.device("cuda")
NUM_STREAMS = MAX_ROWS + 3
CPU_DIFFERENCE = 1e-4
"""Between the PCM of a GPU and of a CPU, which add in other orders: 3 LSB of 16 bits."""
TF32_SNR_DB = 40
"""Of the embedded codec's TF32. On a CPU that rounds like a GPU it is 63, or 44 if digits are cut
off (`python -m benchmarks.codec_precision`)."""


@pytest.fixture(autouse=True)
def exact_whole_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole decodes, which streams are compared with, ask the process's switch."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def on_cpu() -> CodecDecoder:
    """A random decoder of the published sizes."""
    return random_decoder()


@pytest.fixture(scope="module")
def on_gpu(on_cpu: CodecDecoder) -> CodecDecoder:
    """The same one on the GPU."""
    return deepcopy(on_cpu).to(CUDA)


@pytest.fixture(scope="module")
def captured(on_gpu: CodecDecoder) -> StreamingDecoder:
    """With its graphs, for streams of this thread."""
    streaming = StreamingDecoder(on_gpu, NUM_STREAMS, capture=cuda_capture(CUDA))
    with streaming.own_stream():
        streaming.prepare()
    torch.cuda.synchronize()  # each test has another stream
    return streaming


def forbid_eager_calls(streaming: StreamingDecoder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every call fail that is not a replay."""

    def eager(*_: object) -> torch.Tensor:
        raise AssertionError("a call at a shape that is not captured")

    monkeypatch.setattr(streaming, "_decode", eager)
    assert streaming._graphs is not None
    for graph in streaming._graphs._graphs.values():
        assert graph._graph is not None, "a shape was not captured"
        monkeypatch.setattr(graph, "_decode", eager)


@pytest.mark.parametrize("seed", range(3))
def test_schedules_are_replayed_and_exact(
    captured: StreamingDecoder,
    on_gpu: CodecDecoder,
    seed: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Streams in the pieces of their schedules: no eager call, and the whole decode, every time."""
    forbid_eager_calls(captured, monkeypatch)
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 120, NUM_STREAMS).tolist()
    codes = [random_codes(seed + i, length) for i, length in enumerate(lengths)]
    cuts = [scheduled_cuts(rng, length) for length in lengths]
    with captured.own_stream():
        decoded = stream_pcm(captured, codes, cuts, rng)
    for pcm, each in zip(decoded, codes, strict=True):
        close(pcm, whole(on_gpu, each))


def test_first_and_last_pieces_of_every_size_are_exact(
    captured: StreamingDecoder, on_gpu: CodecDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Filled up in front and behind; the longest last one takes two calls."""
    forbid_eager_calls(captured, monkeypatch)
    rng = np.random.default_rng(0)
    for cuts in ([[size, 16, size] for size in range(1, 25)], [[size] for size in range(1, 25)]):
        codes = [random_codes(sum(each), sum(each)) for each in cuts]
        for first in range(0, len(cuts), NUM_STREAMS):
            chosen = slice(first, first + NUM_STREAMS)
            with captured.own_stream():
                decoded = stream_pcm(captured, codes[chosen], cuts[chosen], rng)
            for pcm, each in zip(decoded, codes[chosen], strict=True):
                close(pcm, whole(on_gpu, each))


def test_pieces_of_any_sizes_are_exact(captured: StreamingDecoder, on_gpu: CodecDecoder) -> None:
    """Eager calls between replays, as no schedule makes them."""
    rng = np.random.default_rng(1)
    codes = [random_codes(i, 60) for i in range(4)]
    cuts = [any_cuts(rng, 60) for _ in codes]
    with captured.own_stream():
        decoded = stream_pcm(captured, codes, cuts, rng)
    for pcm, each in zip(decoded, codes, strict=True):
        close(pcm, whole(on_gpu, each))


def test_the_thread_gives_the_pcm_of_a_cpu(
    on_cpu: CodecDecoder, on_gpu: CodecDecoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prepared, fed and heard in its own thread, with as many listeners as wait for a stream."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)  # what torch begins with
    streaming = StreamingDecoder(on_gpu, 2, capture=cuda_capture(CUDA))
    thread = CodecThread(streaming)
    listeners = [RecordingListener() for _ in range(4)]
    codes = [random_codes(i, 20 + 15 * i) for i in range(4)]
    for listener, frames in zip(listeners, codes, strict=True):
        stream = thread.open(listener)
        for first in range(0, len(frames), 8):
            thread.feed(stream, frames[first : first + 8])
        thread.finish(stream)
    thread.wait_until_ready()
    for listener, frames in zip(listeners, codes, strict=True):
        assert listener.ended.wait(60)
        assert listener.error is None
        pcm, expected = np.concatenate(listener.pcm), whole(on_cpu, frames)
        assert pcm.shape == expected.shape
        assert np.abs(pcm - expected).max() < CPU_DIFFERENCE
    thread.close()


def test_the_codec_is_prepared_while_weights_are_read(on_gpu: CodecDecoder, tmp_path: Path) -> None:
    """As a worker starts: reading through pinned buffers beside it breaks no capture."""
    size = 1 << 28
    path = tmp_path / "bytes"
    path.write_bytes(np.random.default_rng(0).bytes(2 * size))
    expected = torch.from_numpy(np.fromfile(path, dtype=np.int16)).view(torch.bfloat16)
    streaming = StreamingDecoder(on_gpu, 2, capture=cuda_capture(CUDA))
    thread = CodecThread(streaming)
    num_reads = 0
    while not thread._prepared.done() or not num_reads:
        target = torch.empty(size, device=CUDA, dtype=torch.bfloat16)
        fill({"all": TensorPlace(path, 0, "BF16")}, {"all": target})
        assert torch.equal(target.cpu().view(torch.int16), expected.view(torch.int16))
        num_reads += 1
    thread.wait_until_ready()
    assert streaming._captures.can_capture
    thread.close()


@pytest.mark.parametrize("length_s", [10, 30])
def test_a_reference_takes_what_is_counted(length_s: int) -> None:
    """The most that is allocated while a reference is encoded, workspaces included."""
    before = torch.cuda.memory_allocated(CUDA)
    with CUDA:
        encoder = CodecEncoder(REAL.codec).requires_grad_(False).eval()
    torch.cuda.reset_peak_memory_stats(CUDA)
    with own_stream(CUDA, LOW), torch.inference_mode():
        pcm = 0.1 * torch.randn(1, length_s * REAL.codec.codec.sample_rate, device=CUDA)
        encoder(pcm).cpu()
    taken = torch.cuda.max_memory_allocated(CUDA) - before
    counted = encoder_bytes(REAL.codec, length_s)
    assert 0.8 < taken / counted < 1.25, (taken, counted)


def test_the_encoder_works_in_its_thread() -> None:
    """The demo codec's codes are those of a CPU, near-ties aside."""
    sound = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    codes = [LazyEncoder(DEMO_CODEC, device)(sound) for device in (CUDA, torch.device("cpu"))]
    assert codes[0].shape == codes[1].shape == (50, 8)
    assert (codes[0][:, 0] == codes[1][:, 0]).mean() > 0.95


def snr_db(pcm: np.ndarray, expected: np.ndarray) -> float:
    """Return how loud a sound is against the error of a copy of it."""
    assert pcm.shape == expected.shape
    error = np.square(pcm.astype(np.float64) - expected).sum()
    return float(10 * np.log10(np.square(expected - expected.mean()).sum() / error))


@pytest.mark.skipif(
    torch.cuda.is_available() and torch.cuda.get_device_capability() < (8, 0),
    reason="cards before Ampere have no TF32",
)
def test_tf32_changes_the_sound_of_its_own_streams_a_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Any cuts give the whole decode up to the rounding; what is computed beside it, to the bit."""
    decoder = load_decoder(DEMO_CODEC, CUDA)[0]
    codes = [random_codes(seed, 60) for seed in range(2)]
    recording = np.random.default_rng(0).normal(0, 0.1, 48_000).astype(np.float32)
    encode = LazyEncoder(DEMO_CODEC, CUDA)
    weights = torch.randn(512, 512, device=CUDA)

    def beside() -> list[np.ndarray]:
        return [encode(recording), (weights @ weights).cpu().numpy(), whole(decoder, codes[0])]

    before = beside()
    switches = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    rounded = StreamingDecoder(decoder, 2, allow_tf32=True, capture=cuda_capture(CUDA))
    rng = np.random.default_rng(0)
    with rounded.own_stream():
        rounded.prepare()
        forbid_eager_calls(rounded, monkeypatch)
        decoded = stream_pcm(rounded, codes, [scheduled_cuts(rng, 60) for _ in codes], rng)
        again = stream_pcm(rounded, codes, [scheduled_cuts(rng, 60) for _ in codes], rng)
    assert switches == (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
    for old, new in zip(before, beside(), strict=True):
        assert np.array_equal(old, new)
    for pcm, other, each in zip(decoded, again, codes, strict=True):
        exact = whole(decoder, each)
        assert TF32_SNR_DB < snr_db(pcm, exact) < 100, "TF32 was not used, or is worse than TF32"
        assert snr_db(other, pcm) > TF32_SNR_DB
