"""A volume that cannot hold weights: found out before the first byte is pulled."""

from pathlib import Path

import pytest

from higgs_worker.errors import VolumeUnusable
from higgs_worker.weights.locate import CheckpointSource, locate_checkpoint
from higgs_worker.weights.volume import check_abilities
from tests.fakes.hub import CALM, REPO, StandIn
from tests.fakes.volume import take_away

LACKS = {
    "symlink": r"no symbolic links \(CIFS has them with the mount option mfsymlinks\)",
    "pwrite": "no writing into the middle of a file",
    "replace": "no renaming over a file",
}


def test_a_volume_that_can_do_all(tmp_path: Path) -> None:
    """It passes, and nothing stays on it."""
    check_abilities(tmp_path / "new")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.parametrize("call", LACKS)
def test_what_a_volume_lacks_is_named_before_the_pull(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the reason and what to do; the hub is not even asked, and nothing stays."""
    take_away(monkeypatch, call, tmp_path)
    with StandIn({"config.json": b"{}"}) as hub:
        source = CheckpointSource(volume=tmp_path, endpoint=hub.endpoint, caches=(), limits=CALM)
        sentence = rf"{LACKS[call]}.* \(Operation not supported\); set HIGGS_VOLUME"
        with pytest.raises(VolumeUnusable, match=sentence):
            locate_checkpoint(REPO, "codec", source)
        assert hub.requests == []
    assert list((tmp_path / "bosonai").iterdir()) == []
