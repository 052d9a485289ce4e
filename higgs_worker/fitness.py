"""What a worker needs before it may take jobs, checked once at start.

A check that fails raises; the platform shows its name and sentence and replaces the worker. Knows
neither the SDK that runs the checks nor the model.
"""

from collections.abc import Callable
from pathlib import Path

from higgs_worker.errors import EngineBroken, VolumeUnusable
from higgs_worker.volume import write_whole

Check = Callable[[], None]

_NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")


def fitness_checks(device: str, volume: Path) -> list[Check]:
    """Return the checks that the settings call for.

    Args:
        device: as the settings name it.
        volume: where voices are kept.
    """

    def gpu_is_usable() -> None:
        check_gpu(device)

    def volume_is_writable() -> None:
        check_volume(volume)

    checks: list[Check] = [volume_is_writable]
    # On `auto`, a GPU that torch cannot use must not turn into a worker that is 50 times slower.
    if device.startswith("cuda") or (device == "auto" and _NVIDIA_DRIVER.exists()):
        checks.insert(0, gpu_is_usable)
    return checks


def check_gpu(device: str) -> None:
    """Use the GPU.

    Raises:
        EngineBroken: there is none that works.
    """
    import torch

    try:
        torch.ones(1, device="cuda" if device == "auto" else device).sum().item()
    # An assertion fails where torch was built without CUDA.
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0].strip().rstrip(".")
        raise EngineBroken(
            f"HIGGS_DEVICE is {device} and the GPU does not work ({reason}); take another GPU or "
            "driver, or set HIGGS_DEVICE=cpu"
        ) from error


def check_volume(volume: Path) -> None:
    """Write to the volume.

    Raises:
        VolumeUnusable: it takes nothing.
    """
    # A mounted volume's top may be root's alone; what the worker writes is in folders of its own.
    probe = volume / "voices" / ".fitness"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        write_whole(probe, b"fit", replace=True)
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise VolumeUnusable(
            f"{volume} cannot be written ({error.strerror}); mount a writable volume there, or "
            "set HIGGS_VOLUME to a directory that is"
        ) from error
