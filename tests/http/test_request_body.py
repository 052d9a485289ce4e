"""The body of a request: bounded in size, in pace, and in total."""

import asyncio
from collections.abc import Iterable

import pytest

from higgs_worker.errors import QueueFull, RequestRefused
from higgs_worker.http.patience import Patience
from higgs_worker.http.request_body import (
    MAX_BODIES,
    ClientGone,
    Message,
    Receive,
    RequestBodies,
    replay,
)

MAX_BYTES = 1000
QUICK = Patience(body_start_s=0.02, body_bytes_per_s=1_000_000)


def bodies() -> RequestBodies:
    """Return what reads bodies of up to a thousand bytes."""
    return RequestBodies(MAX_BYTES, QUICK)


def arriving(*parts: bytes, ends: bool = True, then: Iterable[Message] = ()) -> Receive:
    """Return a `receive` that gives parts; without an end, the client dawdles for ever."""
    last = len(parts) - 1
    messages: list[Message] = [
        {"type": "http.request", "body": part, "more_body": index < last or not ends}
        for index, part in enumerate(parts)
    ]
    queue = iter([*messages, *then])

    async def receive() -> Message:
        if (message := next(queue, None)) is None:
            await asyncio.Event().wait()
        assert message is not None
        return message

    return receive


def test_a_body_is_held_until_its_request_ends() -> None:
    """In parts or whole; its bytes count until they are released."""
    read = bodies()
    whole = asyncio.run(read.read(arriving(b"a" * 400, b"", b"b" * 600), None))
    assert whole == b"a" * 400 + b"b" * 600
    assert read.num_held == 1000
    read.release(1000)
    assert read.num_held == 0


@pytest.mark.parametrize("length", [None, "5", "1000", "-1", "x", "٣"])
def test_more_than_is_allowed(length: str | None) -> None:
    """It ends as soon as it is too large, whatever was announced, and takes nothing up."""
    read = bodies()
    with pytest.raises(RequestRefused, match="HIGGS_MAX_BODY_BYTES") as refused:
        asyncio.run(read.read(arriving(b"a" * 999, b"bb", ends=False), length))
    assert refused.value.status == 413
    assert read.num_held == 0


def test_what_is_announced_as_too_large_is_not_read() -> None:
    """Nothing of it."""
    with pytest.raises(RequestRefused) as refused:
        asyncio.run(bodies().read(arriving(ends=False), "1001"))
    assert refused.value.status == 413


def test_a_body_that_comes_too_slowly() -> None:
    """It is told so, and frees what it took."""
    read = bodies()
    with pytest.raises(RequestRefused, match="faster line") as refused:
        asyncio.run(read.read(arriving(b"a", b"b", ends=False), "3"))
    assert refused.value.status == 408
    assert read.num_held == 0


def test_a_client_that_goes() -> None:
    """Frees what it took."""
    read = bodies()
    gone: Message = {"type": "http.disconnect"}
    with pytest.raises(ClientGone):
        asyncio.run(read.read(arriving(b"a", ends=False, then=[gone]), None))
    assert read.num_held == 0


def test_all_bodies_together_are_bounded() -> None:
    """Further ones are to come again, and those that are there are not harmed."""

    async def test() -> None:
        read = bodies()
        for _ in range(MAX_BODIES):
            await read.read(arriving(b"a" * MAX_BYTES), None)
        with pytest.raises(QueueFull):
            await read.read(arriving(b"a"), None)
        assert read.num_held == MAX_BODIES * MAX_BYTES
        read.release(MAX_BYTES)
        assert await read.read(arriving(b"a"), None) == b"a"

    asyncio.run(test())


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 200_000])
def test_a_replayed_body_is_the_same(size: int) -> None:
    """Slice by slice, with one end."""

    async def test() -> None:
        body = bytes(index % 251 for index in range(size))
        receive, parts, more = replay(body), b"", True
        while more:
            message = await receive()
            parts += message["body"]
            more = message["more_body"]
        assert parts == body
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001):
                await receive()

    asyncio.run(test())
