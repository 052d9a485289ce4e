"""The recipe of the embedded voice, at toy size and on tones instead of speech."""

import argparse
import asyncio
import itertools
import json
import random
from pathlib import Path

import numpy as np
import pytest
import torch

from higgs_worker.build import load_speaker
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.model import LanguageModel, PackedRows
from higgs_worker.engine.weights import Weights
from higgs_worker.schema import SpeechRequest
from higgs_worker.service import SpeechService
from higgs_worker.settings import Settings
from training.demo_voice import ears, frames, language, sizes, speech, text
from training.demo_voice.__main__ import Recipe
from training.demo_voice.network import Network

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of tones, one pitch per word."""
    work = tmp_path_factory.mktemp("recipe")
    rng = np.random.default_rng(0)
    pcm, starts, texts, letters = [], [0], [], []
    for sentence in itertools.islice(text.sentences(["zebra"], 1), 60):
        words = sentence.split()
        pitches = [200 + 7 * (hash_of(word) % 100) for word in words]
        tone = np.concatenate(
            [0.3 * np.sin(np.arange(8 * 960) * pitch / 3820) for pitch in pitches]
        )
        tone += 0.003 * rng.standard_normal(len(tone))
        pcm.append((tone * 32767).astype(np.int16))
        starts.append(starts[-1] + 8 * len(words))
        texts.append(sentence)
        places = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
        letters.append(np.repeat(places, 8).astype(np.float32))
    (work / "data").mkdir()
    np.save(work / "data" / "pcm.npy", np.concatenate(pcm))
    np.save(work / "data" / "starts.npy", np.array(starts))
    np.save(work / "data" / "letters.npy", np.concatenate(letters))
    (work / "data" / "texts.json").write_text(json.dumps(texts))
    return work


def hash_of(word: str) -> int:
    """Give a number of a word, the same in every process."""
    return int.from_bytes(word.encode()[:4], "big")


def test_the_recipe_makes_a_model_that_the_worker_loads(work: Path) -> None:
    """All stages but the speech itself, and what comes out speaks."""
    minutes = {f"{name}_minutes": 0.005 for name in ("decoder", "model", "encoder")}
    options = argparse.Namespace(
        work=work, toy=True, afresh=True, hours=0.0, seed=1, into=work / "out", **minutes
    )
    torch.manual_seed(0)
    recipe = Recipe(options)
    for stage in (recipe.data, recipe.codes, recipe.decoder, recipe.model, recipe.encoder):
        stage()
    recipe.export()
    before = torch.load(work / "network.pt", weights_only=True)
    options.model_minutes = 0.01
    recipe.model()  # goes on where it was
    after = torch.load(work / "network.pt", weights_only=True)
    assert after["step"] > before["step"] > 0
    places = {
        "HIGGS_MODEL": str(work / "out" / "model"),
        "HIGGS_CODEC": str(work / "out" / "codec"),
    }
    speaker = load_speaker(Settings.from_env(places | {"HIGGS_MAX_SLOTS": "1"}))
    request = SpeechRequest.parse(
        {"text": "Hello.", "max_duration_s": 0.4, "retries": 0}, max_text_chars=10
    )
    assert asyncio.run(SpeechService(lambda: speaker).speak(request)).audio


def test_the_network_that_learns_is_the_engine_s() -> None:
    """Same logits for the same rows, text and audio."""
    tokenizer = sizes.tokenizer()
    config = ModelConfig.from_dict(sizes.model_config(tokenizer, width=32, layers=2))
    torch.manual_seed(0)
    network = Network(config).eval()
    text_ids = torch.cat([torch.arange(9), torch.full((7,), -1)])
    columns = torch.randint(config.stream_bos_id, (16, config.num_codebooks))
    with torch.no_grad():
        hidden, _ = network(text_ids[None], columns[None])
        expected = network.logits(hidden[0])
    weights = Weights.empty(config, device=CPU, dtype=torch.float32)
    state = network.state_dict()
    for name, place in weights.by_name(config).items():
        place.copy_(state[name])
    model = LanguageModel(config, weights, 64)
    rows = torch.arange(16)
    with torch.inference_mode():
        cache = KVCache(config, 1, 64, device=CPU, dtype=torch.float32)
        part = PackedRows(0, 0, rows)
        read = model.prefill(text_ids[:9], columns[9:], rows, torch.zeros_like(rows), [part], cache)
        torch.testing.assert_close(model.logits_after(read, rows), expected, atol=1e-4, rtol=1e-4)


def test_examples_ask_for_what_the_model_decides(work: Path) -> None:
    """Every code once, the end once, and nothing that the delay pattern forces."""
    tokenizer = sizes.tokenizer()
    config = ModelConfig.from_dict(sizes.model_config(tokenizer))
    spoken = speech.load(work / "data")
    codes = np.random.default_rng(0).integers(0, 1024, (int(spoken.starts[-1]), 8))
    corpus = language.Corpus(spoken, codes, tokenizer, config)
    example = corpus.example(3, random.Random(0))
    num_frames = int(corpus.lengths[3])
    asked = example.targets[example.targets != language.IGNORED]
    assert len(asked) == 8 * num_frames + 1
    assert (asked == config.stream_eos_id).sum() == 1
    for book in range(8):
        column = example.targets[:, book]
        kept = column[(column != language.IGNORED) & (column != config.stream_eos_id)]
        assert (kept == corpus.codes(3)[:, book]).all()
    start, end = example.text
    said = [tokenizer.id_to_token(int(token)) for token in example.text_ids[start:end]]
    assert said == tokenizer.encode(spoken.texts[3], add_special_tokens=False).tokens
    assert 0 <= example.spoken[0] <= example.spoken[-1] < end - start
    assert (np.diff(example.spoken) >= 0).all()


def test_latents_come_back_from_their_codes() -> None:
    """Each codebook takes away a part of what the ones before it left."""
    torch.manual_seed(0)
    mixed = torch.randn(4000, 6) @ torch.randn(6, frames.PARTS * frames.NUM_MELS)
    quantiser = frames.Quantiser.fit(mixed, seed=0, rounds=2)
    latents = quantiser.latents(mixed)
    left = (latents - quantiser.quantised(quantiser.codes(latents))).square().mean()
    assert left < 0.05 * latents.square().mean()


def test_common_words_are_read_as_they_sound() -> None:
    """Whatever stands beside them, and in whatever case; others are spelled."""
    tokenizer = sizes.tokenizer()
    assert sizes.SOUNDS.keys() == set(text.VOCABULARY)
    for word, sound in sizes.SOUNDS.items():
        assert tokenizer.encode(word, add_special_tokens=False).tokens == list(sound), word
    said = "".join(tokenizer.encode("The River, zog.", add_special_tokens=False).tokens)
    assert said == f"{sizes.SOUNDS['the']} {sizes.SOUNDS['river']}, zog."
    assert len(sizes.places(tokenizer, "The River, zog.")) == len(said)


def test_errors_are_counted_in_words() -> None:
    """Replaced, left out and added ones; case and marks do not matter."""
    assert ears.num_errors("The sun rises.", "the sun rises") == 0
    assert ears.num_errors("The sun rises.", "The moon rises") == 1
    assert ears.num_errors("The sun rises.", "The rises too now") == 3
    assert ears.error_rate(["One two.", "Three four."], ["one", "three four"]) == 0.25


def test_the_ears_sentences_are_not_the_grammar_s() -> None:
    """Their words are, or nobody could say them."""
    made = set(itertools.islice(text.sentences(["zebra"], 1), 20_000))
    assert len(ears.SENTENCES) == 20
    assert not made & set(ears.SENTENCES)
