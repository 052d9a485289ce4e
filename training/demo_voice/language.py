"""Train the language model, text -> codes, on prompts as the worker builds them.

The sound of each frame is known, so a guide tells some attention heads where to attend until they
have learnt it. Without it, learning the alignment would take most of the time.
Source: Tachibana et al., https://arxiv.org/abs/1710.08969, section 4.2.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from higgs_worker.api.request import DEFAULT_SCENE
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.delay import delay
from higgs_worker.engine.rows import PromptRows
from higgs_worker.speech.prompt import (
    Control,
    PastTurn,
    PromptBuilder,
    PromptContext,
    SpeakerProfile,
)
from training.demo_voice.frames import NUM_LABELLED
from training.demo_voice.network import NUM_HEARD, Network
from training.demo_voice.speech import Recordings
from training.demo_voice.tokenizer import places
from training.demo_voice.training_run import TrainingRun, set_rate

BATCH_ROWS = 1300
"""Rows of a batch, padding included: many short sequences, or few long ones."""
PROMPT_ROWS = 45
"""About the rows of a prompt, text included."""
PEAK_RATE = 1.5e-3
SHORT_FRAMES = 50
"""Recordings of at most this length are learnt first."""
JOINED = (0.25, 0.6)
"""Share of the recordings that follow another one in an example, at first and at the end."""
EARLY, LATE, GUIDED = 0.08, 0.8, 0.95
"""Shares of the run: short recordings alone until EARLY, many joined from LATE on, heads guided
until GUIDED."""
MAX_FRAMES = 500
"""Limit of an example: the length of a chunk as the worker makes them."""
WINDOW = 1000
"""Recordings among which those of similar length are grouped."""
GUIDE_WIDTH = 0.4
"""Standard deviation of the guide around a position, in ids."""
NOWHERE = -30.0
GUIDE_WEIGHT = 0.5
AHEAD = (0, 1)
"""Where guided audio heads attend: the id of the last sound, and the next one."""
BEHIND = (1, 2)
"""Where guided text heads attend: the id before, and the one before that."""
NOISE = (0.1, 0.6)
"""Largest share of the input codes that are replaced, in the labelled codebooks and in the others.
A model that cannot rely on past codes learns to read the text, and recovers from its mistakes."""
SHARES = {"reference": 0.15, "description": 0.08, "no scene": 0.05}
"""Shares of the examples with an unusual prompt."""
DESCRIPTIONS = ("feminine", "a calm voice", "a warm female voice, clear and even", "calm")
WEIGHTS = (4.0, 1.5, 1.5, 1.0, 0.7, 0.5, 0.3, 0.2)
"""Loss weights of the codebooks: the first ones hold most of the sound."""
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence: its rows, and the target of each row."""

    text_ids: np.ndarray
    """[T], -1 at audio rows."""
    columns: np.ndarray
    """[T, K]."""
    targets: np.ndarray
    """[T, K], `IGNORED` where the model decides nothing."""
    text: tuple[int, int]
    """First row of the text to speak, and the row after it."""
    heard: np.ndarray
    """[T'], the last id of the text that each audio row has spoken, -1 before the first; the audio
    rows are the last rows."""


