"""The outline of a JSON text says what a parser would find, without parsing."""

import json
import random
from typing import Any

import pytest

from higgs_worker.api.outline import parts


def draw(random_: random.Random, level: int = 0) -> Any:
    """Return a random value whose texts are full of what has a meaning in JSON."""

    def text() -> str:
        return "".join(random_.choices('a\\"[]{},:é😀\n\x00', k=random_.randrange(9)))

    inside = range(random_.randrange(4) if level < 4 else 0)
    match random_.randrange(5):
        case 0 | 1:
            return [draw(random_, level + 1) for _ in inside]
        case 2:
            return {text(): draw(random_, level + 1) for _ in inside}
        case 3:
            return text()
    return random_.choice([None, True, -1.5e300, 7])


def inner(value: Any) -> list[Any]:
    """Return the values right inside of a value."""
    return list(value.values()) if isinstance(value, dict) else value


def count(value: Any) -> int:
    """Return how many values it has, itself included."""
    return 1 + sum(map(count, inner(value))) if isinstance(value, dict | list) else 1


def depth(value: Any) -> int:
    """Return how deep lists and objects are nested."""
    return 1 + max(map(depth, inner(value)), default=0) if isinstance(value, dict | list) else 0


@pytest.mark.parametrize("size", [2, 3, 7, 50, 1000])
def test_an_outline_is_what_a_parser_finds(size: int) -> None:
    """Each part is where its value lies, wherever slices end; number and depth are the value's."""
    random_ = random.Random(size)
    for number in range(30):
        values = [draw(random_) for _ in range(random_.randrange(1, 5))]
        text = json.dumps(values, ensure_ascii=number % 2 == 0).encode()
        found = list(parts(text, slice_bytes=size))
        assert [json.loads(text[part.start : part.end]) for part in found] == values
        for part, value in zip(found, values, strict=True):
            assert part.depth == depth(value)
            assert count(value) <= part.num_values <= 2 * count(value)


def test_an_object_has_its_members_as_parts() -> None:
    """Each with its key."""
    text = b' {"id": "a", "input": {"text": "b, c", "x": [1, 2]}} '
    found = [text[part.start : part.end].strip() for part in parts(text)]
    assert found == [b'"id": "a"', b'"input": {"text": "b, c", "x": [1, 2]}']


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"", []),
        (b"[]", [b""]),
        (b"<a, b>", []),
        (b"]], [", []),
        (b'"[1, 2]"', []),
        (b"[1, [2, 3", [b"1", b" [2, 3"]),
        (b'[1, "2], [', [b"1", b' "2], [']),
        (b"[1], [2]", [b"1"]),
        (b"[1}, 2", [b"1"]),
        (b"\\" * 9, []),
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_text_that_is_no_json_does_no_harm(text: bytes, found: list[bytes], size: int) -> None:
    """It has the parts that it seems to have."""
    assert [text[part.start : part.end] for part in parts(text, slice_bytes=size)] == found
