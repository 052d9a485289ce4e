"""Where checkpoints are: the embedded demo model or a directory on disk."""

from pathlib import Path

from higgs_worker.errors import WeightsNotFound

DEMO = "demo"


def locate(name: str, kind: str) -> Path:
    """Find a checkpoint's directory.

    Args:
        name: a directory, or `demo`.
        kind: "model" or "codec".

    Raises:
        WeightsNotFound: neither of them.
    """
    if name == DEMO:
        return Path(__file__).parent / "demo" / kind
    directory = Path(name).expanduser()
    if directory.is_dir():
        return directory
    raise WeightsNotFound(
        f"HIGGS_{kind.upper()}={name} is not a directory here; fetch the files with "
        f"`hf download {name} --local-dir DIR` and set HIGGS_{kind.upper()}=DIR"
    )
