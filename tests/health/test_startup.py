"""The checks of a start: what a worker needs before it may accept jobs."""

import json
import shutil
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.gpu.scale import REAL
from benchmarks.roofline import PUBLISHED
from higgs_worker.codec.encoder_memory import held_bytes
from higgs_worker.engine import memory
from higgs_worker.engine.memory import weight_bytes
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.errors import InvalidSettings, VolumeUnusable
from higgs_worker.health import checks, startup
from higgs_worker.health.startup import UnfitWorker, fitness_checks
from higgs_worker.load import checkpoint_source
from higgs_worker.settings import Settings
from higgs_worker.weights.checkpoint_files import FILES
from higgs_worker.weights.locate import DEMO_DIRECTORY
from tests.fakes.hub import REPO, TOKEN, StandIn
from tests.fakes.volume import take_away

DEMO = {"HIGGS_MODEL": "demo", "HIGGS_DEVICE": "cpu"}


def settings(volume: Path, **variables: str) -> Settings:
    """Return the settings of a worker with these variables."""
    return Settings.from_env({"HIGGS_VOLUME": str(volume)} | DEMO | variables)


def refusals(volume: Path, **variables: str) -> dict[str, str]:
    """Run the checks as the SDK does, but go on after a failure; return each failure by check."""
    found = settings(volume, **variables)
    refused = {}
    for check in fitness_checks(found, checkpoint_source(found)):
        try:
            check()
        except UnfitWorker as error:
            refused[check.__name__] = str(error)
    return refused


def test_a_worker_that_is_fit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No check fails or warns, and no file stays on the volume."""
    assert refusals(tmp_path / "new") == {}
    assert not caplog.text
    assert not list(tmp_path.glob("new/*/*"))


def test_a_volume_that_cannot_be_written(tmp_path: Path) -> None:
    """The failure names the path, the reason and the setting, and comes before any other."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VolumeUnusable, match=r"file cannot be written .*HIGGS_VOLUME"):
        checks.check_volume(tmp_path / "file")
    refused = refusals(tmp_path / "file")
    assert list(refused) == ["volume_is_writable"]
    first = fitness_checks(settings(tmp_path), checkpoint_source(settings(tmp_path)))[0]
    assert first.__name__ == "volume_is_writable"


def test_a_volume_without_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It fails where weights are to be pulled onto it, and does where none are."""
    take_away(monkeypatch, "symlink", tmp_path)
    assert refusals(tmp_path) == {}
    pulled = {"HIGGS_MODEL": REPO, "HF_ENDPOINT": "http://127.0.0.1:9"}
    refused = refusals(tmp_path, **pulled)
    assert list(refused) == ["volume_is_writable"]
    assert "its file system has no symbolic links" in refused["volume_is_writable"]
    (tmp_path / "bosonai").rmdir()
    (tmp_path / "bosonai").write_text("in the way")
    assert "cannot be written" in refusals(tmp_path, **pulled)["volume_is_writable"]


def test_a_volume_without_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little room for the weights is a failure; bytes that another worker pulled count."""
    usage = SimpleNamespace(free=12_999_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    monkeypatch.setattr(checks, "_memory_bytes", lambda: 64e9)  # whatever this machine has
    hub = {"HIGGS_MODEL": "", "HF_ENDPOINT": "http://127.0.0.1:9"}
    refused = refusals(tmp_path, **hub)
    assert "the weights need 13 GB; enlarge it" in refused["volume_is_writable"]
    blob = tmp_path / "bosonai" / "models--a--b" / "blobs" / "half"
    blob.parent.mkdir(parents=True)
    blob.write_bytes(bytes(1_100_000))
    assert refusals(tmp_path, **hub) == {}
    blob.unlink()
    assert refusals(tmp_path, **hub | {"HIGGS_MODEL": REPO, "HIGGS_CODEC": "demo"}) == {}


def test_a_gpu_that_is_not_there(tmp_path: Path) -> None:
    """The failure names the setting and says what to do, on one line."""
    import torch

    if torch.cuda.device_count() > 63:
        pytest.skip("needs a machine with fewer GPUs")
    with pytest.raises(InvalidSettings, match=r"HIGGS_DEVICE is cuda:63, .*HIGGS_DEVICE to auto"):
        checks.check_gpu("cuda:63")
    refused = refusals(tmp_path, HIGGS_DEVICE="cuda:63")
    assert list(refused) == ["gpu_is_usable"]
    assert "\n" not in refused["gpu_is_usable"]


def card(monkeypatch: pytest.MonkeyPatch, total_bytes: float) -> None:
    """Pretend that there is a working GPU with this memory."""
    import torch

    monkeypatch.setattr(checks, "check_gpu", lambda _: None)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (total_bytes / 2, total_bytes))
    properties = SimpleNamespace(name="A card")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)


