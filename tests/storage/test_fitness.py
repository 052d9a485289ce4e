"""The bucket among the checks at a worker's start: what is wrong for good, and what may pass."""

import time
from dataclasses import replace
from pathlib import Path

import pytest

from higgs_worker.health import startup as fitness
from higgs_worker.health.startup import UnfitWorker, fitness_checks
from higgs_worker.load import checkpoint_source
from higgs_worker.settings import Settings
from tests.fakes.control_plane import ControlPlane
from tests.fakes.delivery import SCRIPTED, Worker
from tests.fakes.fault_proxy import Answered, FaultProxy, Stall
from tests.fakes.leaks import leaks
from tests.fakes.s3 import READER, SECRETS, environment, objects
from tests.storage.test_faults import answer


def check(port: int, prefix: str, volume: Path, **variables: str) -> None:
    """Check the bucket as an endpoint's environment describes it."""
    environ = environment(port) | {
        "HIGGS_MODEL": "demo",
        "HIGGS_DEVICE": "cpu",
        "HIGGS_VOLUME": str(volume),
        "HIGGS_S3_PREFIX": prefix,
    }
    settings = Settings.from_env(environ | variables)
    assert settings.s3 is not None
    settings = replace(settings, s3=replace(settings.s3, attempts=1))
    (found,) = (
        each
        for each in fitness_checks(settings, checkpoint_source(settings))
        if each.__name__ == "bucket_takes_results"
    )
    found()


def test_a_bucket_that_takes_results(
    port: int, prefix: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The check passes and leaves nothing."""
    check(port, prefix, tmp_path)
    assert objects(port, prefix) == {}
    assert "higgs_worker" not in caplog.text


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "hunter2"}, "refuses the signature; check AWS_SECRET"),
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "does not know the access key"),
        ({"HIGGS_S3_BUCKET": "elsewhere"}, "has no bucket 'elsewhere'"),
        (
            {"AWS_ACCESS_KEY_ID": READER, "AWS_SECRET_ACCESS_KEY": SECRETS[READER]},
            "does not let this access key write",
        ),
    ],
)
def test_what_no_retry_mends(
    port: int, prefix: str, tmp_path: Path, variables: dict[str, str], sentence: str
) -> None:
    """Wrong settings take the worker out of the pool, with the variable to check."""
    with pytest.raises(UnfitWorker, match=sentence):
        check(port, prefix, tmp_path, **variables)


def test_what_may_pass(
    proxy: FaultProxy,
    prefix: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A storage that is away, silent or busy is warned of: audio comes inside the result."""
    check(9, prefix, tmp_path)
    assert "127.0.0.1:9 cannot be reached" in caplog.text
    monkeypatch.setattr(fitness, "NETWORK_S", 0.3)
    proxy.fail(Stall, times=10)
    started = time.monotonic()
    check(proxy.port, prefix, tmp_path)
    assert time.monotonic() - started < 10  # the storage itself would be waited for longer
    assert "bucket_takes_results: no answer within 0.3 s" in caplog.text
    monkeypatch.setattr(fitness, "NETWORK_S", 20.0)
    proxy.cut()
    proxy.fail(lambda: Answered(b"PUT ", answer(503, "SlowDown")), times=10)
    check(proxy.port, prefix, tmp_path)
    assert "has too much to do" in caplog.text


@pytest.mark.slow
def test_the_platform_is_told(port: int, tmp_path: Path) -> None:
    """Through the real SDK: no job is taken, and the reason has the sentence but no secret."""
    wrong = environment(port) | {"AWS_SECRET_ACCESS_KEY": "hunter2-is-the-secret"}
    with ControlPlane() as plane, Worker(plane, tmp_path, SCRIPTED, **wrong) as worker:
        worker.ended_after()
        assert worker.process.returncode == 1
        (ping,) = plane.pings
        assert (ping["status"], ping["check"]) == ("unhealthy", "bucket_takes_results")
        assert "refuses the signature; check AWS_SECRET_ACCESS_KEY" in ping["reason"]
        assert not plane.num_requests("take-batch")
        assert leaks([worker.log, repr(plane.pings)], ["hunter2"]) == []
