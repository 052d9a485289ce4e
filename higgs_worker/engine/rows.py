"""A prompt as rows: one per position, text ids and audio columns.

Reference codes are laid out in the delay pattern, and the forced first column of the answer stands
at the end: it is part of what the model reads. Host-side arrays, without torch.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.delay import delay
from higgs_worker.engine.sequence import AudioSegment, Codes, Prompt


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """What stands at each position."""

    text_ids: NDArray[np.int64]
    """[T]; -1 at audio positions."""
    columns: Codes
    """[T, K]; zero at text positions."""
    num_shared: int
    """Positions of the segments that other prompts share."""

    @classmethod
    def of(cls, prompt: Prompt, config: ModelConfig) -> "Layout":
        """Lay a prompt out."""
        bos, eos = config.stream_bos_id, config.stream_eos_id
        ids: list[NDArray[np.int64]] = []
        columns: list[Codes] = []
        for part in prompt.segments:
            if isinstance(part, AudioSegment):
                columns.append(delay(part.codes, bos, eos))
                ids.append(np.full(len(columns[-1]), -1))
            else:
                ids.append(np.asarray(part.ids, dtype=np.int64))
                columns.append(np.zeros((len(part.ids), config.num_codebooks), dtype=np.int64))
        ids.append(np.full(1, -1))
        columns.append(np.full((1, config.num_codebooks), bos))
        return cls(
            text_ids=np.concatenate(ids),
            columns=np.concatenate(columns),
            num_shared=sum(map(len, ids[: prompt.num_shared])),
        )

    @property
    def num_positions(self) -> int:
        """Positions in all, the forced first column included."""
        return len(self.text_ids)

    def heard(self, max_columns: int) -> Codes:
        """Give the last audio columns, the forced first one included, [at most max_columns, K]."""
        return self.columns[self.text_ids < 0][-max_columns:]


def num_positions(prompt: Prompt, config: ModelConfig) -> int:
    """Count the positions of a prompt without laying it out, the forced first column included."""
    extra = config.num_codebooks + 1
    return 1 + sum(
        len(part.codes) + extra if isinstance(part, AudioSegment) else len(part.ids)
        for part in prompt.segments
    )
