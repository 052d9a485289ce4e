"""What a poll brings: which of it are jobs, and what becomes of the rest."""

import json
import logging
import math
from typing import Any

import pytest

from higgs_worker.api.json_text import MAX_DIGITS
from higgs_worker.api.screening import MAX_VALUES
from higgs_worker.errors import InvalidRequest
from higgs_worker.serverless.job import Job
from higgs_worker.serverless.takes import read_jobs

GOOD = b'{"id": "good-1", "input": {"text": "Hello."}, "webhook": null}'
READ = {"id": "good-1", "input": {"text": "Hello."}}


@pytest.mark.parametrize("answer", [GOOD, b"[%b]" % GOOD, b"\n [ %b ]\n" % GOOD])
def test_one_job_comes_alone_or_in_a_list(answer: bytes) -> None:
    """Whichever of the SDK's two routes was asked."""
    assert read_jobs(answer) == [READ]


NO_JOBS = [
    b"{}",
    b"null",
    b"[]",
    b"5",
    b'"x"',
    b"",
    b"<html>, [%b]" % GOOD,
    b'{"input": {"text": "Hi."}}',
    b'{"id": ["a"], "input": {}}',
    b'{"id": 5, "input": {}}',
    b'{"id": "", "input": {}}',
    b'{"id": "%b", "input": {}}' % (b"a" * 10**6),
    b'{"id": "a\\nb: c", "input": {}}',
    b'{"id": "\\ud800", "input": {}}',
    b'{"id": "../b?c", "input": {}}',
    b'{"id": "\xff", "input": {}}',
    b"[" * 9000 + b"]" * 9000,
    b'{"a":' * 9000 + b"0" + b"}" * 9000,
    b'{"input": {"id": "of another job", "x": [%b0]}}' % (b"0, " * 10**5),
]


@pytest.mark.parametrize("element", NO_JOBS)
def test_what_is_no_job_is_dropped(element: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """Beside a job, in front of it, or alone; the log tells so in our words only."""
    with caplog.at_level(logging.WARNING, "higgs_worker"):
        assert read_jobs(element) == []
        assert read_jobs(b"[%b, %b]" % (GOOD, element or b" ")) == [READ]
        assert read_jobs(b"[%b, %b]" % (element or b" ", GOOD)) == [READ]
    said = {record.getMessage() for record in caplog.records}
    assert said <= {f"dropped {n} of the elements that a poll brought: without a usable id"
                    for n in (1, 2)}  # fmt: skip


@pytest.mark.parametrize(
    ("rest", "why"),
    [
        (b"", "the job has no input"),
        (b', "input": {"x": [%b0]}' % (b"0, " * 10**5), "more than 20000 values"),
        (b', "input": {"x": [%b0]}' % (b"[], " * 10**5), "more than 20000 values"),
        (b', "input": ' + b"[" * 9000 + b"]" * 9000, "more than 32 lists and objects"),
        (b', "input": {"text": "\xff"}', "the job is no JSON in UTF-8"),
        (b', "input": {"text": nothing}', "the job is no JSON in UTF-8"),
        (b', "input": {"id": "another", "x": [%b0]}' % (b"0, " * 10**5), "more than 20000"),
    ],
)
def test_what_has_an_id_is_answered(rest: bytes, why: str) -> None:
    """A job that is not read ends with the reason, whatever stands in front of its id."""
    for element in (b'{"id": "a-1"%b}' % rest, b'{"x": 1%b, "id": "a-1"}' % rest):
        job, good = read_jobs(b"[%b,%b]" % (element, GOOD))
        assert good == READ
        parsed = Job.parse(job, max_text_chars=100)
        assert parsed.id == "a-1"
        assert isinstance(parsed.body, InvalidRequest)
        assert why in parsed.body.message


def test_an_answer_that_breaks_off_brings_what_is_whole() -> None:
    """And the job in the middle of which it breaks off fails, if its id was there."""
    answer = b'[%b, {"id": "b", "input": {"te' % GOOD
    whole, cut = read_jobs(answer)
    assert whole == READ
    assert cut["id"] == "b"
    assert "no JSON" in cut["input"].message
    assert read_jobs(answer[:-22]) == [READ]


def test_a_job_is_taken_once() -> None:
    """Not twice from one answer, not again while it runs; afterwards it is a new one."""
    answer = b'[%b, %b, {"id": "b", "input": 1}]' % (GOOD, GOOD)
    assert [job["id"] for job in read_jobs(answer)] == ["good-1", "b"]
    assert [job["id"] for job in read_jobs(answer, {"good-1"})] == ["b"]
    assert read_jobs(answer, {"good-1", "b"}) == []


def test_members_that_nobody_reads_are_left_out() -> None:
    """The SDK would make attributes of them."""
    job = {"id": "a", "input": None, "s3Config": {}, "__class__": 1, "self": 2, "batchId": "\ud800"}
    (read,) = read_jobs(json.dumps([job]).encode())
    assert read == {"id": "a", "input": None, "s3Config": {}}


def test_the_largest_job_is_read() -> None:
    """The outline errs on the side of reading; the screening decides."""
    content: Any = [[]] * (MAX_VALUES - 1)
    (read,) = read_jobs(json.dumps({"id": "a", "input": content}).encode())
    assert read["input"] == content


def test_very_long_numbers_are_read_too() -> None:
    """As what they are as long as Python reads them, beyond that as infinite."""

    def read(text: str) -> Any:
        return read_jobs(f'{{"id": "a", "input": {text}}}'.encode())[0]["input"]

    assert read(f"[-{'9' * (MAX_DIGITS - 1)}, 7]") == [-int("9" * (MAX_DIGITS - 1)), 7]
    assert read(f"[{'9' * (MAX_DIGITS + 1)}, -{'9' * 10**6}]") == [math.inf, -math.inf]
    with pytest.raises(ValueError, match="digits"):
        json.loads("9" * (MAX_DIGITS + 1))
