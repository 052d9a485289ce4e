"""The doctor: what an operator reads before the first job."""

import json
from pathlib import Path

import pytest

from higgs_worker.cli.main import main
from higgs_worker.health.checks import CheckResult
from higgs_worker.health.doctor import examine
from higgs_worker.load import checkpoint_source
from higgs_worker.settings import Settings


def examine_all(volume: Path, **variables: str) -> dict[str, CheckResult]:
    """Return the last result of each check, for a worker with these variables."""
    settings = Settings.from_env({"HIGGS_VOLUME": str(volume), **variables})
    return {each.name: each for each in examine(settings, checkpoint_source(settings))}


def test_all_is_well_with_the_demo(tmp_path: Path) -> None:
    """Nothing fails, versions are shown, and no file stays on the volume."""
    found = examine_all(tmp_path, HIGGS_MODEL="demo", HIGGS_DEVICE="cpu")
    assert {each.state for each in found.values()} <= {"ok", "warning"}
    assert "torch 2." in found["versions"].sentence
    assert "MB/s" in found["volume"].sentence
    assert not list(tmp_path.glob("*/*"))


def test_missing_weights_and_hub_are_reported(tmp_path: Path) -> None:
    """Missing weights are a warning; an unreachable hub is a failure that says what to do."""
    found = examine_all(tmp_path, HF_ENDPOINT="http://127.0.0.1:9", HIGGS_DEVICE="cpu")
    assert found["model"].state == "warning"
    assert found["hub"].state == "failed"
    assert "check the network" in found["hub"].sentence
    offline = examine_all(tmp_path, HF_HUB_OFFLINE="1", HIGGS_DEVICE="cpu")
    assert offline["model"].state == "failed"
    assert "HF_HUB_OFFLINE" in offline["model"].sentence


def test_an_unusable_volume_is_reported(tmp_path: Path) -> None:
    """A file where the directory should be is a failure that names HIGGS_VOLUME."""
    (tmp_path / "file").write_text("")
    found = examine_all(tmp_path / "file", HIGGS_MODEL="demo", HIGGS_DEVICE="cpu")
    assert found["volume"].state == "failed"
    assert "set HIGGS_VOLUME" in found["volume"].sentence


def test_a_missing_gpu_is_reported(tmp_path: Path) -> None:
    """With HIGGS_DEVICE=cuda, a machine without a GPU fails the check."""
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    found = examine_all(tmp_path, HIGGS_MODEL="demo", HIGGS_DEVICE="cuda")
    assert found["gpu"].state == "failed"


def test_misspelled_names_are_pointed_out(tmp_path: Path) -> None:
    """A variable that nothing reads is a warning that suggests the nearest known name."""
    found = examine_all(tmp_path, HIGGS_MODEL="demo", HIGGS_MAX_SLOT="4", HIGGS_DEVICE="cpu")
    assert found["settings"].state == "warning"
    assert "did you mean HIGGS_MAX_SLOTS?" in found["settings"].sentence


def test_no_secret_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys and tokens are used, and no result contains them."""
    secrets = {
        "HF_TOKEN": "hf_verysecretvalue",
        "AWS_ACCESS_KEY_ID": "AKIAVERYSECRET",
        "AWS_SECRET_ACCESS_KEY": "averysecretkey",
    }
    variables = {
        **secrets,
        "HIGGS_S3_BUCKET": "bucket",
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
        "HIGGS_MODEL": "demo",
        "HIGGS_DEVICE": "cpu",
    }
    found = examine_all(tmp_path, **variables)
    shown = repr(found)
    assert found["s3"].state == "failed"
    for shown_as in ("HF_TOKEN=***", "AWS_SECRET_ACCESS_KEY=***", "HIGGS_S3_BUCKET=bucket"):
        assert shown_as in found["settings"].sentence
    assert not [secret for secret in secrets.values() if secret in shown]


def test_the_exit_code_of_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is 0 if all checks pass and 1 if one fails, as text and as JSON."""
    monkeypatch.setenv("HIGGS_MODEL", "demo")
    monkeypatch.setenv("HIGGS_DEVICE", "cpu")
    monkeypatch.setenv("HIGGS_VOLUME", str(tmp_path))
    assert main(["doctor"]) == 0
    assert "ok       model     demo is here" in capsys.readouterr().out
    monkeypatch.setenv("HIGGS_DEVICE", "cuda:99")
    assert main(["--json", "doctor"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] is True


def test_fetch_says_where_the_weights_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Weights that are there already are checked, and their directory is printed."""
    monkeypatch.setenv("HIGGS_MODEL", "demo")
    assert main(["--json", "fetch"]) == 0
    assert json.loads(capsys.readouterr().out)["model"].endswith("demo/model")