class Corpus:
    """The recordings as training examples."""

    def __init__(
        self, recordings: Recordings, codes: np.ndarray, tokenizer: Tokenizer, config: ModelConfig
    ) -> None:
        self.lengths = np.diff(recordings.starts)
        self._recordings = recordings
        self._codes = codes
        self._tokenizer = tokenizer
        self._prompts = PromptBuilder(tokenizer)
        self._places = [places(tokenizer, text) for text in recordings.texts]
        self._config = config
        self._end_of_turn = tokenizer.token_to_id(Control.END_OF_TURN)
        self._short = np.flatnonzero(self.lengths <= SHORT_FRAMES)

    def codes(self, index: int) -> np.ndarray:
        """Return the codes of a recording, [F, K]."""
        start, end = self._recordings.starts[index : index + 2]
        return self._codes[start:end].astype(np.int64)

    def example(self, indexes: Sequence[int], choose: random.Random) -> Example:
        """Return the example of a recording, or of several joined into one."""
        config, recordings = self._config, self._recordings
        text = " ".join(recordings.texts[index] for index in indexes)
        begins, letters, at = [], [], 0
        for index in indexes:
            begins.append(np.array(self._places[index]) + at)
            letters.append(recordings.letters[slice(*recordings.starts[index : index + 2])] + at)
            at += len(recordings.texts[index]) + 1
        num_ids = sum(map(len, begins))
        said = np.searchsorted(np.concatenate(begins), np.concatenate(letters), side="right") - 1
        bos, eos = config.stream_bos_id, config.stream_eos_id
        layout = PromptRows.from_prompt(self._prompts.build(text, self._context(choose)), config)
        # The first column is forced; the last one is never an input.
        answer = delay(np.concatenate([self.codes(index) for index in indexes]), bos, eos)[1:]
        columns = np.concatenate([layout.columns, answer[:-1]])
        text_ids = np.concatenate([layout.text_ids, np.full(len(answer) - 1, -1)])
        targets = np.full_like(columns, IGNORED)
        targets[-len(answer) :] = np.where((answer == bos) | (answer == eos), IGNORED, answer)
        # The end is decided in the first codebook; the others follow.
        ends = np.flatnonzero(answer[:, 0] == eos)[:1]
        targets[len(targets) - len(answer) + ends, 0] = eos
        end = int(np.flatnonzero(layout.text_ids == self._end_of_turn)[-1])
        rest = np.full(len(answer) - len(said) - 1, num_ids - 1)
        heard = np.concatenate([[-1], said, rest])
        return Example(text_ids, columns, targets, (end - num_ids, end), heard)

    def _context(self, choose: random.Random) -> PromptContext:
        kind = choose.choices([*SHARES, "usual"], [*SHARES.values(), 1 - sum(SHARES.values())])[0]
        scene = None if kind == "no scene" else DEFAULT_SCENE
        if kind == "reference":
            other = int(self._short[choose.randrange(len(self._short))])
            return PromptContext(
                scene, references=[PastTurn(self._recordings.texts[other], self.codes(other))]
            )
        if kind == "description":
            return PromptContext(scene, [SpeakerProfile("SPEAKER0", choose.choice(DESCRIPTIONS))])
        return PromptContext(scene)

    def batches(self, seed: int, share: float | None) -> Iterator[list[Example]]:
        """Yield all recordings once, in batches of similar length.

        Args:
            seed: of the order.
            share: of recordings that follow another one; None: only the short ones, each alone.
        """
        choose = random.Random(seed)
        order = list(self._short) if share is None else list(range(len(self.lengths)))
        choose.shuffle(order)
        joined = self._join(order, share or 0.0, choose)
        for first in range(0, len(joined), WINDOW):
            some = sorted(joined[first : first + WINDOW], key=self._num_frames)
            groups: list[list[list[int]]] = [[]]
            for indexes in some:
                rows = self._num_frames(indexes) * 3 // 2 + PROMPT_ROWS
                if rows * (len(groups[-1]) + 1) > BATCH_ROWS:
                    groups.append([])
                groups[-1].append(indexes)
            choose.shuffle(groups)
            for group in groups:
                yield [self.example(indexes, choose) for indexes in group]

    def _join(self, order: list[int], share: float, choose: random.Random) -> list[list[int]]:
        """Join some recordings, so that the model learns longer texts too."""
        joined: list[list[int]] = []
        for index in order:
            if (
                joined
                and choose.random() < share
                and self._num_frames([*joined[-1], index]) <= MAX_FRAMES
            ):
                joined[-1].append(index)
            else:
                joined.append([index])
        return joined

    def _num_frames(self, indexes: list[int]) -> int:
        return int(self.lengths[indexes].sum())


