"""A loaded model: everything that turns text into sound. Imports no torch."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from higgs_worker.api.result import ModelInfo
from higgs_worker.speech.ras_defaults import RasDefaults
from higgs_worker.voices.references import References

if TYPE_CHECKING:
    from higgs_worker.codec.thread import CodecThread
    from higgs_worker.engine.engine import Engine
    from higgs_worker.speech.prompt import PromptBuilder


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """Language model, codec, tokenizer and reference voices of one worker."""

    prompts: "PromptBuilder"
    engine: "Engine"
    codec: "CodecThread"
    references: References
    sample_rate: int
    """Of the PCM, in hertz."""
    frame_rate: int
    """Frames of codes per second of audio."""
    info: ModelInfo
    ras: RasDefaults = field(default_factory=RasDefaults)
    """For requests that do not say how repetition is avoided."""
    warnings: tuple[str, ...] = ()
    """What every caller of this model should know."""
