"""The parts in their order, and how long each may take on two cores."""

from benchmarks.gpu.plan import Part

MODULES = "benchmarks.real_size.parts"
PARTS = (
    Part(f"{MODULES}.files", "both checkpoints, and the vocabulary by its definition", 150, 900),
    Part(
        f"{MODULES}.starts", "pulling, loading and speaking, by the state of the files", 300, 1200
    ),
    Part(f"{MODULES}.cloning", "a new voice: time and memory of the encoder", 200, 1200),
    Part(f"{MODULES}.prompts", "ids against transformers', and control tokens in texts", 60, 300),
    Part(f"{MODULES}.codes", "the codec against transformers'", 60, 600),
    Part(f"{MODULES}.columns", "greedy columns against transformers' in float32", 120, 600),
    Part(f"{MODULES}.logits", "bf16 logits of all layers against float32", 240, 900),
)
