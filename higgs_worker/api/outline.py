"""The outline of a JSON text: where its outermost parts lie, how large and how deep they are.

To parse is one call that nothing can interrupt, and that makes an object of every value: 20 MB of
zeros take a second and half a gigabyte. An outline is made in slices of a few milliseconds and
makes one object for each outermost part. Of a text that is no JSON it tells nothing of use, and
does no harm.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

SLICE_BYTES = 1 << 20
"""Looked at in one go: some milliseconds and 20 MB."""
_QUOTE, _BACKSLASH, _COMMA = b'"\\,'
_CHANGES = np.zeros(256, np.int8)
"""By byte: what it does to the depth."""
_CHANGES[list(b"[{")] = 1
_CHANGES[list(b"]}")] = -1
_IS_MARK = _CHANGES != 0
_IS_MARK[_COMMA] = True


@dataclass(frozen=True, slots=True)
class JsonPart:
    """An element of a list, or a member of an object together with its key."""

    start: int
    """In bytes, like `end`; blanks around the part belong to it."""
    end: int
    num_values: int
    """Between the number of its values, itself included, and twice that."""
    depth: int
    """How deep lists and objects are nested: 0 for a number, 1 for a list of numbers."""


def parts(text: bytes, *, slice_bytes: int = SLICE_BYTES) -> Iterator[JsonPart]:
    """Yield the parts of the list or object that a text is; an empty one has one blank part."""
    marks = _Marks()
    start, num_values, deepest = -1, 1, 1
    data = np.frombuffer(text, np.uint8)
    for offset in range(0, len(text), slice_bytes):
        at, kinds, depths = marks.find(data[offset : offset + slice_bytes])
        is_value = _CHANGES[kinds] >= 0  # each comma and each opening bracket is followed by one
        first = 0
        if start < 0 and len(at):
            start, first = offset + int(at[0]) + 1, 1
        for index in np.flatnonzero((depths < 1) | ((kinds == _COMMA) & (depths == 1))):
            if index < first:  # no bracket opens the text
                return
            num_values += int(np.count_nonzero(is_value[first:index]))
            deepest = int(depths[first:index].max(initial=deepest))
            end = offset + int(at[index])
            yield JsonPart(start, end, num_values, deepest - 1)
            if depths[index] < 1:
                return
            start, first, num_values, deepest = end + 1, int(index) + 1, 1, 1
        num_values += int(np.count_nonzero(is_value[first:]))
        deepest = int(depths[first:].max(initial=deepest))
    if start >= 0:  # the text breaks off
        yield JsonPart(start, len(text), num_values, deepest - 1)


class _Marks:
    """Finds the commas and brackets that stand outside of strings, slice by slice."""

    def __init__(self) -> None:
        self._depth = 0
        self._is_in_string = False
        self._is_escaped = False
        """Whether the next slice's first byte is."""

    def find(
        self, data: NDArray[np.uint8]
    ) -> tuple[NDArray[np.intp], NDArray[np.uint8], NDArray[np.intp]]:
        """Return where marks are in the next slice, which ones, and how deep it is after each."""
        is_quote = data == _QUOTE
        is_quote[self._find_escaped(data)] = False
        is_inside = np.logical_xor.accumulate(is_quote) ^ self._is_in_string
        self._is_in_string = bool(is_inside[-1])
        at = np.flatnonzero(_IS_MARK[data] & ~is_inside)
        kinds = data[at]
        depths = self._depth + np.cumsum(_CHANGES[kinds], dtype=np.intp)
        if len(depths):
            self._depth = int(depths[-1])
        return at, kinds, depths

    def _find_escaped(self, data: NDArray[np.uint8]) -> NDArray[np.intp]:
        """Return the positions of bytes behind a backslash that is not escaped itself."""
        found = np.flatnonzero(data == _BACKSLASH)
        if self._is_escaped:
            found = np.concatenate(([-1], found))  # the last slice's last byte
        order = np.arange(len(found))
        begins_run = np.diff(found, prepend=-2) != 1
        run = np.maximum.accumulate(np.where(begins_run, order, 0))
        escaped: NDArray[np.intp] = found[(order - run) % 2 == 0] + 1
        self._is_escaped = bool(len(escaped)) and int(escaped[-1]) == len(data)
        return escaped[: len(escaped) - self._is_escaped]
