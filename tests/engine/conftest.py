"""Engines that are closed at the end of their test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.engine.pairs import Pair, Pairs, make_pair


@pytest.fixture
def pairs(tmp_path: Path) -> Iterator[Pairs]:
    """Make pairs of oracle and engine."""
    made: list[Pair] = []

    def make(*args: object, **kwargs: object) -> Pair:
        made.append(make_pair(tmp_path, *args, **kwargs))
        return made[-1]

    yield make
    for pair in made:
        pair.engine.close()
