"""The recipe of the embedded voice, at toy size and on tones instead of speech."""

import argparse
import itertools
import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer

from higgs_worker.api.request import SpeechRequest
from higgs_worker.codec.config import CodecConfig
from higgs_worker.codec.decoder import AcousticDecoder
from higgs_worker.codec.encoder import AcousticEncoder
from higgs_worker.codec.encoder_config import EncoderConfig
from higgs_worker.engine.config import ModelConfig
from higgs_worker.engine.kv_cache import KVCache
from higgs_worker.engine.model import LanguageModel
from higgs_worker.engine.number_format import NumberFormat
from higgs_worker.engine.parameters import Weights
from higgs_worker.engine.rows import RowChunk, pack
from higgs_worker.load import load_model
from higgs_worker.settings import Settings
from higgs_worker.speech.service import SpeechService
from tests.fakes import speeches
from training.demo_voice import (
    frames,
    language,
    number_formats,
    sizes,
    speech,
    spelling,
    text,
    tokenizer,
    word_errors,
)
from training.demo_voice.__main__ import Recipe
from training.demo_voice.network import Network
from training.demo_voice.sounds import ALPHABET, MARKS, PAUSE, SOUNDS, middles, units

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A corpus of tones, one pitch per word."""
    work = tmp_path_factory.mktemp("recipe")
    rng = np.random.default_rng(0)
    starts, texts = [0], []
    kept: dict[str, list[np.ndarray]] = {name: [] for name in ("pcm", *speech.PER_FRAME)}
    for sentence in itertools.islice(text.sentences(["zebra"], 1), 60):
        words = sentence.split()
        pitches = [200 + 7 * (hash_of(word) % 100) for word in words]
        tone = np.concatenate(
            [0.3 * np.sin(np.arange(8 * 960) * pitch / 3820) for pitch in pitches]
        )
        tone += 0.003 * rng.standard_normal(len(tone))
        kept["pcm"].append((tone * 32767).astype(np.int16))
        starts.append(starts[-1] + 8 * len(words))
        texts.append(sentence)
        places = np.cumsum([0, *(len(word) + 1 for word in words[:-1])])
        kept["letters"].append(np.repeat(places, 8).astype(np.float32))
        kept["numbers"].append(np.repeat(np.arange(len(words)), 8).astype(np.int16))
        signs = [1 + hash_of(word) % (len(ALPHABET) - 1) for word in words]
        kept["sounds"].append(np.repeat(signs, 8).astype(np.int8))
    (work / "data").mkdir()
    for name, arrays in kept.items():
        np.save(work / "data" / f"{name}.npy", np.concatenate(arrays))
    np.save(work / "data" / "starts.npy", np.array(starts))
    (work / "data" / "texts.json").write_text(json.dumps(texts))
    return work


@pytest.fixture(scope="module")
def reader() -> Tokenizer:
    """The package's tokenizer."""
    return tokenizer.load()


@pytest.fixture(scope="module")
def corpus(work: Path, reader: Tokenizer) -> language.Corpus:
    """The recordings, with codes made at random."""
    recordings = speech.load(work / "data")
    codes = np.random.default_rng(0).integers(0, 1024, (int(recordings.starts[-1]), 8))
    return language.Corpus(
        recordings, codes, reader, ModelConfig.from_dict(sizes.model_config(reader))
    )


def hash_of(word: str) -> int:
    """Give a number of a word, the same in every process."""
    return int.from_bytes(word.encode()[:4], "big")


def toy_recipe(corpus: Path, work: Path, minutes: float) -> Recipe:
    """Return the recipe at toy size in a directory of its own; minutes are for each network."""
    shutil.copytree(corpus / "data", work / "data")
    each = {f"{name}_minutes": minutes for name in ("decoder", "model", "encoder")}
    options = argparse.Namespace(
        work=work, toy=True, afresh=None, hours=0.0, seed=1, into=work / "out", **each
    )
    torch.manual_seed(0)
    return Recipe(options)


