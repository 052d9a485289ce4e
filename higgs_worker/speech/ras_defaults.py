"""How a model avoids repetition where a request does not say: its `generation_config.json`.

Only repetition-aware sampling (RAS) is taken from there. The published file has nothing else about
sampling, which for transformers means greedy; its authors recommend a temperature elsewhere, and
that is a request's default.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from higgs_worker.checkpoint.config_file import ConfigSection
from higgs_worker.checkpoint.json_file import read_json

FILE = "generation_config.json"
_SOURCE = "that of bosonai/higgs-audio-v2-generation-3B-base, or none"
_MOST = 64
"""Of both numbers, as in a request."""


@dataclass(frozen=True, slots=True)
class RasDefaults:
    """A window, and how often a code may be in it; see `SpeechRequest`."""

    window: int = 7
    max_repeats: int = 2

    @classmethod
    def from_directory(cls, directory: Path) -> "RasDefaults":
        """Read a checkpoint's file; where it or a key is absent, the published values hold.

        A key that is null switches RAS off, as it does upstream.

        Raises:
            WeightsNotFound: the file cannot be read.
            InvalidCheckpoint: it is damaged, or a number is out of bounds.
        """
        path = directory / FILE
        if not os.path.lexists(path):
            return cls()
        section = ConfigSection(str(path), _SOURCE, read_json(path, _SOURCE))
        keys = ("ras_win_len", "ras_win_max_num_repeat")
        if any(key in section.values and section.values[key] is None for key in keys):
            return cls(window=0)
        return cls(
            window=section.integer(keys[0], cls().window, most=_MOST, minimum=0),
            max_repeats=section.integer(keys[1], cls().max_repeats, most=_MOST),
        )
