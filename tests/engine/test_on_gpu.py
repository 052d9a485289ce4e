"""What only a GPU can show: real graphs, streams and attention, in bf16 with heads of 128.

They need torch and numpy alone, so that they run on a machine with nothing installed.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from benchmarks.roofline import PUBLISHED
from higgs_worker.cuda import HIGH, MIDDLE, Captures, cuda_capture, hold_captures, own_stream
from higgs_worker.engine.engine import Engine
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.rows import PromptRows, pack
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Prompt, Sampling, Submission, TextSegment
from tests.engine.test_graphs import SAMPLINGS, run_together
from tests.fakes.twin_capture import TwinCapture

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]

CUDA = torch.device("cuda")
MAX_LENGTH = 1101  # no multiple of 8: rows of masks must be aligned all the same
CONFIG = replace(
    PUBLISHED, vocab_size=512, width=768, mlp_width=1024, num_layers=3, num_heads=6, num_kv_heads=2
)


def random_weights(device: torch.device, dtype: torch.dtype) -> Weights:
    """Return weights whose logits spread, the same on every device."""
    generator = torch.Generator().manual_seed(3)
    weights = Weights.empty(CONFIG, device=device, number_format=NumberFormat(dtype))
    for name, tensor in weights.by_name(CONFIG).items():
        values = torch.randn(tensor.shape, generator=generator)
        scale = 1.0 if "embed" in name else tensor.shape[-1] ** -0.5
        tensor.copy_(1 + 0.1 * values if "norm" in name else scale * values)
    weights.head.mul_(3)
    return weights


def ask(sizes: list[int], sampling: Sampling, max_frames: int = 40) -> list[Submission]:
    """Ask for sequences with prompts of some lengths."""
    rng = np.random.default_rng(0)
    return [
        Submission(
            Prompt((TextSegment(tuple(rng.integers(2, 512, size).tolist())),)),
            replace(sampling, seed=number),
            max_frames,
        )
        for number, size in enumerate(sizes)
    ]


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    """A small model with the published shapes of heads."""
    return LanguageModel(CONFIG, random_weights(CUDA, torch.bfloat16), MAX_LENGTH)


@pytest.fixture
def stream() -> Iterator[None]:
    """A stream of high priority, as the engine's."""
    with own_stream(CUDA, HIGH):
        yield


def test_cudnn_plans_no_attention(model: LanguageModel) -> None:
    """It would stop all sequences at every new shape."""
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.mark.usefixtures("stream")
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=("greedy", "narrow", "wide"))
def test_graphs_equal_eager_steps(sampling: Sampling, model: LanguageModel) -> None:
    """Sequences that join, leave and come again, in all shapes, captured ahead or when met."""
    captured = Runner(model, num_slots=5, max_length=MAX_LENGTH)
    captured.prepare()
    while captured.capture_next():
        pass
    eager = Runner(model, num_slots=5, max_length=MAX_LENGTH, capture=TwinCapture())
    for sizes in ([12, 30, 9, 17, 25], [490, 8, 100, 40, 1000]):
        submissions = ask(sizes, sampling)
        for _ in range(2):
            ours = run_together(captured, submissions)
            for own, theirs in zip(ours, run_together(eager, submissions), strict=True):
                assert np.array_equal(own, theirs)


def test_the_engine_speaks_in_its_thread_as_here(model: LanguageModel) -> None:
    """On a stream of its own, from another thread, and with a second engine beside it."""
    submissions = ask([20, 300, 7], SAMPLINGS[1])
    alone = run_together(
        Runner(model, num_slots=3, max_length=MAX_LENGTH, capture=TwinCapture()), submissions
    )
    with (
        Engine(Runner(model, num_slots=3, max_length=MAX_LENGTH)) as engine,
        Engine(Runner(model, num_slots=3, max_length=MAX_LENGTH)) as other,
    ):
        for each in (engine, other):
            each.wait_until_ready()
            for number, submission in enumerate(submissions):
                # One at a time: bf16 rounds differently in other company.
                (result,) = each.generate([submission])
                length = min(len(result.columns), 9)
                assert np.array_equal(result.columns[:length], alone[number][:length])


def test_bf16_is_float32_but_for_rounding() -> None:
    """Logits after a prompt in two chunks and after a few columns, against float32 on a CPU."""
    logits = []
    for device, dtype in ((torch.device("cpu"), torch.float32), (CUDA, torch.bfloat16)):
        exact = random_weights(torch.device("cpu"), torch.bfloat16)
        weights = Weights.empty(CONFIG, device=device, number_format=NumberFormat(dtype))
        places = weights.by_name(CONFIG)
        for name, tensor in exact.by_name(CONFIG).items():
            places[name].copy_(tensor)
        logits.append(forced_logits(LanguageModel(CONFIG, weights, MAX_LENGTH)))
    reference, ours = logits
    error = (ours - reference).square().mean().sqrt() / reference.std()
    assert error < 0.03, f"rms error {error:.4f} of the logits' standard deviation"


