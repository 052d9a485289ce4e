"""The files: both checkpoints, and whether the vocabulary is what its ranks say."""

import time
from collections.abc import Iterator
from typing import Any

from tokenizers import Tokenizer

from benchmarks.real_size import checkpoint
from benchmarks.real_size.setup import REPOS, Setup
from benchmarks.real_size.texts import TEXTS
from benchmarks.real_size.vocabulary import encode_by_rank, num_merges


def files(setup: Setup) -> Iterator[dict[str, Any]]:
    """Weights: as many tensors and bytes as the published files"""
    for kind, repo in REPOS.items():
        started = time.perf_counter()
        built = checkpoint.build(setup, kind)
        yield {"repository": repo, **built, "build_s": time.perf_counter() - started}


def vocabulary(setup: Setup) -> Iterator[dict[str, Any]]:
    """The vocabulary: texts whose ids are those of the definition"""
    path = setup.directory("model") / "tokenizer.json"
    made, ranks = Tokenizer.from_file(str(path)), checkpoint.ranks(setup)
    equal = [
        made.encode(text, add_special_tokens=False).ids == encode_by_rank(text, ranks)
        for text in TEXTS
    ]
    yield {
        "ids": made.get_vocab_size(),
        "merges": num_merges(path),
        "texts": len(TEXTS),
        "equal": sum(equal),
    }
    if not all(equal):
        raise RuntimeError(f"other ids for {TEXTS[equal.index(False)]!r}")


MEASUREMENTS = (files, vocabulary)