@pytest.mark.parametrize(
    ("dtype", "total_bytes", "needed"),
    [
        ("auto", 12e9, "14.2 GB; take a GPU with more memory, set HIGGS_DTYPE to int8, or lower"),
        ("auto", 14e9, "14.2 GB; take a GPU with more memory, set HIGGS_DTYPE to int8, or lower"),
        ("auto", 14.5e9, ""),
        ("auto", 24e9, ""),
        ("float32", 24e9, "25.0 GB; take"),
        ("int8", 8.5e9, "9.3 GB; take a GPU with more memory, or lower"),
        ("int8", 12e9, ""),
    ],
)
def test_a_gpu_that_is_too_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, total_bytes: float, needed: str
) -> None:
    """The published model needs a GPU of 16 GB, or of 10 in 8 bits; else it fails before the pull.

    Args:
        needed: what the refusal says; empty: there is none.
    """
    card(monkeypatch, total_bytes)
    published = {"HIGGS_MODEL": "", "HF_ENDPOINT": "http://127.0.0.1:9", "HIGGS_DEVICE": "cuda"}
    refused = refusals(tmp_path, HIGGS_DTYPE=dtype, **published).get("gpu_is_usable", "")
    assert bool(refused) == bool(needed)
    assert needed in refused


def test_each_format_is_counted_as_the_plan_does() -> None:
    """The constants of the published weights are those of its sizes."""
    device = torch.device("cuda")
    for name, counted in checks.PUBLISHED_BYTES.items():
        number_format = NumberFormat.named(name, device)
        taken = weight_bytes(PUBLISHED, number_format, device)
        assert counted == pytest.approx(taken, rel=0.02)


def test_the_encoder_is_counted_as_the_plan_does() -> None:
    """The constants of the published one are those of its sizes, whatever the reference."""
    for reference_s in (10, 60, 600):
        held = held_bytes(REAL.codec, reference_s)
        counted = checks.ENCODER_BYTES + checks.REFERENCE_BYTES_PER_S * reference_s
        assert counted == pytest.approx(held, rel=0.05)


def test_slots_that_do_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slots that the operator chose count, and the failure names the settings to lower."""
    card(monkeypatch, 2e9)
    assert refusals(tmp_path, HIGGS_DEVICE="cuda") == {}
    many = {"HIGGS_MAX_SLOTS": "256", "HIGGS_MAX_LENGTH": "32768", "HIGGS_DEVICE": "cuda"}
    assert "lower HIGGS_MAX_SLOTS" in refusals(tmp_path, **many)["gpu_is_usable"]


def test_a_machine_with_little_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, the model has to fit into the container's memory."""
    assert checks._memory_bytes() > 1e9
    monkeypatch.setattr(memory, "container_free_memory", lambda: 100_000_000)
    refused = refusals(tmp_path, HIGGS_MODEL="", HF_ENDPOINT="http://127.0.0.1:9")
    assert "the model needs 23.8 GB of memory" in refused["gpu_is_usable"]
    assert "give the worker more memory, or take a machine with a GPU" in refused["gpu_is_usable"]


def warnings(caplog: pytest.LogCaptureFixture, volume: Path, **variables: str) -> str:
    """Run the checks, none of which may fail, and return what they warn of."""
    caplog.clear()
    assert refusals(volume, **variables) == {}
    return "\n".join(each.message for each in caplog.records if each.levelname == "WARNING")


