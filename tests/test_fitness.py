"""Fitness: what a worker needs before it may take jobs."""

from pathlib import Path

import pytest

from higgs_worker.errors import EngineBroken, VolumeUnusable
from higgs_worker.fitness import check_gpu, check_volume, fitness_checks


def test_the_volume_takes_files_and_keeps_none(tmp_path: Path) -> None:
    """A directory that is not there yet is made, and no file is left in it."""
    check_volume(tmp_path / "new" / "volume")
    assert list((tmp_path / "new" / "volume").glob("*/*")) == []


def test_a_volume_that_cannot_be_written(tmp_path: Path) -> None:
    """The sentence names the place, the reason and the setting."""
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(VolumeUnusable, match=r"file/volume cannot be written .*HIGGS_VOLUME"):
        check_volume(tmp_path / "file" / "volume")


def test_a_gpu_that_is_not_there() -> None:
    """The sentence gives torch's reason and the ways out, on one line."""
    import torch

    if torch.cuda.device_count() > 63:
        pytest.skip("needs a machine with fewer GPUs")
    with pytest.raises(EngineBroken, match=r"HIGGS_DEVICE is cuda:63 .*HIGGS_DEVICE=cpu") as caught:
        check_gpu("cuda:63")
    assert "\n" not in caught.value.message


def test_a_device_that_works() -> None:
    """A check that passes says nothing."""
    check_gpu("cpu")


@pytest.mark.parametrize(
    ("device", "names"),
    [("cpu", ["volume_is_writable"]), ("cuda:1", ["gpu_is_usable", "volume_is_writable"])],
)
def test_checks_follow_the_settings(tmp_path: Path, device: str, names: list[str]) -> None:
    """A GPU is looked at only where one is asked for; each check tells its name."""
    checks = fitness_checks(device, tmp_path)
    assert [check.__name__ for check in checks] == names
    checks[-1]()
