"""Turn frames into codes without training: a residual quantiser on spectra.

A frame's latent is a linear map of its log-mel spectrum, so it needs no network. The residual
codebooks are found by k-means, which cannot collapse. So decoder, encoder and language model can be
trained at the same time, from the same codes.

The first codebooks encode what is said, like those of semantic codecs. Each of their entries
belongs to one sound, and a frame gets the nearest entry of its sound, of the sound before, and so
on. So the codes hold what a language model needs to find its position in the text.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from training.demo_voice.sounds import ALPHABET
from training.demo_voice.speech import HOP, SAMPLE_RATE, Recordings

NUM_MELS = 100
PARTS = 2
"""Spectra per frame."""
WINDOW = 1024
LATENT_DIM = 64
NUM_CODEBOOKS = 8
CODEBOOK_SIZE = 1024
NUM_LABELLED = 3
"""Codebooks whose entries belong to sounds: the current one, and the two before it."""
NUM_LABELS = 2 * len(ALPHABET)
FLOOR = 1e-4


def mel_filters(num_mels: int = NUM_MELS, window: int = WINDOW) -> Tensor:
    """Return triangular filters, evenly spaced in mel, of area 1: [num_mels, window / 2 + 1]."""
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
    """Return log-mel spectra [..., S / hop, num_mels] of PCM [..., S]; `hop` divides S."""
    window = 2 * (filters.shape[1] - 1)
    edge = (window - hop) // 2
    padded = torch.nn.functional.pad(pcm, (edge, window - hop - edge))
    slices = padded.unfold(-1, window, hop) * torch.hann_window(window)
    amplitudes = torch.fft.rfft(slices).abs() * (2 / window)
    return (amplitudes @ filters.T).clamp(min=FLOOR).log()


def features(pcm: NDArray[np.int16]) -> Tensor:
    """Return the log-mel features of each frame, [F, PARTS x NUM_MELS]."""
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
    """[]: scales latents to about unit size."""
    codebooks: Tensor
    """[K, V, LATENT_DIM]."""
    owners: Tensor
    """[NUM_LABELLED, V], the label that each entry of the first codebooks belongs to."""

    @classmethod
    def fit(
        cls,
        seen: Tensor,
        labels: Tensor,
        seed: int,
        *,
        rounds: int = 12,
        like: "Quantiser | None" = None,
    ) -> "Quantiser":
        """Return the quantiser that fits features.

        Args:
            seen: features [N, PARTS x NUM_MELS].
            labels: their sounds, [N, NUM_LABELLED], see `labels_of`.
            seed: of the random numbers.
            rounds: of k-means.
            like: a quantiser whose latents are kept.
        """
        torch.manual_seed(seed)
        if like is None:
            mean = seen.mean(0)
            centred = seen - mean
            _, vectors = torch.linalg.eigh(centred.T @ centred / len(seen))
            basis = vectors.flip(1)[:, :LATENT_DIM].T.contiguous()
            scale = 1 / (centred @ basis.T).std()
        else:
            mean, basis, scale = like.mean, like.basis, like.scale
        rest = (seen - mean) @ basis.T * scale
        whole = rest.square().mean()
        books, owners = [], []
        for number in range(NUM_CODEBOOKS):
            is_labelled = number < NUM_LABELLED
            label = labels[:, number] if is_labelled else torch.zeros(len(rest), dtype=torch.long)
            owner = _shares(label)
            book = _means(rest, label, owner, rounds)
            rest = rest - book[_nearest(rest, book, label, owner)]
            books.append(book)
            owners.append(owner)
            print(f"codebook {number}: {rest.square().mean() / whole:.4f} left", flush=True)
        return cls(mean, basis, scale, torch.stack(books), torch.stack(owners[:NUM_LABELLED]))

    def latents(self, seen: Tensor) -> Tensor:
        """Return the latents of features, [N, LATENT_DIM]."""
        return (seen - self.mean) @ self.basis.T * self.scale

    def codes(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Return the codes of labelled frames, [N, K] int64."""
        rest, found = latents, []
        for number, book in enumerate(self.codebooks):
            if number < NUM_LABELLED:
                near = _nearest(rest, book, labels[:, number], self.owners[number])
            else:
                near = _nearest(rest, book)
            found.append(near)
            rest = rest - book[near]
        return torch.stack(found, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the latents of codes [..., K], [..., LATENT_DIM]."""
        return sum(book[codes[..., number]] for number, book in enumerate(self.codebooks))

    def save(self, path: Path) -> None:
        """Write all tensors to one file."""
        save_file({name: getattr(self, name).contiguous() for name in self.__slots__}, path)

    def save_fit(self, path: Path) -> None:
        """Write all tensors but the codebooks, which are in the codec's checkpoint."""
        kept = [name for name in self.__slots__ if name != "codebooks"]
        save_file({name: getattr(self, name) for name in kept}, path)

    @classmethod
    def load(cls, path: Path) -> "Quantiser":
        """Read what `save` wrote."""
        return cls(**load_file(path))


def _nearest(
    points: Tensor, book: Tensor, label: Tensor | None = None, owner: Tensor | None = None
) -> Tensor:
    """Return the nearest entry of each point, among those of its label if it has one."""
    found = []
    for first in range(0, len(points), 20_000):
        part = slice(first, first + 20_000)
        far = book.square().sum(1) - 2 * points[part] @ book.T
        if label is not None and owner is not None:
            far.masked_fill_(label[part, None] != owner, torch.inf)
        found.append(far.argmin(1))
    return torch.cat(found)


def _shares(label: Tensor) -> Tensor:
    """Return the label of each entry of a codebook, [V]: frequent labels get more entries.

    Every possible label gets at least one entry.
    """
    counts = torch.bincount(label, minlength=1).double()
    if len(counts) > 1:
        counts = torch.cat([counts, counts.new_zeros(NUM_LABELS - len(counts))])
    spare = CODEBOOK_SIZE - len(counts)
    ends = (counts.cumsum(0) / counts.sum() * spare).round().long()
    numbers = 1 + ends.diff(prepend=ends.new_zeros(1))
    return torch.arange(len(counts)).repeat_interleave(numbers)


def _means(points: Tensor, label: Tensor, owner: Tensor, rounds: int) -> Tensor:
    """Return the centres of each label's points, by k-means.

    A centre without points moves to a random point of its label; a label without any gets the mean
    of all points.
    """
    book = points.mean(0).repeat(len(owner), 1)
    by_label = {int(each): (label == each).nonzero()[:, 0] for each in label.unique()}

    def some(entries: Tensor) -> None:
        for number in entries.tolist():
            own = by_label.get(int(owner[number]))
            if own is not None:
                book[number] = points[own[torch.randint(len(own), ())]]

    some(torch.arange(len(owner)))
    for _ in range(rounds):
        near = _nearest(points, book, label, owner)
        counts = torch.bincount(near, minlength=len(owner))
        sums = torch.zeros_like(book).index_add_(0, near, points)
        used = counts > 0
        book[used] = sums[used] / counts[used, None]
        some((~used).nonzero()[:, 0])
    return book


def labels_of(recordings: Recordings) -> Tensor:
    """Return the labels of each frame, [F, NUM_LABELLED].

    The first label is the sound; its first frame has a label of its own. The second label is the
    sound before it, the third the one before that; at the start they are pauses.
    """
    sounds, number = recordings.sounds.astype(np.int64), recordings.numbers
    begins = np.zeros(len(sounds), bool)
    begins[recordings.starts[:-1]] = True
    is_onset = begins | (np.diff(number, prepend=0) != 0)
    course = np.cumsum(is_onset) - 1  # which sound of all recordings
    said = np.concatenate([np.zeros(NUM_LABELLED, np.int64), sounds[is_onset]])
    labels = [2 * sounds + is_onset]
    for back in range(1, NUM_LABELLED):
        labels.append(np.where(number < back, 0, said[NUM_LABELLED + course - back]))
    return torch.from_numpy(np.stack(labels, 1))


def of_corpus(recordings: Recordings) -> Tensor:
    """Return the features of all frames, each recording alone, [F, PARTS x NUM_MELS]."""
    num_recordings = len(recordings.texts)
    return torch.cat([features(recordings.pcm_of(index)) for index in range(num_recordings)])