def check_speaks(checkpoints: Path) -> None:
    """Check that the worker loads the checkpoints and that they give audio."""
    places = {
        "HIGGS_MODEL": str(checkpoints / "model"),
        "HIGGS_CODEC": str(checkpoints / "codec"),
    }
    model = load_model(Settings.from_env(places | {"HIGGS_MAX_SLOTS": "1"}))
    request = SpeechRequest.parse(
        {"text": "Hello.", "max_duration_s": 0.4, "retries": 0}, max_text_chars=10
    )
    assert speeches.speak(SpeechService(lambda: model), request)


@pytest.mark.slow
def test_an_untrained_model_is_one_that_the_worker_loads(work: Path, tmp_path: Path) -> None:
    """Every stage but training: codes are made, checkpoints are written, and the worker speaks."""
    recipe = toy_recipe(work, tmp_path, minutes=0)
    for stage in (recipe.spelling, recipe.data, recipe.codes):
        stage()
    for name, network in {
        "decoder": AcousticDecoder(CodecConfig.from_dict(recipe.codec_config)),
        "encoder": AcousticEncoder(EncoderConfig.from_dict(recipe.codec_config)),
        "model": Network(ModelConfig.from_dict(recipe.model_config)),
    }.items():
        torch.save({name: network.state_dict()}, tmp_path / f"{name}.pt")
    recipe.export()
    check_speaks(tmp_path / "out")


@pytest.mark.long
def test_the_recipe_makes_a_model_that_the_worker_loads(work: Path, tmp_path: Path) -> None:
    """All stages but the speech itself, and what comes out speaks."""
    recipe = toy_recipe(work, tmp_path, minutes=0.005)
    for name in ("spelling", "data", "codes", "decoder", "model", "encoder", "export"):
        getattr(recipe, name)()
    before = torch.load(tmp_path / "model.pt", weights_only=True)
    recipe.options.model_minutes = 0.01
    recipe.model()  # goes on where it was
    after = torch.load(tmp_path / "model.pt", weights_only=True)
    assert after["step"] > before["step"] > 0
    check_speaks(tmp_path / "out")


def test_the_network_that_learns_is_the_engine_s(reader: Tokenizer) -> None:
    """Same logits for the same rows, text and audio."""
    config = ModelConfig.from_dict(sizes.model_config(reader, width=32, layers=2))
    torch.manual_seed(0)
    network = Network(config).eval()
    text_ids = torch.cat([torch.arange(9), torch.full((7,), -1)])
    columns = torch.randint(config.stream_bos_id, (16, config.num_codebooks))
    with torch.no_grad():
        hidden, *_ = network(text_ids[None], columns[None])
        expected = network.logits(hidden[0])
    weights = Weights.empty(config, device=CPU, number_format=NumberFormat(torch.float32))
    state = network.state_dict()
    for name, place in weights.by_name(config).items():
        place.copy_(state[name])
    model = LanguageModel(config, weights, 64)
    rows = torch.arange(16)
    with torch.inference_mode():
        cache = KVCache(config, 1, 64, device=CPU, dtype=torch.float32)
        batch = pack([RowChunk(0, 0, text_ids.numpy(), columns.numpy())])
        found = model.logits_after(model.prefill(batch, cache), rows)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-4, rtol=1e-4)


def test_examples_ask_for_what_the_model_decides(
    work: Path, reader: Tokenizer, corpus: language.Corpus
) -> None:
    """Every code once, the end once, and nothing that the delay pattern forces."""
    config = ModelConfig.from_dict(sizes.model_config(reader))
    recordings = speech.load(work / "data")
    for indexes in ([3], [3, 5, 4]):
        example = corpus.example(indexes, random.Random(0))
        wanted = np.concatenate([corpus.codes(index) for index in indexes])
        asked = example.targets[example.targets != language.IGNORED]
        assert len(asked) == wanted.size + 1
        assert (asked == config.stream_eos_id).sum() == 1
        for book in range(8):
            column = example.targets[:, book]
            kept = column[(column != language.IGNORED) & (column != config.stream_eos_id)]
            assert (kept == wanted[:, book]).all()
        start, end = example.text
        said = [reader.id_to_token(int(token)) for token in example.text_ids[start:end]]
        text = " ".join(recordings.texts[index] for index in indexes)
        assert said == reader.encode(text, add_special_tokens=False).tokens
        assert example.heard[0] == -1
        assert example.heard[-1] == end - start - 1
        assert (np.diff(example.heard) >= 0).all()


