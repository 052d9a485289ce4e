"""Train the codec's decoder: latents -> PCM that sounds like the recordings.

The loss compares magnitudes at several resolutions and a log-mel spectrum, never the waveform,
because the codes do not hold its phase.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.decoder import AcousticDecoder
from training.demo_voice.frames import Quantiser, mel_filters, spectra
from training.demo_voice.speech import HOP, Recordings
from training.demo_voice.training_run import TrainingRun, set_rate

FRAMES = 32
MARGIN = 4
"""Frames of context at both ends, which the loss leaves out."""
BATCH = 4
PEAK_RATE = 1e-3
WINDOWS = (2048, 1024, 512, 128)


def distance(made: Tensor, real: Tensor, filters: Tensor) -> Tensor:
    """Return the spectral distance between two sounds [B, S]."""
    total = 15 * F.l1_loss(spectra(made, 240, filters), spectra(real, 240, filters)) / 4
    for window in WINDOWS:
        shape = torch.hann_window(window)

        def magnitudes(pcm: Tensor, window: int = window, shape: Tensor = shape) -> Tensor:
            found = torch.stft(pcm, window, window // 4, window=shape, return_complex=True)
            return (torch.view_as_real(found).square().sum(-1) + 1e-7).sqrt() / window**0.5

        ours, theirs = magnitudes(made), magnitudes(real)
        total = total + F.l1_loss((ours + 1e-3).log(), (theirs + 1e-3).log())
        total = total + (ours - theirs).norm() / theirs.norm().clamp(min=1e-3) / 2
    return total


def train(
    recordings: Recordings,
    quantiser: Quantiser,
    codes: Tensor,
    config: CodecConfig,
    *,
    path: Path,
    minutes: float,
) -> AcousticDecoder:
    """Train for `minutes` in total, from the checkpoint at `path` if there is one."""
    torch.manual_seed(0)
    decoder = AcousticDecoder(config)
    optimizer = torch.optim.AdamW(decoder.parameters(), lr=PEAK_RATE, betas=(0.8, 0.99))
    run = TrainingRun(path, minutes, {"decoder": decoder, "optimizer": optimizer})
    torch.manual_seed(run.step)
    filters = mel_filters()
    smoothed = 0.0
    while True:
        first = torch.randint(len(codes) - FRAMES, (BATCH,))
        latents = quantiser.decode(torch.stack([codes[at : at + FRAMES] for at in first]).long())
        real = torch.stack(
            [
                torch.from_numpy(recordings.pcm[at * HOP : (at + FRAMES) * HOP] / 32768)
                for at in first.tolist()
            ]
        )
        real = real[:, MARGIN * HOP : -MARGIN * HOP].float()
        made = decoder(latents.transpose(1, 2))[:, MARGIN * HOP : -MARGIN * HOP]
        loss = distance(made, real, filters)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(decoder.parameters(), 10.0)
        set_rate(optimizer, run.rate(PEAK_RATE))
        optimizer.step()
        smoothed = loss.item() if not smoothed else 0.99 * smoothed + 0.01 * loss.item()
        if not run.advance(f"loss {smoothed:.3f}"):
            return decoder
