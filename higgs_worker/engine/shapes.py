"""The shapes of decode steps: padded to few where steps are captured, close where they are not.

Attention reads all positions of a shape, used or not, so lengths are closer together than numbers
of rows: 256, 384, 512, 768, 1024 and so on.
"""

from dataclasses import dataclass

MIN_CAPTURED_LENGTH = 256
MAX_USUAL_ROWS, MAX_USUAL_LENGTH = 8, 1024
"""What a worker meets first: a few sequences, each with a reference and twenty seconds of audio."""
EAGER_MULTIPLE = 16
"""Eager steps of neighbouring lengths share their views."""


@dataclass(frozen=True, slots=True)
class StepShapes:
    """Rows and positions of a step."""

    num_slots: int
    max_length: int
    are_captured: bool

    def fit(self, num_rows: int, length: int) -> tuple[int, int]:
        """Return the smallest shape that holds some rows and positions."""
        if self.are_captured:
            num_rows = _power_of_two(num_rows)
            length = max(length, MIN_CAPTURED_LENGTH)
            upper = _power_of_two(length)
            length = upper * 3 // 4 if length <= upper * 3 // 4 else upper
        else:
            length = -(-length // EAGER_MULTIPLE) * EAGER_MULTIPLE
        return min(num_rows, self.num_slots), min(length, self.max_length)

    def row_counts(self) -> list[int]:
        """Return the numbers of rows that captured shapes have."""
        return sorted({num_rows for num_rows, _ in self.captured()})

    def usual(self) -> list[tuple[int, int]]:
        """Return the captured shapes that a worker meets first."""
        return self._captured(MAX_USUAL_ROWS, MAX_USUAL_LENGTH)

    def captured(self) -> list[tuple[int, int]]:
        """Return all captured shapes, the usual ones first: 63 by default, whatever comes."""
        all_shapes = self._captured(self.num_slots, self.max_length)
        return list(dict.fromkeys([*self.usual(), *all_shapes]))

    def _captured(self, max_rows: int, max_length: int) -> list[tuple[int, int]]:
        """Return the captured shapes up to some size, the small ones first."""
        shapes: list[tuple[int, int]] = []
        length = 0
        while self.are_captured and length < min(max_length, self.max_length):
            _, length = self.fit(1, length + 1)
            num_rows = 0
            while num_rows < min(max_rows, self.num_slots):
                num_rows, _ = self.fit(num_rows + 1, length)
                shapes.append((num_rows, length))
        return shapes


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()
