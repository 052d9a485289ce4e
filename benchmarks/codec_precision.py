"""Measure what lower precision of the codec's decoder costs in sound, emulated on a CPU.

    python -m benchmarks.codec_precision [--quick] [--stages] [--json FILE]

Sentences that the embedded model speaks are decoded by the embedded codec in float32 and again with
operands of fewer digits, which is what tensor cores multiply; their sums are float32. Then random
codes by a random decoder of the published sizes, as a second opinion. Prints a table; the last line
is one JSON document. What it means: docs/performance.md.
"""

import argparse
import json
from collections.abc import Callable, Collection, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from benchmarks import ours
from benchmarks.codec import DEMO
from benchmarks.gpu.models import random_decoder
from benchmarks.gpu.scale import REAL
from benchmarks.measure import environment
from higgs_worker.codec.decoder import CodecDecoder
from higgs_worker.codec.loader import load_decoder
from higgs_worker.engine.engine import Engine
from higgs_worker.engine.loader import load
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.runner import Runner
from higgs_worker.engine.sequence import Codes, Sampling, Submission
from higgs_worker.speech.prompt import PromptBuilder, PromptContext

TEXTS = Path(__file__).parents[1] / "training" / "demo_voice"
MAX_LENGTH = 512
RANDOM_FRAMES = 50
FRAME, HOP = 1024, 512
"""Samples of a spectrum, 43 ms, and between two of them."""
BAND_EDGES_HZ = (
    *(20, 100, 200, 300, 400, 510, 630, 770, 920, 1080, 1270, 1480, 1720, 2000, 2320, 2700),
    *(3150, 3700, 4400, 5300, 6400, 7700, 9500, 12000),
)
"""The critical bands of hearing, up to half the sample rate (Zwicker 1961)."""
LSB = 2.0**-15
"""Of 16-bit PCM."""
MASKED_DB = (6, 14, 20)
"""How far below the sound of its own band an error is taken as masked. Noise masks noise from 4 to
6 dB, and a pure tone, the weakest masker, masks noise from 14 to 18 dB below it (ISO 11172-3,
annex D)."""
FULL_SCALE_DB = 96
"""Loudness of a full-scale tone in dB SPL, as that annex assumes it: speech is then at 70 to 75 dB,
louder than it is usually heard."""

Pcm = NDArray[np.float32]
Rounding = Callable[[Tensor], Tensor]
Decode = Callable[[CodecDecoder, Tensor], Tensor]


def to_tf32(x: Tensor) -> Tensor:
    """Round float32 to the 10 bits of TF32's mantissa, ties to even."""
    bits = x.contiguous().view(torch.int32)
    odd = (bits >> 13) & 1
    return ((bits + 0xFFF + odd) & ~0x1FFF).view(torch.float32)


def cut_to_tf32(x: Tensor) -> Tensor:
    """Drop the digits that TF32 has not, as a kernel does that passes float32 on as it is."""
    return (x.contiguous().view(torch.int32) & ~0x1FFF).view(torch.float32)


def to_bf16(x: Tensor) -> Tensor:
    """Round float32 to the digits of bfloat16."""
    return x.bfloat16().float()


def to_fp16(x: Tensor) -> Tensor:
    """Round float32 to the digits of float16."""
    return x.half().float()


class RoundedConvolutions(TorchFunctionMode):
    """Rounds both operands of every convolution, or of some of them; the bias stays."""

    def __init__(self, rounding: Rounding, only: Collection[int] | None = None) -> None:
        super().__init__()
        self._rounding, self._only = rounding, only
        self.num_convolutions = 0

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Round where `func` is a convolution."""
        if func in (torch.conv1d, torch.conv_transpose1d):
            if self._only is None or self.num_convolutions in self._only:
                args = (self._rounding(args[0]), self._rounding(args[1]), *args[2:])
            self.num_convolutions += 1
        return func(*args, **(kwargs or {}))


def exact(decoder: CodecDecoder, codes: Tensor) -> Tensor:
    """Decode in float32."""
    pcm: Tensor = decoder(codes)
    return pcm


def as_pcm16(decoder: CodecDecoder, codes: Tensor) -> Tensor:
    """Decode in float32 and round to 16-bit PCM, the form that every listener gets."""
    return (exact(decoder, codes) / LSB).round() * LSB


def rounded(rounding: Rounding, only: Collection[int] | None = None) -> Decode:
    """Return a decode with rounded operands of its convolutions."""

    def decode(decoder: CodecDecoder, codes: Tensor) -> Tensor:
        with RoundedConvolutions(rounding, only):
            return exact(decoder, codes)

    return decode


def wholly(dtype: torch.dtype) -> Decode:
    """Return a decode in which everything behind the table of codes has fewer digits."""

    def decode(decoder: CodecDecoder, codes: Tensor) -> Tensor:
        latents = decoder.code_table(codes).to(dtype)
        pcm: Tensor = deepcopy(decoder.acoustic_decoder).to(dtype)(latents).float()
        return pcm

    return decode


VARIANTS: dict[str, Decode] = {
    "16-bit PCM": as_pcm16,
    "TF32": rounded(to_tf32),
    "TF32, cut": rounded(cut_to_tf32),
    "float16 operands": rounded(to_fp16),
    "bfloat16 operands": rounded(to_bf16),
    "all float16": wholly(torch.float16),
    "all bfloat16": wholly(torch.bfloat16),
}


@dataclass(frozen=True, slots=True)
class Distance:
    """How far one sound is from another, over all sentences."""

    snr_db: float
    """All sound against all error."""
    worst_snr_db: float
    """Of a sentence."""
    spectral_db: float
    """Mean distance of short log spectra, those below 16-bit PCM's noise raised to it."""
    heard: dict[int, float]
    """Share of frames and critical bands in which the error is louder than hearing needs in quiet,
    and not so many dB below the sound there."""


