"""Texts -> codes: the language model, trained on prompts as the worker builds them.

Which sound each frame belongs to is known, so a head of three layers is told to look there until
it has learnt to: without that, finding the alignment would take most of the time there is.
After Tachibana et al., https://arxiv.org/abs/1710.08969, section 4.2.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.delay import delay
from higgs_worker.engine.layout import Layout
from higgs_worker.prompt import Control, Exchange, Profile, PromptBuilder, Setting
from higgs_worker.schema import DEFAULT_SCENE
from training.demo_voice.clock import Run, set_rate
from training.demo_voice.network import Network
from training.demo_voice.sizes import places
from training.demo_voice.speech import Spoken

BATCH_ROWS = 1300
"""Of a batch, padding included: many short sequences, or few long ones."""
PROMPT_ROWS = 45
"""About what comes before a text, and its letters."""
PEAK_RATE = 1.5e-3
SHORT_FRAMES = 50
"""What is learnt first."""
WINDOW = 1000
"""Recordings among which those of about one length are looked for."""
GUIDE_WIDTH = 1.0
"""Sounds."""
GUIDE_WEIGHT = 2.0
NOISE = (0.7, 0.1)
"""Part of the frames heard that are wrong, at first and in the end: who cannot guess from what was
said learns to read, and later does not go astray by mistakes of its own."""
SHARES = {"reference": 0.15, "description": 0.08, "no scene": 0.05}
"""Of examples with another prompt than the usual one."""
DESCRIPTIONS = ("feminine", "a calm voice", "a warm female voice, clear and even", "calm")
WEIGHTS = (3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.2)
"""Of the codebooks: the first ones hold most of the sound."""
IGNORED = -100


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence: the rows that are read, and what is to follow each of them."""

    text_ids: np.ndarray
    """[T], -1 at audio rows."""
    columns: np.ndarray
    """[T, K]."""
    targets: np.ndarray
    """[T, K], `IGNORED` where nothing is decided."""
    text: tuple[int, int]
    """Where the text that is to be spoken stands."""
    spoken: np.ndarray
    """[T'], which id of it each row of the answer says; those are the last rows."""


class Corpus:
    """Examples of a corpus."""

    def __init__(
        self, spoken: Spoken, codes: np.ndarray, tokenizer: Tokenizer, config: ModelConfig
    ) -> None:
        self.lengths = np.diff(spoken.starts)
        self._spoken = spoken
        self._codes = codes
        self._tokenizer = tokenizer
        self._prompts = PromptBuilder(tokenizer)
        self._places = [places(tokenizer, text) for text in spoken.texts]
        self._config = config
        self._end_of_turn = tokenizer.token_to_id(Control.END_OF_TURN)
        self._short = np.flatnonzero(self.lengths <= SHORT_FRAMES)

    def codes(self, index: int) -> np.ndarray:
        """Give the codes of a recording, [F, K]."""
        start, end = self._spoken.starts[index : index + 2]
        return self._codes[start:end].astype(np.int64)

    def example(self, index: int, choose: random.Random) -> Example:
        """Make an example of a recording."""
        config, text = self._config, self._spoken.texts[index]
        bos, eos = config.stream_bos_id, config.stream_eos_id
        layout = Layout.of(self._prompts.build(text, self._setting(choose)), config)
        # What follows the forced first column; the last column is never read.
        answer = delay(self.codes(index), bos, eos)[1:]
        columns = np.concatenate([layout.columns, answer[:-1]])
        text_ids = np.concatenate([layout.text_ids, np.full(len(answer) - 1, -1)])
        targets = np.full_like(columns, IGNORED)
        targets[-len(answer) :] = np.where((answer == bos) | (answer == eos), IGNORED, answer)
        # The first codebook's end is a decision, the others' follow from it.
        ends = np.flatnonzero(answer[:, 0] == eos)[:1]
        targets[len(targets) - len(answer) + ends, 0] = eos
        end = int(np.flatnonzero(layout.text_ids == self._end_of_turn)[-1])
        start, last = self._spoken.starts[index : index + 2]
        begins = self._places[index]
        spoken = np.searchsorted(begins, self._spoken.letters[start:last], side="right")
        rest = np.full(len(answer) - len(spoken), len(begins) - 1)
        spoken = np.concatenate([spoken.clip(0, len(begins) - 1), rest])
        return Example(text_ids, columns, targets, (end - len(begins), end), spoken)

    def _setting(self, choose: random.Random) -> Setting:
        kind = choose.choices([*SHARES, "usual"], [*SHARES.values(), 1 - sum(SHARES.values())])[0]
        scene = None if kind == "no scene" else DEFAULT_SCENE
        if kind == "reference":
            other = int(self._short[choose.randrange(len(self._short))])
            return Setting(
                scene, references=[Exchange(self._spoken.texts[other], self.codes(other))]
            )
        if kind == "description":
            return Setting(scene, [Profile("SPEAKER0", choose.choice(DESCRIPTIONS))])
        return Setting(scene)

    def batches(self, seed: int, is_early: bool) -> Iterator[list[Example]]:
        """Give all recordings once, in batches of about one length."""
        choose = random.Random(seed)
        order = list(self._short) if is_early else list(range(len(self.lengths)))
        choose.shuffle(order)
        for first in range(0, len(order), WINDOW):
            some = sorted(order[first : first + WINDOW], key=lambda index: self.lengths[index])
            groups: list[list[int]] = [[]]
            for index in some:
                rows = int(self.lengths[index]) * 3 // 2 + PROMPT_ROWS
                if rows * (len(groups[-1]) + 1) > BATCH_ROWS:
                    groups.append([])
                groups[-1].append(int(index))
            choose.shuffle(groups)
            for group in groups:
                yield [self.example(index, choose) for index in group]


