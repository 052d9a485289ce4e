"""The benchmark of the real size runs at a tiny one, so that no typing error costs half an hour."""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.gpu.checkpoints import header
from benchmarks.gpu.part import run_part
from benchmarks.real_size import __main__ as command
from benchmarks.real_size import checkpoint, hub, plan, setup
from higgs_worker.weights.locate import CheckpointSource, locate_checkpoint

ROOT = Path(__file__).parents[2]
WITH_A_WORKER = ("starts", "cloning")
NUM_IDS = 128_000
"""Of Llama 3, without its control tokens."""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> setup.Setup:
    """Both checkpoints, built."""
    made = setup.tiny(tmp_path_factory.mktemp("real_size"), ROOT)
    for kind in setup.REPOS:
        checkpoint.build(made, kind)
    return made


def rows_of(lines: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each table; there must be no error among them."""
    assert [line["error"] for line in lines if "error" in line] == []
    tables = defaultdict(list)
    for line in lines:
        if "row" in line:
            tables[line["table"]].append(line["row"])
    return dict(tables)


@pytest.mark.slow
def test_the_model_has_the_published_size() -> None:
    """397 tensors, and the file's length to the byte, so every name and shape is right."""
    tensors = checkpoint.model_tensors(checkpoint.model_config(setup.real(Path(), Path()), NUM_IDS))
    assert len(tensors) == 397
    head, _ = header(tensors)
    num_bytes = len(head) + sum(each.nbytes for each in tensors.values())
    assert num_bytes == setup.real(Path(), Path()).published_bytes["model"]
    assert {each.dtype for each in tensors.values()} == {torch.bfloat16}


@pytest.mark.slow
def test_what_needs_no_worker(tiny: setup.Setup, tmp_path: Path) -> None:
    """At tiny sizes ours and transformers' agree, and what is built already is used again."""
    path = tmp_path / "rows"
    with path.open("w") as file:
        for part in plan.PARTS:
            if part.name not in WITH_A_WORKER:
                run_part(part.module, tiny, file)
    tables = rows_of([json.loads(line) for line in path.read_text().splitlines()])
    assert [row["is_reused"] for row in tables["files"]] == [True, True]
    for name in ("vocabulary", "prompts", "codes", "columns"):
        for row in tables[name]:
            assert row["equal"] == row.get("columns", row.get("codes", row["equal"])) > 0
    assert tables["controls"][0]["spellings"] == 4 * 256
    assert [row["of"] for row in tables["logits"]] == ["ours", "transformers"]


def test_the_hub_sends_what_was_built(tiny: setup.Setup, tmp_path: Path) -> None:
    """A worker's own pull takes it, with every checksum."""
    with hub.serving(tiny.hub) as endpoint:
        source = CheckpointSource(volume=tmp_path, endpoint=endpoint, caches=())
        found = locate_checkpoint(setup.REPOS["codec"], "codec", source)
    assert found.revision == hub.COMMIT
    pulled, built = (
        each / checkpoint.WEIGHTS for each in (found.directory, tiny.directory("codec"))
    )
    assert pulled.read_bytes() == built.read_bytes()


def test_a_machine_that_is_too_small_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before anything is built."""
    monkeypatch.setattr(command, "DISK_GB", 10**9)
    with pytest.raises(SystemExit):
        command.main([f"--out={tmp_path / 'out'}"])
    assert "GB free, and 1000000000 are needed" in capsys.readouterr().err


@pytest.mark.long
def test_every_part_runs(tmp_path: Path) -> None:
    """As its user calls it, with real workers: every table has its rows, and nothing is left."""
    out = tmp_path / "out"
    run = subprocess.run(
        [sys.executable, "-m", "benchmarks.real_size", "--rehearse", f"--out={out}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,  # the rehearsal ends itself before
    )
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr
    report = json.loads((out / "report.json").read_text())
    assert [part["name"] for part in report["parts"]] == [part.name for part in plan.PARTS]
    starts = report["tables"]["starts"]["rows"]
    assert [row["start"] for row in starts] == [setup.EMPTY, setup.WARM]
    assert all(row["audio s"] == pytest.approx(0.2) and row["peak GB"] > 0.1 for row in starts)
    assert [row["took s"] > 0 for row in report["tables"]["cloning"]["rows"]] == [True, True]
    assert {each.name for each in out.iterdir()} == {"parts", "report.json", "report.md"}
