"""Make the embedded voice: one command from nothing to the weights in the package.

    .venv/bin/uv pip install -c requirements-dev.lock -e '.[training]'
    python -m training.demo_voice WORK                              # continues from the package's
    python -m training.demo_voice WORK --afresh spelling latents codes decoder model encoder
    python -m training.demo_voice WORK --toy --into DIR             # small, takes a minute

Every stage keeps its results in WORK and continues from those that are there. So the command can be
stopped and repeated, also with more minutes. If WORK has no checkpoint of a part, training starts
from the package's, unless the part is listed after `--afresh`; 0 minutes leave it unchanged.
Decoder, encoder and language model learn from the same codes and can be trained at the same time,
each with its own `--stage`.
"""

import argparse
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer

from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.decoder import AcousticDecoder
from higgs_worker.codec.encoder import AcousticEncoder
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.engine.config import ModelConfig
from higgs_worker.weights.locate import DEMO_DIRECTORY
from training.demo_voice import (
    decoder,
    dictionary,
    encoder,
    export,
    frames,
    language,
    sizes,
    speech,
    spelling,
    tokenizer,
)
from training.demo_voice.network import Network

STAGES = ("spelling", "data", "codes", "decoder", "model", "encoder", "export")
PARTS = ("spelling", "latents", "codes", "decoder", "model", "encoder")
FITTED = Path(__file__).parent / "latents.safetensors"
"""Mean, basis and scale of the latents of the package's codec."""
NUM_FITTED = 100_000
"""Frames from which the codebooks are found."""
RULE_WORTH = 5
"""A spelling rule must correct five rare words, or half a common one."""


