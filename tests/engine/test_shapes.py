"""Shapes of steps: few where steps are captured, and every step fits into one of them."""

import pytest

from higgs_worker.engine.shapes import StepShapes


@pytest.mark.parametrize(
    ("num_slots", "max_length"), [(1, 320), (5, 1100), (64, 4096), (100, 8192)]
)
def test_every_step_fits_into_a_captured_shape(num_slots: int, max_length: int) -> None:
    """The fitting shape is the smallest of the captured ones, and exists."""
    shapes = StepShapes(num_slots, max_length, are_captured=True)
    captured = shapes.captured()
    assert len(set(captured)) == len(captured)
    for num_rows in range(1, num_slots + 1):
        for length in {1, 300, 512, 513, 1000, 1024, 1025, 3000, 4096, max_length}:
            if length <= max_length:
                fitting = [each for each in captured if each[0] >= num_rows and each[1] >= length]
                assert shapes.fit(num_rows, length) == min(fitting)


def test_the_default_worker_has_63_captured_shapes() -> None:
    """64 slots of 4,096 positions: seven numbers of rows, nine lengths; twenty are usual."""
    shapes = StepShapes(64, 4096, are_captured=True)
    captured = shapes.captured()
    assert len(captured) == 63
    assert sorted({rows for rows, _ in captured}) == [1, 2, 4, 8, 16, 32, 64]
    lengths = sorted({length for _, length in captured})
    assert lengths == [256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096]
    usual = [(rows, length) for length in lengths[:5] for rows in (1, 2, 4, 8)]
    assert shapes.usual() == usual == captured[:20]


def test_eager_steps_fit_closely() -> None:
    """Where nothing is captured, rows are as they are and lengths multiples of 16."""
    shapes = StepShapes(5, 100, are_captured=False)
    assert shapes.fit(3, 17) == (3, 32)
    assert shapes.fit(5, 99) == (5, 100)
    assert shapes.usual() == shapes.captured() == []
