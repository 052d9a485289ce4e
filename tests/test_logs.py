"""Log lines: one JSON object each, with the job's id and without secrets."""

import asyncio
import io
import json
import logging

import pytest

from higgs_worker.logs import job_context, mask, setup

LOG = logging.getLogger("higgs_worker.test")


class Terminal(io.StringIO):
    """A stream with a person in front of it."""

    def isatty(self) -> bool:
        """Claim to be a terminal."""
        return True


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """Return the JSON objects that were printed."""
    return [json.loads(each) for each in stream.getvalue().splitlines()]


def test_a_line_is_one_json_object() -> None:
    """Time, level, message and extras stand in one line, whatever they contain."""
    stream = io.StringIO()
    setup("INFO", stream)
    LOG.debug("unseen")
    LOG.info("two\nlines %s", "\ud800", extra={"total_s": 0.5, "odd": float("nan"), "of": [b"x"]})
    (line,) = lines(stream)
    assert str(line.pop("time")).endswith("+00:00")
    assert line == {
        "level": "INFO",
        "message": "two\nlines \ud800",
        "requestId": None,
        "total_s": 0.5,
        "odd": "nan",
        "of": ["b'x'"],
    }


def test_lines_carry_the_job_s_id() -> None:
    """Concurrent jobs keep their ids apart, and none stays behind."""
    stream = io.StringIO()
    setup("INFO", stream)

    async def work(job_id: str) -> None:
        with job_context(job_id):
            await asyncio.sleep(0)
            await asyncio.to_thread(LOG.info, job_id)

    async def both() -> None:
        await asyncio.gather(work("a"), work("b"))
        LOG.info("after")

    asyncio.run(both())
    assert {str(each["message"]): each["requestId"] for each in lines(stream)} == {
        "a": "a",
        "b": "b",
        "after": None,
    }


@pytest.mark.parametrize("make", [io.StringIO, Terminal])
def test_secrets_are_masked_everywhere(make: type[io.StringIO]) -> None:
    """Message, arguments, extras, keys and tracebacks never show a registered value."""
    stream = make()
    setup("INFO", stream)
    mask('hunter"2é')
    mask('hunter"2é-and-more')
    mask("short")
    secret = 'hunter"2é-and-more'
    try:
        raise ValueError(secret)
    except ValueError:
        with job_context(secret):
            LOG.exception("short %s", secret, extra={"deep": {secret: [secret, {secret}]}})
    printed = stream.getvalue()
    assert "hunter" not in printed
    assert "and-more" not in printed
    assert "short ***" in printed
    assert "Traceback" in printed


def test_people_get_a_short_line() -> None:
    """A terminal shows a line to read instead of JSON."""
    stream = Terminal()
    setup("INFO", stream)
    with job_context("local_test"):
        LOG.info("spoke", extra={"duration_s": 1.5})
    assert stream.getvalue().endswith(" INFO [local_test] spoke duration_s=1.5\n")


def test_setup_replaces_what_was_there() -> None:
    """Calling it twice does not print twice."""
    first, second = io.StringIO(), io.StringIO()
    setup("INFO", first)
    setup("WARNING", second)
    LOG.info("unseen")
    LOG.warning("seen")
    assert first.getvalue() == ""
    assert [each["message"] for each in lines(second)] == ["seen"]


@pytest.mark.parametrize("make", [io.StringIO, Terminal])
def test_libraries_print_warnings_only(make: type[io.StringIO]) -> None:
    """Whichever level they and the worker have; each names its library and carries the job's id."""
    stream = make()
    setup("DEBUG", stream)
    logging.basicConfig(level=logging.DEBUG, handlers=[logging.StreamHandler(stream)])
    library = logging.getLogger("higgs_workers.friend")
    library.setLevel(logging.DEBUG)
    library.info("GET http://127.0.0.1/")
    with job_context("one"):
        library.warning("something is wrong")
    (line,) = stream.getvalue().splitlines()
    assert all(told in line for told in ("higgs_workers.friend", "something is wrong", "one"))


SIGNED = {
    "https://a.test/b?X-Amz-Credential=c%2Fd&X-Amz-Signature=hunter2": "https://a.test/b?***",
    "after connection broken by 'E(1)': /b?a&Signature=hunter2": (
        "after connection broken by 'E(1)': /b?***"
    ),
    "url='http://a.test/?k=hunter2', x": "url='http://a.test/?***', x",
    'Location: <http://a.test/??k=hunter2?&l="1>': 'Location: <http://a.test/??***"1>',
    "the proxy http://me:hunter2@a.test:80/": "the proxy http://***@a.test:80/",
    "What? That=this, why?": "What? That=this, why?",
}


@pytest.mark.parametrize("name", ["higgs_worker.test", "urllib3.connectionpool"])
def test_what_signs_an_address_is_masked(name: str) -> None:
    """A query and a login, wherever a line has them; the rest of the address stays."""
    stream = io.StringIO()
    setup("INFO", stream)
    for address in SIGNED:
        logging.getLogger(name).warning("%s", address)
    assert [each["message"] for each in lines(stream)] == list(SIGNED.values())
