"""Train the codec's acoustic encoder: PCM -> the latents that the codes were made from.

With it a recording can be sent as a reference, although the model knows one voice only.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from higgs_worker.codec.encoder import AcousticEncoder
from higgs_worker.codec.encoder_config import EncoderConfig
from training.demo_voice.speech import HOP, Recordings
from training.demo_voice.training_run import TrainingRun, set_rate

FRAMES = 24
MARGIN = 2
"""Frames at both ends that the loss leaves out: their context is cut off."""
BATCH = 6
PEAK_RATE = 1e-3


def train(
    recordings: Recordings, latents: Tensor, config: EncoderConfig, *, path: Path, minutes: float
) -> AcousticEncoder:
    """Train for `minutes` in total, from the checkpoint at `path` if there is one.

    Args:
        recordings: their PCM has [F x HOP] samples together.
        latents: of their frames, [F, LATENT_DIM].
        config: sizes.
        path: of the checkpoint.
        minutes: in total, all restarts included.
    """
    torch.manual_seed(0)
    encoder = AcousticEncoder(config)
    optimizer = torch.optim.AdamW(encoder.parameters(), lr=PEAK_RATE, betas=(0.8, 0.99))
    run = TrainingRun(path, minutes, {"encoder": encoder, "optimizer": optimizer})
    torch.manual_seed(run.step)
    smoothed = 0.0
    inner = slice(MARGIN, FRAMES - MARGIN)
    while True:
        first = torch.randint(len(latents) - FRAMES, (BATCH,)).tolist()
        pieces = [
            torch.from_numpy(recordings.pcm[at * HOP : (at + FRAMES) * HOP] / 32768) for at in first
        ]
        wanted = torch.stack([latents[at : at + FRAMES] for at in first])
        found = encoder(torch.stack(pieces).float()).transpose(1, 2)
        loss = F.mse_loss(found[:, inner], wanted[:, inner])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        set_rate(optimizer, run.rate(PEAK_RATE))
        optimizer.step()
        smoothed = loss.item() if not smoothed else 0.99 * smoothed + 0.01 * loss.item()
        if not run.advance(f"loss {smoothed:.3f}"):
            return encoder