def distance(sounds: Sequence[Pcm], others: Sequence[Pcm], sample_rate: int) -> Distance:
    """Compare sounds with the same ones, decoded another way."""
    errors = [other - sound for sound, other in zip(sounds, others, strict=True)]
    powers = [(_power(sound), _power(error)) for sound, error in zip(sounds, errors, strict=True)]
    spectra = np.concatenate([_spectra(each) for each in sounds])
    other_spectra = np.concatenate([_spectra(each) for each in others])
    noise = 2 / FRAME * LSB**2 / 12
    levels = 10 * np.log10(np.maximum(spectra, noise))
    other_levels = 10 * np.log10(np.maximum(other_spectra, noise))
    bands = _bands(sample_rate)
    error_bands = np.concatenate([_spectra(each) for each in errors]) @ bands
    sound_bands = spectra @ bands @ _spreading()
    is_loud = error_bands > _in_quiet()
    return Distance(
        _db(sum(power for power, _ in powers), sum(error for _, error in powers)),
        min(_db(power, error) for power, error in powers),
        float(np.sqrt(((levels - other_levels) ** 2).mean(axis=1)).mean()),
        {
            below: float((is_loud & (error_bands > sound_bands * 10 ** (-below / 10))).mean())
            for below in MASKED_DB
        },
    )


def _power(x: Pcm) -> float:
    """Return the energy, without that of a constant offset."""
    return float(np.square(x.astype(np.float64) - x.mean()).sum())


def _db(power: float, error: float) -> float:
    return float(10 * np.log10(power / max(error, 1e-30)))


def _spectra(x: Pcm) -> NDArray[np.float64]:
    """Return all frames' power spectra [N, FRAME / 2 + 1]; a frame's sum is its mean square."""
    frames = np.lib.stride_tricks.sliding_window_view(x.astype(np.float64), FRAME)[::HOP]
    window = np.hanning(FRAME)
    power: NDArray[np.float64] = np.abs(np.fft.rfft(frames * window)) ** 2
    return power * 2 / (FRAME * np.square(window).sum())


def _bands(sample_rate: int) -> NDArray[np.float64]:
    """Return which lines of a spectrum belong to which critical band [FRAME / 2 + 1, bands]."""
    hz = np.fft.rfftfreq(FRAME, 1 / sample_rate)[:, None]
    edges = np.array(BAND_EDGES_HZ)
    return ((hz >= edges[:-1]) & (hz < edges[1:])).astype(np.float64)


def _spreading() -> NDArray[np.float64]:
    """Return what part of each band's sound masks in each other band (Schroeder 1979)."""
    bands = np.arange(len(BAND_EDGES_HZ) - 1)
    apart = bands - bands[:, None] + 0.474
    spread: NDArray[np.float64] = 10 ** ((15.81 + 7.5 * apart - 17.5 * np.sqrt(1 + apart**2)) / 10)
    return spread / spread.sum(axis=0)


def _in_quiet() -> NDArray[np.float64]:
    """Return the mean square that is just heard in each band, in quiet (Terhardt 1979)."""
    edges = np.array(BAND_EDGES_HZ)
    khz = np.sqrt(edges[:-1] * edges[1:]) / 1000
    level = 3.64 * khz**-0.8 - 6.5 * np.exp(-0.6 * (khz - 3.3) ** 2) + 1e-3 * khz**4
    quiet: NDArray[np.float64] = 0.5 * 10 ** ((level - FULL_SCALE_DB) / 10)
    return quiet


def with_all_digits(decoder: CodecDecoder) -> CodecDecoder:
    """Give weights that were stored as float16 further digits, so that rounding them costs."""
    generator = torch.Generator().manual_seed(0)
    for weight in decoder.acoustic_decoder.parameters():
        spread = torch.rand(weight.shape, generator=generator) - 0.5
        weight.mul_(1 + 2.0**-10 * spread)
    return decoder


