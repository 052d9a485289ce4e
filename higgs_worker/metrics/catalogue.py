"""Every figure of a worker; `docs/metrics.md` is made of these.

A bucket's bounds lie close where a change matters, and far apart where it only tells a slow worker
from a broken one.
"""

from higgs_worker.metrics.metric import Metric

REQUESTS = Metric(
    "higgs_requests_total",
    "counter",
    "Requests that ended, by the way they came (`job`, `http`, `websocket`) and how they ended: "
    "`ok`, `cancelled`, or the code of the error. The texts of a batch count one by one; a batch "
    "of which none could be spoken counts once more, as `batch_failed`.",
    ("kind", "outcome"),
)
REQUESTS_RUNNING = Metric(
    "higgs_requests_running",
    "gauge",
    "Requests that are under way, those that wait for the model or a slot included.",
)
FIRST_AUDIO = Metric(
    "higgs_first_audio_seconds",
    "histogram",
    "From a request to its first PCM, waiting included. `live`: the audio is heard while it is "
    "generated; `whole`: the first chunk has to be complete.",
    ("mode",),
    # A free GPU answers within 0.2 s, and listeners notice half a second; a minute is a cold start.
    (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 1, 1.5, 2.5, 5, 10, 30, 60, 300),
)
QUEUE = Metric(
    "higgs_queue_seconds",
    "histogram",
    "How long a request waited for its text to be split and for its first slot.",
    (),
    # Splitting takes milliseconds; a slot is free within a second unless the worker is full, and
    # then within the length of a chunk, some ten seconds.
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
)
LOAD_WAIT = Metric(
    "higgs_load_wait_seconds",
    "histogram",
    "How long a request waited for the model to be loaded; 0 once it is.",
    (),
    # Loading takes some seconds from a disk, half a minute from a network volume, and minutes where
    # the weights are pulled first.
    (0.01, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600),
)
RTF = Metric(
    "higgs_rtf",
    "histogram",
    "Compute seconds per second of audio, of each request spoken to its end; above 1, a listener "
    "has to wait.",
    (),
    # A request alone on a GPU takes 0.05 to 0.2, beside others more; a CPU takes 1 to 10.
    (0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 3, 10),
)
AUDIO = Metric(
    "higgs_audio_seconds_total",
    "counter",
    "Seconds of audio that were given out, of requests that ended early too.",
)
CHARACTERS = Metric(
    "higgs_characters_total", "counter", "Characters of the texts that were spoken to their end."
)
UNDERRUNS = Metric(
    "higgs_underruns_total",
    "counter",
    "How often a listener of live audio, who starts with the first PCM, would have waited for more "
    "than 0.1 s for the next.",
)
UNDERRUN_SECONDS = Metric(
    "higgs_underrun_seconds_total", "counter", "How long these listeners would have waited."
)
RETRIES = Metric(
    "higgs_retries_total",
    "counter",
    "Attempts at a chunk that were repeated, by what was wrong with them most.",
    ("fault",),
)
SLOTS = Metric("higgs_slots", "gauge", "Sequences that can be generated at the same time.")
SLOTS_USED = Metric("higgs_slots_used", "gauge", "Slots that hold a sequence.")
WAITING = Metric("higgs_sequences_waiting", "gauge", "Sequences that wait for a slot.")
STEPS = Metric(
    "higgs_decode_steps_total",
    "counter",
    "Decode steps; each draws one column for every running sequence.",
)
FRAMES = Metric(
    "higgs_frames_total", "counter", "Frames of codes that were turned into PCM, 25 a second."
)
PREFIXES = Metric(
    "higgs_prefix_cache_lookups_total",
    "counter",
    "Prompts whose shared beginning (system text and reference) was in the KV cache's prefixes "
    "(`hit`), or had to be prefilled (`miss`).",
    ("result",),
)
CODES = Metric(
    "higgs_code_cache_lookups_total",
    "counter",
    "Recordings whose codes were known (`hit`), or had to be encoded (`miss`).",
    ("result",),
)
COLD_START = Metric(
    "higgs_cold_start_seconds",
    "gauge",
    "The parts of this worker's start, as in its line in the log; `ready` and `total` are sums. "
    "Parts may overlap.",
    ("part",),
)
GPU_MEMORY = Metric(
    "higgs_gpu_memory_bytes",
    "gauge",
    "Memory of the GPU: what tensors take (`allocated`), what torch holds for them (`reserved`), "
    "and what there is (`total`). Absent on a CPU.",
    ("state",),
)

CATALOGUE = (
    REQUESTS,
    REQUESTS_RUNNING,
    FIRST_AUDIO,
    QUEUE,
    LOAD_WAIT,
    RTF,
    AUDIO,
    CHARACTERS,
    UNDERRUNS,
    UNDERRUN_SECONDS,
    RETRIES,
    SLOTS,
    SLOTS_USED,
    WAITING,
    STEPS,
    FRAMES,
    PREFIXES,
    CODES,
    COLD_START,
    GPU_MEMORY,
)
"""In the order in which they are told."""