class Recipe:
    """The stages of the recipe, in one directory."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.work: Path = options.work
        self.options = options
        small = {"width": 32, "layers": 2} if options.toy else {}
        self.model_config = sizes.model_config(tokenizer.load(), **small)
        self.codec_config = sizes.codec_config(**({"decoder_width": 32} if options.toy else {}))
        self.afresh = set(PARTS[1:] if options.toy else options.afresh or ())

    def spelling(self) -> None:
        """Learn how letters sound, or copy the package's rules."""
        path = self.work / "tokenizer.json"
        if path.exists():
            return
        if "spelling" in self.afresh:
            rules = spelling.learn(*dictionary.dictionary(), worth=RULE_WORTH)
            tokenizer.make(rules).save(str(path))
        else:
            shutil.copyfile(tokenizer.SHIPPED, path)

    def data(self) -> None:
        """Synthesise the sentences."""
        if not (self.work / "data" / "texts.json").exists():
            words = dictionary.readable(self.tokenizer)
            hours = self.options.hours
            speech.make(self.work / "data", words, 3600 * hours, self.options.seed)

    def codes(self) -> None:
        """Find the codebooks, or load the package's, and write all codes."""
        path = self.work / "quantiser.safetensors"
        seen, labels = frames.of_corpus(self.recordings), frames.labels_of(self.recordings)
        if not path.exists():
            if self.afresh & {"latents", "codes"}:
                like = None if "latents" in self.afresh else self._shipped_quantiser()
                rounds = 2 if self.options.toy else 12
                some = torch.randperm(len(seen))[:NUM_FITTED]
                made = frames.Quantiser.fit(
                    seen[some], labels[some], self.options.seed, rounds=rounds, like=like
                )
            else:
                made = self._shipped_quantiser()
            made.save(path)
        latents = self.quantiser.latents(seen)
        torch.save(latents.half(), self.work / "latents.pt")
        torch.save(self.quantiser.codes(latents, labels).to(torch.int16), self.work / "codes.pt")

    def decoder(self) -> None:
        """Train the codec's decoder."""
        config = CodecConfig.from_dict(self.codec_config)
        path = self._checkpoint("decoder", AcousticDecoder(config), "codec", "acoustic_decoder.")
        minutes = self.options.decoder_minutes
        if not minutes and path.exists():
            return
        codes = torch.load(self.work / "codes.pt")
        decoder.train(self.recordings, self.quantiser, codes, config, path=path, minutes=minutes)

    def model(self) -> None:
        """Train the language model."""
        config = ModelConfig.from_dict(self.model_config)
        path = self._checkpoint("model", Network(config), "model", "")
        codes = torch.load(self.work / "codes.pt").numpy()
        corpus = language.Corpus(self.recordings, codes, self.tokenizer, config)
        language.train(
            corpus,
            config,
            path=path,
            minutes=self.options.model_minutes,
            is_compiled=not self.options.toy and shutil.which("c++") is not None,
        )

    def encoder(self) -> None:
        """Train the codec's encoder."""
        config = EncoderConfig.from_dict(self.codec_config)
        path = self._checkpoint("encoder", AcousticEncoder(config), "codec", "acoustic_encoder.")
        minutes = self.options.encoder_minutes
        if not minutes and path.exists():
            return
        latents = torch.load(self.work / "latents.pt").float()
        encoder.train(self.recordings, latents, config, path=path, minutes=minutes)

    def export(self) -> None:
        """Write the checkpoints."""
        into = self.options.into
        export.language_model(into / "model", self._trained("model"), self.model_config)
        self.tokenizer.save(str(into / "model" / "tokenizer.json"))
        halves = self._trained("decoder"), self._trained("encoder")
        export.codec(into / "codec", self.quantiser, *halves, self.codec_config)
        if into == DEMO_DIRECTORY:
            self.quantiser.save_fit(FITTED)

    @property
    def tokenizer(self) -> Tokenizer:
        """Return the tokenizer of this run."""
        return tokenizer.load(self.work / "tokenizer.json")

    @property
    def recordings(self) -> speech.Recordings:
        """Return the synthesised recordings."""
        return speech.load(self.work / "data")

    @property
    def quantiser(self) -> frames.Quantiser:
        """Return the codebooks of this run."""
        return frames.Quantiser.load(self.work / "quantiser.safetensors")

    def _trained(self, name: str) -> Any:
        return torch.load(self.work / f"{name}.pt", weights_only=True)[name]

    def _checkpoint(self, name: str, network: torch.nn.Module, kind: str, prefix: str) -> Path:
        """Return the path of a network's checkpoint; a new one gets the package's weights."""
        path = self.work / f"{name}.pt"
        if not path.exists() and name not in self.afresh:
            found = load_file(DEMO_DIRECTORY / kind / "model.safetensors")
            own = {
                key.removeprefix(prefix): value.float()
                for key, value in found.items()
                if key.startswith(prefix)
            }
            network.load_state_dict(own, strict=False)
            torch.save({name: network.state_dict(), "step": 0, "seconds": 0.0}, path)
        return path

    def _shipped_quantiser(self) -> frames.Quantiser:
        found = load_file(DEMO_DIRECTORY / "codec" / "model.safetensors")
        books = [
            found[f"quantizer.quantizers.{number}.codebook.embed"].float()
            for number in range(frames.NUM_CODEBOOKS)
        ]
        return frames.Quantiser(**load_file(FITTED), codebooks=torch.stack(books))


def main() -> None:
    """Run the stages that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("work", type=Path, help="directory for intermediate results")
    parser.add_argument("--stage", action="append", choices=STAGES, help="only this one")
    parser.add_argument("--hours", type=float, default=8.0, help="of speech")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--decoder-minutes", type=float, default=20)
    parser.add_argument("--model-minutes", type=float, default=90)
    parser.add_argument("--encoder-minutes", type=float, default=10)
    parser.add_argument("--afresh", nargs="+", choices=PARTS, help="parts that start from nothing")
    parser.add_argument("--toy", action="store_true", help="small, in a minute, everything afresh")
    parser.add_argument("--into", type=Path, default=DEMO_DIRECTORY, help="for the checkpoints")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args()
    if options.toy:
        options.hours = 0.02
        options.decoder_minutes = options.model_minutes = options.encoder_minutes = 0.02
    torch.set_num_threads(options.threads)
    options.work.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(options)
    for stage in options.stage or STAGES:
        print(f"== {stage}", flush=True)
        getattr(recipe, stage)()


if __name__ == "__main__":
    main()