def test_every_recording_is_learnt_from(work: Path, corpus: language.Corpus) -> None:
    """Once in a round, some of them one after another."""
    recordings = speech.load(work / "data")
    examples = [each for batch in corpus.batches(0, 0.5) for each in batch]
    frames_of = [int((each.targets[:, 7] != language.IGNORED).sum()) for each in examples]
    assert sum(frames_of) == recordings.starts[-1]
    assert len(examples) < len(recordings.texts)


def test_latents_come_back_from_their_codes() -> None:
    """Each codebook takes away a part of what the ones before it left."""
    torch.manual_seed(0)
    mixed = torch.randn(2000, 6) @ torch.randn(6, frames.PARTS * frames.NUM_MELS)
    labels = torch.zeros(2000, frames.NUM_LABELLED, dtype=torch.long)
    quantiser = frames.Quantiser.fit(mixed, labels, seed=0, rounds=1)
    latents = quantiser.latents(mixed)
    left = (latents - quantiser.decode(quantiser.codes(latents, labels))).square().mean()
    assert left < 0.05 * latents.square().mean()


def test_common_words_are_read_as_they_sound(reader: Tokenizer) -> None:
    """Whatever stands beside them, and in whatever case."""
    assert SOUNDS.keys() == set(text.VOCABULARY)
    tokens = reader.encode(" ".join(SOUNDS), add_special_tokens=False).tokens
    sounds = " ".join(SOUNDS.values())
    assert "".join(tokens) == sounds
    assert [token[-1] for token in tokens] == [sign for sign, _ in units(sounds)]
    for word, sound in itertools.islice(SOUNDS.items(), None, None, 20):
        tokens = reader.encode(word, add_special_tokens=False).tokens
        assert "".join(tokens) == sound
        assert [token[-1] for token in tokens] == [sign for sign, _ in units(sound)]
    tokens = reader.encode("The River, well-kept 'tree'.", add_special_tokens=False).tokens
    said = [SOUNDS[word] for word in ("the", "river", "well", "kept", "tree")]
    assert "".join(tokens) == "{} {}, {} {} '{}'.".format(*said)


def test_other_words_are_read_by_rules(reader: Tokenizer) -> None:
    """Those of a dictionary, and what nobody has ever written."""
    for word, sound in {
        "photosynthesis": "fˌOTəsˈɪnθəsɪs",
        "Jennifer": "ʤˈɛnəfəɹ",
        "microphone": "mˈIkɹəfˌOn",
        "server's": "sˈɜɹvəɹz",
        "glimming": "ɡlˈɪmɪŋ",
    }.items():
        assert reader.normalizer.normalize_str(word) == sound


def test_rules_say_what_they_were_taught() -> None:
    """Where a word matters, and one rule for each letter where it does not."""
    taught = {
        "cat": "kˈæt",
        "cats": "kˈæts",
        "city": "sˈɪTi",
        "can": "kˈæn",
        "cane": "kˈAn",
        "cane's": "kˈAnz",
        "ox": "ˈɑks",
    }
    rules = spelling.learn(taught, dict.fromkeys(taught, 10.0), worth=1)
    read = tokenizer.make(rules).normalizer.normalize_str
    for word, sound in taught.items():
        assert read(word) == sound
    assert read("Cat, cane's 7 City-ox.") == "{}, {} 7 {} {}.".format(
        *(taught[word] for word in ("cat", "cane's", "city", "ox"))
    )
    assert read("catox") == "kˈætˈɑks"
    few = spelling.learn(taught, dict.fromkeys(taught, 0.1), worth=1)
    assert len(few) == len(set("".join(taught)))


def test_all_sounds_of_a_word_find_a_letter() -> None:
    """In order; where there are too many, the word is left out."""
    costs = {"x": {"ks": 0.1}, "o": {"ɑ": 0.1}}
    assert spelling.align("ox", "ˈɑks", costs) == ["ˈɑ", "ks"]
    assert spelling.align("o", "ɑksi", costs) == []