def speak(num_sentences: int) -> list[Codes]:
    """Return the codes of test sentences, as the embedded model speaks them."""
    texts = [
        line
        for name in ("sentences.txt", "uncommon.txt")
        for line in (TEXTS / name).read_text(encoding="utf-8").splitlines()
    ]
    prompts = PromptBuilder.from_directory(DEMO / "model")
    number_format = NumberFormat(torch.float32)
    config, weights, _ = load(DEMO / "model", device=ours.CPU, number_format=number_format)
    runner = Runner(LanguageModel(config, weights, MAX_LENGTH), num_slots=8, max_length=MAX_LENGTH)
    with Engine(runner) as engine:
        generations = engine.generate(
            Submission(prompts.build(text, PromptContext()), Sampling(seed), max_frames=250)
            for seed, text in enumerate(texts[:num_sentences])
        )
    return [each.codes for each in generations]


@torch.inference_mode()
def decode_all(decode: Decode, decoder: CodecDecoder, codes: Sequence[Codes]) -> list[Pcm]:
    """Return the PCM of each of several codes [F, K]."""
    return [decode(decoder, torch.from_numpy(each.T.copy())[None])[0].numpy() for each in codes]


def compare(name: str, decoder: CodecDecoder, codes: Sequence[Codes]) -> list[dict[str, Any]]:
    """Measure all variants of one decoder."""
    sample_rate = decoder.config.sample_rate
    sounds = decode_all(exact, decoder, codes)
    seconds = sum(map(len, sounds)) / sample_rate
    print(f"\n{name}: {len(sounds)} of together {seconds:.0f} s, against float32")
    print(f"{'':<20}{'SNR dB':>8}{'worst':>8}{'LSD dB':>8}  % heard where 6, 14, 20 dB are masked")
    rows = []
    for variant, decode in VARIANTS.items():
        found = distance(sounds, decode_all(decode, decoder, codes), sample_rate)
        shares = "".join(f"{100 * share:>8.2f}" for share in found.heard.values())
        print(
            f"{variant:<20}{found.snr_db:>8.1f}{found.worst_snr_db:>8.1f}"
            f"{found.spectral_db:>8.3f}{shares}",
            flush=True,
        )
        rows.append(
            {
                "codec": name,
                "variant": variant,
                "snr_db": found.snr_db,
                "worst_snr_db": found.worst_snr_db,
                "spectral_db": found.spectral_db,
                "heard": found.heard,
            }
        )
    return rows


def compare_stages(decoder: CodecDecoder, codes: Sequence[Codes]) -> list[dict[str, Any]]:
    """Measure the parts of the decoder one by one, with bfloat16 operands."""
    sounds = decode_all(exact, decoder, codes)
    network = decoder.acoustic_decoder
    # In the order in which they are called.
    names = [name for name, each in network.named_modules() if hasattr(each, "kernel_size")]
    parts = {"conv1": ("conv1",), "conv2": ("conv2",)}
    parts |= {f"block {index}": (f"block.{index}.",) for index in range(len(network.blocks))}
    parts["conv1, blocks 0 to 2"] = ("conv1", "block.0.", "block.1.", "block.2.")
    print(f"\nbfloat16 operands of one part alone\n{'':<20}{'SNR dB':>8}  % heard, as above")
    rows = []
    for part, prefixes in parts.items():
        chosen = [index for index, name in enumerate(names) if name.startswith(prefixes)]
        others = decode_all(rounded(to_bf16, chosen), decoder, codes)
        found = distance(sounds, others, decoder.config.sample_rate)
        shares = "".join(f"{100 * share:>8.2f}" for share in found.heard.values())
        print(f"{part:<20}{found.snr_db:>8.1f}{shares}", flush=True)
        rows.append({"part": part, "snr_db": found.snr_db, "heard": found.heard})
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the measurements that the command line selects."""
    parser = argparse.ArgumentParser(description="Measure the codec's decoder in lower precision.")
    parser.add_argument("--quick", action="store_true", help="two sentences, the small codec alone")
    parser.add_argument(
        "--stages", action="store_true", help="each part of the decoder by itself, too"
    )
    parser.add_argument("--json", type=Path, help="also write the JSON document here")
    options = parser.parse_args(arguments)
    codes = speak(2 if options.quick else 40)
    decoder = with_all_digits(load_decoder(DEMO / "codec", ours.CPU)[0])
    report: dict[str, Any] = {"benchmark": "codec_precision", "environment": environment()}
    report["variants"] = compare("demo", decoder, codes)
    if options.stages:
        report["stages"] = compare_stages(decoder, codes[:2])
    if not options.quick:
        drawn = np.random.default_rng(0).integers(0, 1024, (2, RANDOM_FRAMES, 8))
        decoder = random_decoder(replace(REAL, device_name="cpu"))
        report["variants"] += compare("real sizes", decoder, list(drawn))
    document = json.dumps(report)
    if options.json:
        options.json.write_text(document + "\n")
    print(document)


if __name__ == "__main__":
    main()
