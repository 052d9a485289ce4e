"""Choice and bookkeeping of the fused step against `Columns.draw`, on the same logits."""

import pytest
import torch

from higgs_worker.engine.kernels.fused_step import FusedStep
from higgs_worker.engine.rows import PromptRows
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sampling import Mode, mode_of, widest
from higgs_worker.engine.sequence import Prompt, Sampling, TextSegment
from higgs_worker.engine.slot_state import NEVER
from tests.engine.kernels.tiny import CPU, TINY, tiny_model

BOS, EOS = TINY.stream_bos_id, TINY.stream_eos_id
SAMPLINGS = {
    "greedy": Sampling(seed=0, temperature=0.0, ras_window=0),
    "greedy with RAS": Sampling(seed=1, temperature=0.0, ras_window=7, ras_max_repeats=1),
    "usual": Sampling(seed=2),
    "hot": Sampling(seed=3, temperature=3.0, top_p=1.0),
    "cold": Sampling(seed=4, temperature=1e-3),
    "few": Sampling(seed=5, top_k=3, top_p=0.5),
    "one": Sampling(seed=6, top_k=1, ras_window=0),
    "all": Sampling(seed=7, top_k=0, top_p=1.0, ras_window=40, ras_max_repeats=1),
    "more than there are": Sampling(seed=8, top_k=1000, top_p=0.9),
    "next to none": Sampling(seed=9, top_p=1e-6),
}


class Draw:
    """Slots in the middle of sequences, whose next columns are drawn both ways."""

    def __init__(self, samplings: list[Sampling], seed: int) -> None:
        self.runner = Runner(tiny_model(), num_slots=len(samplings), max_length=160)
        self.columns = self.runner._columns
        self.state = self.columns.state
        prompt = PromptRows.from_prompt(Prompt((TextSegment((1, 2, 3)),)), TINY)
        for slot, sampling in enumerate(samplings):
            self.columns.begin(slot, prompt, sampling, 80)
        generator = torch.Generator().manual_seed(seed)
        shape = (len(samplings), TINY.num_codebooks, TINY.codebook_size)
        # Multiples of an eighth: many tie. One favourite each, which the past is full of.
        self.logits = torch.randn(shape, generator=generator).mul(24).round().div(8)
        favourite = self.logits.argmax(-1)
        history = self.columns._history
        history[:, :40:2] = favourite[:, None]
        self.state.history_row += 20
        self.state.step += 20
        self.state.overdue.fill_(-50)
        self.mode: Mode = widest(map(mode_of, samplings))

    def both(self) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return state and history after torch's draw and after the kernels'."""
        before = self.state.select(torch.arange(len(self.state.column)))
        history = self.columns.all_history.clone()
        fused = FusedStep(self.runner.model, self.runner.cache, self.columns)
        results = []
        for draw in (
            lambda: self.columns.draw(self.state, self.logits.clone(), self.mode),
            lambda: fused.draw(self.state, self.logits),
        ):
            draw()
            state = self.state.select(torch.arange(len(self.state.column)))
            results.append(
                [state.column, state.counters, state.health, self.columns.all_history.clone()]
            )
            self.state.store(torch.arange(len(self.state.column)), before)
            self.columns.all_history.copy_(history)
        return results[0], results[1]

    def check(self) -> torch.Tensor:
        """Require equal results; return the drawn columns."""
        theirs, ours = self.both()
        for own, their in zip(ours, theirs, strict=True):
            assert torch.equal(own.nan_to_num(), their.nan_to_num())
            assert torch.equal(own.isnan(), their.isnan())
        return ours[0]


@pytest.mark.slow
def test_every_kind_of_sampling_draws_torchs_ids() -> None:
    """Side by side in one launch, with ties, repeats, and thresholds that keep one id or all."""
    Draw(list(SAMPLINGS.values()), seed=0).check()


@pytest.mark.slow
def test_ramp_end_and_finished_rows() -> None:
    """Forced ids of both ends; an end code counts down; a finished row stays as it is."""
    draw = Draw([SAMPLINGS["usual"]] * 5, seed=1)
    state = draw.state
    state.step[0], state.step[1] = 1, 2
    draw.logits[2, 1, EOS] = 100.0
    state.since_end[3] = 2
    draw.logits[4, :, EOS] = 100.0
    state.overdue[4] = 0
    column = draw.check()
    assert column[0].tolist()[1:] == [BOS, BOS]
    assert column[1, 2] == BOS
    assert column[2, 1] == EOS
    assert column[3].tolist()[:2] == [EOS, EOS]
    assert column[4].tolist() == [EOS, EOS, EOS]
    assert state.overdue[4] == 0


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of the interpreter's numpy
def test_rows_that_are_not_numbers_stay_alone() -> None:
    """NaN and infinite logits are reported by the row's health, and change no neighbour."""
    draw = Draw([SAMPLINGS["usual"]] * 4, seed=2)
    healthy = draw.check()
    draw.logits[1, 1, 3] = torch.nan
    draw.logits[2] = torch.inf
    theirs, ours = draw.both()
    assert not ours[2][1].isfinite().all()
    assert not ours[2][2].isfinite().all()
    assert ((ours[0] >= 0) & (ours[0] <= EOS)).all()
    for slot in (0, 3):
        assert torch.equal(ours[0][slot], healthy[slot])
        assert torch.equal(ours[2][slot], theirs[2][slot])


@pytest.mark.slow
def test_an_id_of_no_weight_is_never_drawn() -> None:
    """Not by the largest number either, at which a sum's rounding could lead past the last one."""
    draw = Draw([SAMPLINGS["few"]] * 4, seed=3)
    draw.columns.all_draws.fill_(1 - 2.0**-24)
    draw.state.top_p.fill_(1.0)
    column = draw.check()
    kth = draw.logits.index_fill(-1, torch.tensor(BOS), -torch.inf).topk(3).values[..., -1:]
    assert (draw.logits.gather(-1, column[..., None]) >= kth).all()


@pytest.mark.slow
def test_the_state_of_an_idle_row_is_harmless() -> None:
    """A slot that never had a sequence is drawn like any other, and its counters stay."""
    runner = Runner(tiny_model(), num_slots=2, max_length=160)
    state = runner._columns.state
    before = state.counters.clone()
    FusedStep(runner.model, runner.cache, runner._columns).draw(
        state, torch.zeros(2, TINY.num_codebooks, TINY.codebook_size, device=CPU)
    )
    assert torch.equal(state.counters, before)
    assert (state.counters[:, 3] < -NEVER // 2).all()
