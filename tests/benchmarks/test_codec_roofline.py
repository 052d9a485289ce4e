"""The model of the codec's call follows the code, and agrees with what was measured."""

from pathlib import Path

import pytest

from benchmarks.cards import CARDS
from benchmarks.codec_roofline import CALL_S, Call, count_call, table

pytestmark = pytest.mark.slow  # torch imports what it needs for tensors without memory
DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def call() -> Call:
    """The call, counted once."""
    return count_call()


def test_a_call_does_not_grow(call: Call) -> None:
    """Kernels, arithmetic and traffic of the published sizes, per second of audio."""
    assert call.launches <= 303
    assert call.flops / 1e9 == pytest.approx(13.6, abs=0.1)
    assert call.conv_bytes < 0.14e9
    assert call.pointwise_bytes < 0.84e9


def test_the_time_on_an_h100_is_the_measured_one(call: Call) -> None:
    """8 streams of 24 frames took 7.5 ms when snakes had ten passes over memory."""
    assert call.ms(CARDS["h100"], snake_passes=10) * CALL_S == pytest.approx(7.5, rel=0.02)


def test_the_documented_table_is_what_the_command_prints(call: Call) -> None:
    """`docs/performance.md` repeats it line by line."""
    assert table(call) in (DOCS / "performance.md").read_text(encoding="utf-8")
