"""The comparison of number formats runs, at tiny sizes."""

from benchmarks.gpu.scale import TINY_MODEL
from benchmarks.number_formats import ROWS, errors, models, steps


def test_every_format_is_compared() -> None:
    """Errors are those of rounding, larger in 8 bits, and each batch size has its ratios."""
    by_format = models(TINY_MODEL)
    bf16, in_8_bits = errors(by_format)
    assert 0 < bf16["error_rms"] < in_8_bits["error_rms"] < 0.1 * bf16["spread"]
    rows = list(steps(by_format))
    assert [row["rows"] for row in rows] == list(ROWS)
    assert all(row[ratio] > 0 for row in rows for ratio in ("float32 / int8", "bfloat16 / int8"))