def collate(examples: list[Example]) -> tuple[Tensor, Tensor, Tensor]:
    """Pad at the end: text ids [B, T], columns [B, T, K], targets [B, T, K]."""
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
    """Say what it costs to look somewhere, [B, T, T]: nothing at the sound, 1 far from it."""
    costs = torch.zeros(len(examples), length, length)
    for cost, each in zip(costs, examples, strict=True):
        start, end = each.text
        first = len(each.text_ids) - len(each.spoken)
        spoken = torch.from_numpy(each.spoken)[:, None]
        across = torch.arange(end - start)[None]
        rows = cost[first : first + len(spoken)]
        rows.fill_(1.0)
        rows[:, start:end] = 1 - torch.exp(-((across - spoken) ** 2) / (2 * GUIDE_WIDTH**2))
    return costs


def with_noise(columns: Tensor, codebook_size: int, share: float) -> Tensor:
    """Replace the codes of some columns [B, T, K] by others."""
    is_code = columns < codebook_size
    wrong = torch.rand(columns.shape[:2])[..., None] < share
    return torch.where(is_code & wrong, torch.randint_like(columns, codebook_size), columns)


def loss_of(
    network: Network, examples: list[Example], guide_weight: float, noise: float
) -> tuple[Tensor, dict[str, float]]:
    """Give the loss of a batch, and its parts for the log."""
    text_ids, columns, targets = collate(examples)
    columns = with_noise(columns, network.config.stream_bos_id, noise)
    costs = guide(examples, text_ids.shape[1]) if guide_weight else None
    with torch.autocast("cpu", torch.bfloat16):
        hidden, cost = network(text_ids, columns, costs)
        is_answer = (targets != IGNORED).any(-1)
        logits = network.logits(hidden[is_answer])
    each = F.cross_entropy(
        logits.float().flatten(0, 1),
        targets[is_answer].flatten(),
        reduction="none",
        ignore_index=IGNORED,
    ).view(-1, len(WEIGHTS))
    known = (targets[is_answer] != IGNORED).sum(0).clamp(min=1)
    by_codebook = each.sum(0) / known
    weights = torch.tensor(WEIGHTS)
    loss = (by_codebook * weights).sum() / weights.sum()
    parts = {"first": by_codebook[0].item(), "all": loss.item(), "guide": cost.item()}
    return loss + guide_weight * cost, parts


def train(corpus: Corpus, config: ModelConfig, *, path: Path, minutes: float) -> Network:
    """Train so many minutes in all, from the checkpoint at `path` if there is one."""
    torch.manual_seed(0)
    network = Network(config)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=PEAK_RATE, betas=(0.9, 0.98), weight_decay=0.01
    )
    run = Run(path, minutes, {"network": network, "optimizer": optimizer})
    torch.manual_seed(run.step)
    smoothed: dict[str, float] = {}
    while True:
        for examples in corpus.batches(run.step, run.fraction < 0.12):
            weight = GUIDE_WEIGHT if run.fraction < 0.8 else 0.0
            noise = NOISE[0] if run.fraction < 0.6 else NOISE[1]
            loss, parts = loss_of(network, examples, weight, noise)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            set_rate(optimizer, run.rate(PEAK_RATE, warm_up=300))
            optimizer.step()
            for name, value in parts.items():
                smoothed[name] = 0.98 * smoothed.get(name, value) + 0.02 * value
            if not run.goes_on(" ".join(f"{name} {value:.3f}" for name, value in smoothed.items())):
                return network
