"""transformers' `generate`, as its users call it: a batch at a time, under its own `no_grad`."""

from collections.abc import Callable, Sequence

import torch
from transformers import GenerationConfig, HiggsAudioV2ForConditionalGeneration
from transformers.generation.streamers import BaseStreamer

from benchmarks.models import END_OF_TURN, PAD
from higgs_worker.engine.sequence import Prompt, Sampling, TextSegment

Reference = HiggsAudioV2ForConditionalGeneration


class _Meter(BaseStreamer):
    """Reads a meter whenever `generate` passes ids on: first the prompt's, then every step's."""

    def __init__(self, read: Callable[[], float]) -> None:
        self._read = read
        self.readings: list[float] = []

    def put(self, value: torch.Tensor) -> None:
        self.readings.append(self._read())

    def end(self) -> None:
        pass


def decode(
    model: Reference,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    num_frames: int,
    read: Callable[[], float],
) -> list[float]:
    """Generate one batch; read a meter after the second column and after every later one."""
    meter = _Meter(read)
    _generate(model, prompts, sampling, num_frames, meter)
    # Left out: the prompt, the prefill's column, and the column that our prefill draws as well.
    return meter.readings[2:]


def serve(
    model: Reference,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    lengths: Sequence[int],
    batch: int,
) -> None:
    """Generate sequences in order, `batch` at a time: a batch ends with its longest sequence."""
    for first in range(0, len(prompts), batch):
        part = slice(first, first + batch)
        _generate(model, prompts[part], sampling, max(lengths[part]), None)


def _generate(
    model: Reference,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    num_frames: int,
    streamer: BaseStreamer | None,
) -> None:
    settings = GenerationConfig(
        max_new_tokens=num_frames + model.config.num_codebooks,
        bos_token_id=1,
        eos_token_id=END_OF_TURN,
        pad_token_id=PAD,
        do_sample=sampling.temperature > 0,
    )
    if settings.do_sample:
        settings.temperature = sampling.temperature
        settings.top_k = sampling.top_k
        settings.top_p = sampling.top_p
    if sampling.ras_window:
        settings.ras_win_len = sampling.ras_window
        settings.ras_win_max_num_repeat = sampling.ras_max_repeats
    ids = torch.tensor([_text_ids(prompt) for prompt in prompts])
    model.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=settings,
        streamer=streamer,
    )


def _text_ids(prompt: Prompt) -> list[int]:
    return [i for part in prompt.segments if isinstance(part, TextSegment) for i in part.ids]
