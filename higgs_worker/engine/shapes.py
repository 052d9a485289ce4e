"""The shapes of decode steps: padded to few where steps are captured, close where they are not."""

from dataclasses import dataclass

MIN_CAPTURED_LENGTH = 512
MAX_USUAL_ROWS, MAX_USUAL_LENGTH = 8, 1024
"""What a worker meets first, with some sequences of some twenty seconds."""
EAGER_MULTIPLE = 16
"""Eager steps of neighbouring lengths share their views."""


@dataclass(frozen=True, slots=True)
class StepShapes:
    """Rows and positions of a step; captured ones are powers of two, or all that there are."""

    num_slots: int
    max_length: int
    are_captured: bool

    def fit(self, num_rows: int, length: int) -> tuple[int, int]:
        """Return the smallest shape that holds some rows and positions."""
        if self.are_captured:
            num_rows = _power_of_two(num_rows)
            length = _power_of_two(max(length, MIN_CAPTURED_LENGTH))
        else:
            length = -(-length // EAGER_MULTIPLE) * EAGER_MULTIPLE
        return min(num_rows, self.num_slots), min(length, self.max_length)

    def captured(self) -> list[tuple[int, int]]:
        """Return all captured shapes, the usual ones first: some 28, whatever comes."""
        if not self.are_captured:
            return []
        shapes = [
            (num_rows, length)
            for length in _doubled(MIN_CAPTURED_LENGTH, self.max_length)
            for num_rows in _doubled(1, self.num_slots)
        ]
        usual = self.usual()
        return usual + [shape for shape in shapes if shape not in usual]

    def usual(self) -> list[tuple[int, int]]:
        """Return the captured shapes that a worker meets first."""
        if not self.are_captured:
            return []
        return [
            (num_rows, length)
            for length in _doubled(MIN_CAPTURED_LENGTH, min(MAX_USUAL_LENGTH, self.max_length))
            for num_rows in _doubled(1, min(MAX_USUAL_ROWS, self.num_slots))
        ]


def _power_of_two(number: int) -> int:
    return 1 << (number - 1).bit_length()


def _doubled(first: int, last: int) -> list[int]:
    """Return `first`, doubled as long as it is below `last`, and `last`."""
    numbers = []
    while first < last:
        numbers.append(first)
        first *= 2
    return [*numbers, last]
