"""The parts in their order, and how long each may take.

Expected on two cores that do nothing else; at most on such that seven others use as well.
"""

from benchmarks.gpu.plan import Part


def _part(name: str, about: str, expected_s: int, max_s: int) -> Part:
    return Part(f"benchmarks.real_size.parts.{name}", about, expected_s, max_s)


PARTS = (
    _part("files", "both checkpoints, and the vocabulary by its definition", 150, 900),
    _part("starts", "pulling, loading and speaking, by the state of the files", 300, 2400),
    _part("cloning", "a new voice: time and memory of the encoder", 200, 1500),
    _part("prompts", "ids against transformers', and control tokens in texts", 40, 300),
    _part("codes", "the codec against transformers'", 60, 600),
    _part("columns", "greedy columns against transformers' in float32", 120, 1200),
    _part("logits", "bf16 logits of all layers against float32", 200, 1800),
)
