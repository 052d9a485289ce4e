"""A stand-in for torchaudio: as much of it as transformers' codec needs to be imported.

The real one has compiled parts that do not load beside a CPU build of torch. Decoding calls nothing
of it; encoding would resample, and says here that it cannot, so no test can pass on made-up audio.
"""

from types import SimpleNamespace
from typing import NoReturn


def resample(*args: object, **kwargs: object) -> NoReturn:
    """Refuse: encoding needs the real torchaudio."""
    raise NotImplementedError(
        "the stand-in for torchaudio cannot resample; only decoding is tested"
    )


functional = SimpleNamespace(resample=resample)