def test_a_model_that_is_not_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An impossible name, an incomplete directory and another model's checkpoint are told of.

    The jobs get the reason; another worker would have no other one.
    """
    told = warnings(caplog, tmp_path, HIGGS_MODEL="no such thing")
    assert "model_is_usable: " in told
    told = warnings(caplog, tmp_path, HIGGS_CODEC=str(tmp_path))
    assert "codec: " in told
    assert "has no config.json and no model.safetensors" in told
    other = tmp_path / "other"
    shutil.copytree(DEMO_DIRECTORY / "model", other)
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"model_type": "gpt2"}))
    assert "model_type is 'gpt2'" in warnings(caplog, tmp_path, HIGGS_MODEL=str(other))


def test_weights_that_cannot_be_pulled(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Missing weights while offline, an unknown repository and a wrong token are told of."""
    offline = warnings(caplog, tmp_path, HIGGS_MODEL=REPO, HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE forbids" in offline
    with StandIn({"config.json": b"{}"}) as hub:
        known = {"HF_ENDPOINT": hub.endpoint, "HIGGS_MODEL": REPO, "HIGGS_CODEC": "demo"}
        assert warnings(caplog, tmp_path, **known) == ""
        unknown = warnings(caplog, tmp_path, **known | {"HIGGS_MODEL": "nobody/nothing"})
        assert "the hub knows no nobody/nothing" in unknown
        hub.needs_token = True
        wrong = warnings(caplog, tmp_path, **known, HF_TOKEN="hf_another")
        assert "HF_TOKEN" in wrong
        assert "hf_another" not in wrong
        assert warnings(caplog, tmp_path, **known, HF_TOKEN=TOKEN) == ""


def test_damaged_weights_are_not_a_failure(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """They are logged, with what the first job does about them where it can."""
    repo = tmp_path / "bosonai" / "models--bosonai--toy"
    snapshot = repo / "snapshots" / ("1" * 40)
    snapshot.mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text("1" * 40)
    for name in FILES["model"]:
        blob = repo / "blobs" / (f"{len(name):x}" * 64)[:64]
        blob.parent.mkdir(exist_ok=True)
        blob.write_text("{not json")
        (snapshot / name).symlink_to(Path("../../blobs") / blob.name)
    caplog.set_level("INFO")
    refused = refusals(tmp_path, HIGGS_MODEL=REPO)
    assert "is not JSON" in caplog.text
    assert refused.keys() <= {"hub_gives_weights"}
    config = (snapshot / "config.json").resolve()
    config.write_text('{"model_type": "another"}')
    assert refusals(tmp_path, HIGGS_MODEL=REPO).keys() <= {"hub_gives_weights"}
    assert "the first job asks the hub for a newer commit" in caplog.text
    for fixed in ({"HIGGS_MODEL_REVISION": "1" * 40}, {"HF_HUB_OFFLINE": "1"}):
        caplog.clear()
        refused = refusals(tmp_path, HIGGS_MODEL=REPO, **fixed)
        assert refused.keys() <= {"hub_gives_weights"}
        assert "model_type is 'another'" in caplog.text
        assert "the first job" not in caplog.text.partition("codec")[0]


def test_a_hub_that_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It is logged as a warning, and the start does not wait for it."""
    monkeypatch.setattr(startup, "NETWORK_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        started = time.monotonic()
        silence = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert refusals(tmp_path, HIGGS_MODEL=REPO, HF_ENDPOINT=silence) == {}
        assert time.monotonic() - started < 2
    assert "hub_gives_weights: no answer within 0.3 s" in caplog.text
    monkeypatch.setattr(startup, "NETWORK_S", 20.0)
    assert refusals(tmp_path, HIGGS_MODEL=REPO, HF_ENDPOINT="http://127.0.0.1:9") == {}
    assert "check the network" in caplog.text


def test_a_volume_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A local check that does not answer in time makes the worker unfit."""
    monkeypatch.setattr(startup, "LOCAL_S", 0.05)
    monkeypatch.setattr(checks, "check_volume", lambda _: time.sleep(0.5))
    assert "no answer within 0.05 s" in refusals(tmp_path)["volume_is_writable"]


def test_checks_run_side_by_side(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start takes as long as the slowest check, not as long as all of them."""

    def slow(*_: object) -> checks.CheckResult:
        time.sleep(0.3)
        return checks.CheckResult("slow", "ok", "")

    for name in ("volume", "checkpoint", "gpu", "hub", "bucket"):
        monkeypatch.setattr(checks, name, slow)
    started = time.monotonic()
    assert refusals(tmp_path) == {}
    assert time.monotonic() - started < 0.9