def collate(examples: list[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Return examples padded at the end: text ids [B, T], columns [B, T, K], targets [B, T, K]."""
    length = max(len(each.text_ids) for each in examples)

    def padded(rows: np.ndarray, value: int) -> np.ndarray:
        gap = [(0, length - len(rows)), *[(0, 0)] * (rows.ndim - 1)]
        return np.pad(rows, gap, constant_values=value)

    return (
        torch.from_numpy(np.stack([padded(each.text_ids, 0) for each in examples])),
        torch.from_numpy(np.stack([padded(each.columns, 0) for each in examples])),
        torch.from_numpy(np.stack([padded(each.targets, IGNORED) for each in examples])),
    )


def guide(examples: list[Example], length: int) -> Tensor:
    """Return the guide, [2, B, HEADS, T, T]: the logarithm of how right each position is.

    The first is for text rows, the second for audio rows; 0 where there is no guidance.
    """
    right = torch.zeros(2, len(examples), len(AHEAD), length, length)
    for number, each in enumerate(examples):
        start, end = each.text
        for head, behind in enumerate(BEHIND):
            _point(right[0, number, head], start, np.arange(start, end) - behind)
        for head, ahead in enumerate(AHEAD):
            at = (start + each.heard + ahead).clip(max=end)
            _point(right[1, number, head], len(each.text_ids) - len(at), at)
    return right


def _point(right: Tensor, first: int, at: np.ndarray) -> None:
    """Guide the rows from `first` on to the positions `at` and their neighbours."""
    places = torch.from_numpy(at)[:, None]
    across = torch.arange(right.shape[1])[None]
    far = -((across - places) ** 2) / (2 * GUIDE_WIDTH**2)
    right[first : first + len(at)] = far.clamp(min=NOWHERE)


def listening(examples: list[Example], length: int) -> Tensor:
    """Return the last ids that each row has spoken, [B, T, NUM_HEARD], or `IGNORED`."""
    heard = torch.full((len(examples), length, NUM_HEARD), IGNORED)
    for rows, each in zip(heard, examples, strict=True):
        first = len(each.text_ids) - len(each.heard)
        for back in range(NUM_HEARD):
            at = each.heard - back
            ids = np.where(at < 0, IGNORED, each.text_ids[each.text[0] + at.clip(0)])
            rows[first : first + len(at), back] = torch.from_numpy(ids)
    return heard


def with_noise(columns: Tensor, codebook_size: int, most: tuple[float, float]) -> Tensor:
    """Return columns [B, T, K] with a random share of each sequence's codes replaced."""
    is_code = columns < codebook_size
    shares = torch.full((columns.shape[2],), most[1])
    shares[:NUM_LABELLED] = most[0]
    wrong = torch.rand(columns.shape) < shares * torch.rand(len(columns), 1, 1)
    return torch.where(is_code & wrong, torch.randint_like(columns, codebook_size), columns)


def loss_of(
    network: Network, examples: list[Example], guide_weight: float
) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a batch, and its parts for the log."""
    text_ids, columns, targets = collate(examples)
    length = text_ids.shape[1]
    columns = with_noise(columns, network.config.stream_bos_id, NOISE)
    guidance = guide(examples, length) if guide_weight else None
    is_answer = (targets != IGNORED).any(-1)
    with torch.autocast("cpu", torch.bfloat16):
        hidden, early, costs = network(text_ids, columns, guidance)
        by_codebook = network.surprise(hidden[is_answer], targets[is_answer])
        heard = network.heard(early[is_answer])
    weights = torch.tensor(WEIGHTS)
    loss = (by_codebook * weights).sum() / weights.sum()
    parts = {"first": by_codebook[0].item(), "all": loss.item()}
    if guidance is not None:
        at_text, at_answer = costs[0].transpose(1, 2), costs[1:].sum(0).transpose(1, 2)
        is_text = (guidance[0] < 0).any(-1).transpose(1, 2)
        read, looked = at_text[is_text].mean(), at_answer[is_answer].mean()
        ids = listening(examples, length)[is_answer]
        recognised = F.cross_entropy(heard.float().flatten(0, 1), ids.flatten())
        parts |= {"read": read.item(), "looked": looked.item(), "heard": recognised.item()}
        loss = loss + guide_weight * (read + looked + recognised)
    return loss, parts


def train(
    corpus: Corpus, config: ModelConfig, *, path: Path, minutes: float, is_compiled: bool
) -> Network:
    """Train for `minutes` in total, from the checkpoint at `path` if there is one."""
    torch.manual_seed(0)
    network = Network(config)
    if is_compiled:
        network.compile_parts()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    run = TrainingRun(path, minutes, {"model": network, "optimizer": optimizer})
    torch.manual_seed(run.step)
    smoothed: dict[str, float] = {}
    while True:
        share = None if run.fraction < EARLY else JOINED[run.fraction > LATE]
        for examples in corpus.batches(run.step, share):
            weight = GUIDE_WEIGHT if run.fraction < GUIDED else 0.0
            loss, parts = loss_of(network, examples, weight)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            set_rate(optimizer, run.rate(PEAK_RATE, warm_up=300))
            optimizer.step()
            for name, value in parts.items():
                smoothed[name] = 0.98 * smoothed.get(name, value) + 0.02 * value
            if not run.advance(" ".join(f"{name} {value:.3f}" for name, value in smoothed.items())):
                return network