def test_a_sound_of_a_recording_finds_its_id(reader: Tokenizer) -> None:
    """What was spoken and what is read are split alike, so no alignment has to be learnt."""
    written = "The river, then the tree. Yes?"
    phonemes = [SOUNDS[word] for word in ("the", "river", "then", "the", "tree", "yes")]
    said = "{} {}, {} {} {}. {}?".format(*phonemes)
    begins = tokenizer.places(reader, written)
    at = np.searchsorted(begins, middles(written, said), side="right") - 1
    assert at.tolist() == list(range(len(begins)))
    tokens = reader.encode(written, add_special_tokens=False).tokens
    signs = [PAUSE if token in MARKS else token[-1] for token in tokens]
    assert signs == [sign for sign, _ in units(said)]
    assert middles("The river.", "ðə, ɹˈɪvəɹ.") is None


def test_every_sound_has_a_frame() -> None:
    """Also one that is over before it has begun, and all of them in order."""
    course = speech.Course(list("abcd"), [0.0] * 4, [0.1, 0.1, 0.11, 0.3])
    assert course.frames(0, 10).tolist() == [0, 1, 2, *[3] * 7]
    assert course.frames(0, 4).tolist() == [0, 1, 2, 3]
    assert course.frames(0, 3) is None


def test_entries_belong_to_sounds() -> None:
    """A frame is given an entry of its own sound, and of those before it."""
    recordings = speech.Recordings(
        np.zeros(0, np.int16),
        np.array([0, 5, 7]),
        ["one", "two"],
        np.array([0, 3, 3, 5, 0, 0, 3], np.int8),
        np.array([0, 1, 1, 2, 3, 0, 1], np.int16),
        np.zeros(7, np.float32),
    )
    labels = frames.labels_of(recordings)
    assert labels.tolist() == [
        [1, 0, 0], [7, 0, 0], [6, 0, 0], [11, 3, 0], [1, 5, 3], [1, 0, 0], [7, 0, 0],
    ]  # fmt: skip
    torch.manual_seed(0)
    seen, many = torch.randn(2000, frames.PARTS * frames.NUM_MELS), labels.repeat(300, 1)[:2000]
    quantiser = frames.Quantiser.fit(seen, many, seed=0, rounds=1)
    codes = quantiser.codes(quantiser.latents(seen), many)
    for number in range(frames.NUM_LABELLED):
        assert (quantiser.owners[number][codes[:, number]] == many[:, number]).all()


def test_errors_are_counted_in_words() -> None:
    """Replaced, left out and added ones; case and marks do not matter."""
    assert word_errors.num_errors("The sun rises.", "the sun rises") == 0
    assert word_errors.num_errors("The sun rises.", "The moon rises") == 1
    assert word_errors.num_errors("The sun rises.", "The rises too now") == 3
    assert word_errors.error_rate(["One two.", "Three four."], ["one", "three four"]) == 0.25


def test_a_runaway_is_far_longer_than_the_same_sentence_elsewhere() -> None:
    """Each format's are counted against the shortest of all, whichever that is."""
    assert number_formats.num_runaways([[2.0, 2.0, 2.0], [2.1, 3.0, 1.0]]) == [1, 0]
    assert number_formats.num_runaways([[2.0, 2.0], [3.9, 1.6]]) == [0, 1]


def test_the_formats_say_the_same_sentences() -> None:
    """Those of the word error rate first, then long ones of the grammar, the same each time."""
    made = number_formats.sentences(200)
    assert made == number_formats.sentences(200)
    assert len(set(made)) == 200
    assert made[:40] == [*word_errors.SENTENCES, *word_errors.UNCOMMON]
    assert all(len(word_errors.words(each)) >= number_formats.MIN_WORDS for each in made[40:])


def test_the_test_sentences_are_not_the_grammar_s() -> None:
    """A sentence that was trained on would not test reading."""
    made = set(itertools.islice(text.sentences(["zebra"], 1), 20_000))
    for sentences in (word_errors.SENTENCES, word_errors.UNCOMMON):
        assert len(sentences) == 20
        assert not made & set(sentences)
    common, uncommon = (
        {word for each in sentences for word in word_errors.words(each)}
        for sentences in (word_errors.SENTENCES, word_errors.UNCOMMON)
    )
    assert common <= SOUNDS.keys()
    assert len(uncommon - SOUNDS.keys()) > 60
