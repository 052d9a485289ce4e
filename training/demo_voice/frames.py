"""Codes without training: what a frame sounds like, quantised step by step.

A frame's latent is a linear map of its log-mel spectrum, so it exists before any network does; the
residual codebooks are found by k-means, which cannot collapse. So the decoder, the encoder and the
language model learn side by side, each from the same codes.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.demo_voice.speech import HOP, SAMPLE_RATE, Spoken

NUM_MELS = 100
PARTS = 2
"""Spectra per frame."""
WINDOW = 1024
LATENT_DIM = 64
NUM_CODEBOOKS = 8
CODEBOOK_SIZE = 1024
FLOOR = 1e-4


def mel_filters(num_mels: int = NUM_MELS, window: int = WINDOW) -> Tensor:
    """Make triangles, evenly spaced in mel, each of area about one: [num_mels, window / 2 + 1]."""
    top = 2595 * np.log10(1 + SAMPLE_RATE / 2 / 700)
    edges = 700 * (10 ** (np.linspace(0, top, num_mels + 2) / 2595) - 1)
    bins = np.arange(window // 2 + 1) * SAMPLE_RATE / window
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.minimum(rising, falling).clip(0)
    # The lowest triangles can fall between two bins.
    nearest = np.abs(bins - edges[1:-1, None]).argmin(1)
    empty = filters.sum(1) == 0
    filters[empty, nearest[empty]] = 1.0
    return torch.from_numpy(filters / filters.sum(1, keepdims=True)).float()


def spectra(pcm: Tensor, hop: int, filters: Tensor) -> Tensor:
    """Give log-mel spectra [..., S / hop, num_mels] of PCM [..., S]; S is a multiple of the hop."""
    window = 2 * (filters.shape[1] - 1)
    edge = (window - hop) // 2
    padded = torch.nn.functional.pad(pcm, (edge, window - hop - edge))
    slices = padded.unfold(-1, window, hop) * torch.hann_window(window)
    amplitudes = torch.fft.rfft(slices).abs() * (2 / window)
    return (amplitudes @ filters.T).clamp(min=FLOOR).log()


def features(pcm: NDArray[np.int16]) -> Tensor:
    """Describe each frame, [F, PARTS x NUM_MELS]."""
    sound = torch.from_numpy(pcm.astype(np.float32) / 32768)
    logs = spectra(sound, HOP // PARTS, mel_filters())
    return logs.reshape(-1, PARTS * NUM_MELS)


@dataclass(frozen=True, slots=True)
class Quantiser:
    """Features -> latents -> codes."""

    mean: Tensor
    """[PARTS x NUM_MELS]."""
    basis: Tensor
    """[LATENT_DIM, PARTS x NUM_MELS], orthonormal."""
    scale: Tensor
    """[]: makes latents of about unit size."""
    codebooks: Tensor
    """[K, V, LATENT_DIM]."""

    @classmethod
    def fit(cls, seen: Tensor, seed: int, rounds: int = 12) -> "Quantiser":
        """Find it from features [N, PARTS x NUM_MELS]."""
        torch.manual_seed(seed)
        mean = seen.mean(0)
        centred = seen - mean
        _, vectors = torch.linalg.eigh(centred.T @ centred / len(seen))
        basis = vectors.flip(1)[:, :LATENT_DIM].T.contiguous()
        latents = centred @ basis.T
        scale = 1 / latents.std()
        rest = latents * scale
        books = []
        for number in range(NUM_CODEBOOKS):
            book = _means(rest, rounds)
            rest = rest - book[_nearest(rest, book)]
            books.append(book)
            print(f"codebook {number}: {rest.square().mean():.4f} of {1.0:.0f} left", flush=True)
        return cls(mean, basis, scale, torch.stack(books))

    def latents(self, seen: Tensor) -> Tensor:
        """Give [N, LATENT_DIM]."""
        return (seen - self.mean) @ self.basis.T * self.scale

    def codes(self, latents: Tensor) -> Tensor:
        """Quantise, [N, K] int64."""
        rest, found = latents, []
        for book in self.codebooks:
            found.append(_nearest(rest, book))
            rest = rest - book[found[-1]]
        return torch.stack(found, 1)

    def quantised(self, codes: Tensor) -> Tensor:
        """Give the latents of codes [..., K], [..., LATENT_DIM]."""
        return sum(book[codes[..., number]] for number, book in enumerate(self.codebooks))

    def save(self, path: Path) -> None:
        """Write it."""
        save_file({name: getattr(self, name).contiguous() for name in self.__slots__}, path)

    def save_fit(self, path: Path) -> None:
        """Write how latents are made; the codebooks are in the codec."""
        save_file({name: getattr(self, name) for name in ("mean", "basis", "scale")}, path)

    @classmethod
    def load(cls, path: Path) -> "Quantiser":
        """Read it."""
        return cls(**load_file(path))


def _nearest(points: Tensor, book: Tensor) -> Tensor:
    found = []
    for part in points.split(20_000):
        found.append((book.square().sum(1) - 2 * part @ book.T).argmin(1))
    return torch.cat(found)


def _means(points: Tensor, rounds: int) -> Tensor:
    """Find CODEBOOK_SIZE centres; one that nothing is near to moves to a random point."""
    book = points[torch.randperm(len(points))[:CODEBOOK_SIZE]].clone()
    for _ in range(rounds):
        near = _nearest(points, book)
        counts = torch.bincount(near, minlength=CODEBOOK_SIZE)
        sums = torch.zeros_like(book).index_add_(0, near, points)
        book = sums / counts.clamp(min=1)[:, None]
        empty = counts == 0
        book[empty] = points[torch.randint(len(points), (int(empty.sum()),))]
    return book


def of_corpus(spoken: Spoken) -> Tensor:
    """Describe all frames of a corpus, each recording alone, [F, PARTS x NUM_MELS]."""
    return torch.cat([features(spoken.recording(index)) for index in range(len(spoken.texts))])