@torch.inference_mode()
def forced_logits(model: LanguageModel) -> torch.Tensor:
    """Return logits of columns that are given, behind a prompt of 67 positions in two chunks."""
    cache = KVCache(CONFIG, 1, MAX_LENGTH, device=model.device, dtype=model.dtype)
    rows = PromptRows.from_prompt(ask([66], SAMPLINGS[0])[0].prompt, CONFIG)
    for start, count in ((0, 30), (30, 37)):
        hidden = model.prefill(pack([rows.chunk(0, start, count)]), cache)
    logits = [model.logits_after(hidden, torch.tensor([36], device=model.device))]
    rng = np.random.default_rng(1)
    window = cache.window(1, 512)
    for position in range(67, 75):
        column = torch.tensor(rng.integers(0, 1024, (1, 8)), device=model.device)
        at = torch.tensor([position], device=model.device)
        logits.append(model.decode(column, at, cache, window))
    return torch.cat(logits).float().cpu()


@pytest.mark.usefixtures("stream")
def test_a_failed_capture_leaves_stream_and_allocator_as_they_were() -> None:
    """What was captured before is replayed, memory comes and goes, and nothing more is tried."""
    captures = Captures(cuda_capture(CUDA))
    x = torch.zeros(1 << 20, device=CUDA)
    x.add_(1)
    before = captures.capture(lambda: x.add_(1), "before")
    own = torch.cuda.current_stream()

    def cannot_be_captured() -> None:
        torch.ones(1 << 20, device=CUDA).sum().item()  # waits for the device

    assert captures.capture(cannot_be_captured, "fails") is None
    assert not captures.can_capture
    assert torch.cuda.current_stream() == own
    assert not torch.cuda.is_current_stream_capturing()
    for _ in range(3):
        before.replay()
        y = torch.ones(1 << 22, device=CUDA) + x[0]
        assert y[5].item() == x[0].item() + 1
        del y
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
    assert x[7].item() == 4
    again = Captures(cuda_capture(CUDA)).capture(lambda: x.add_(1), "another owner's")
    again.replay()
    assert x[7].item() == 5


def test_captures_beside_threads_that_work() -> None:
    """Two threads capture; others plan convolutions, wait, and begin to use libraries."""
    stop, errors = threading.Event(), []

    def guarded(work: Callable[[], None]) -> threading.Thread:
        def run() -> None:
            try:
                work()
            except Exception as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    def work() -> None:
        first_use()
        for length in range(100, 10_000):  # cuDNN plans for each
            if stop.is_set():
                return
            x = torch.ones(
                1, 16, length, device=CUDA
            )  # random numbers need the capturing generator
            F.conv1d(x, x[:, :, :7].expand(16, -1, -1)).sum().item()

    def begin() -> None:
        while not stop.wait(0.005):
            guarded(first_use).join()

    def first_use() -> None:
        with hold_captures():
            x = torch.ones(64, 64, device=CUDA)
            F.conv1d((x @ x)[None], x[:, :, None]).sum().item()

    def capture(priority: int) -> None:
        with own_stream(CUDA, priority):
            captures = Captures(cuda_capture(CUDA))
            x = torch.zeros(1 << 16, device=CUDA)
            x.add_(1)
            graphs = []
            while len(graphs) < 30 and captures.can_capture:
                if (graph := captures.capture(lambda: x.add_(1).mul_(1.0), "any")) is not None:
                    graphs.append(graph)
                else:
                    time.sleep(0.001)  # another thread captures, or holds captures off
            for graph in graphs:
                graph.replay()
            assert x[3].item() == 31

    others = [guarded(work), guarded(begin)]
    for thread in [guarded(lambda p=p: capture(p)) for p in (HIGH, MIDDLE)]:
        thread.join()
    stop.set()
    for thread in others:
        thread.join()
    assert errors == []


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs a second CUDA device")
def test_a_second_device_speaks_as_the_first() -> None:
    """HIGGS_DEVICE=cuda:1, in the engine's thread."""
    submission = ask([30], SAMPLINGS[1])[0]
    results = []
    for device in (CUDA, torch.device("cuda:1")):
        model = LanguageModel(CONFIG, random_weights(device, torch.bfloat16), MAX_LENGTH)
        with Engine(Runner(model, num_slots=2, max_length=MAX_LENGTH)) as engine:
            results.append(engine.generate([submission])[0].columns)
    assert np.array_equal(*results)


def test_the_numbers_tell_how_full_the_device_is() -> None:
    """As torch counts it, in another thread than the engine's; nothing is launched for it."""
    model = LanguageModel(CONFIG, random_weights(CUDA, torch.bfloat16), MAX_LENGTH)
    with Engine(Runner(model, num_slots=2, max_length=MAX_LENGTH)) as engine:
        engine.wait_until_ready()
        memory = engine.stats().runner.memory
        assert memory is not None
        assert 0 < memory.allocated_bytes <= memory.reserved_bytes < memory.total_bytes
        total = torch.cuda.mem_get_info(CUDA)[1]
        assert memory.total_bytes == pytest.approx(total, rel=0.05)  # a driver keeps some
