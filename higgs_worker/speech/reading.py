"""A plan as a reading: its sentences, and how long they would take."""

from higgs_worker.api.reading import Reading, ReadSentence
from higgs_worker.api.request import SpeechRequest
from higgs_worker.speech.chunking import ChunkPlan, Sentence
from higgs_worker.text.duration import expected_duration_s
from higgs_worker.text.words import num_words


def reading_of(request: SpeechRequest, plan: ChunkPlan) -> Reading:
    """Return what a plan would say; plans what is left of the text."""
    chunks = plan.chunks
    spoken_s = sum(chunk.pause_s + expected_duration_s(chunk.words) for chunk in chunks)
    expected_s = (spoken_s + plan.end_pause_s) / request.speed
    if request.max_duration_s is not None:
        expected_s = min(expected_s, request.max_duration_s)
    return Reading(
        language=plan.language,
        sentences=tuple(_read(sentence, request.speed) for sentence in plan.sentences),
        num_characters=len(request.text),
        num_words=sum(num_words(sentence.text) for sentence in plan.sentences),
        num_chunks=len(chunks),
        expected_s=expected_s,
        warnings=plan.warnings,
    )


def _read(sentence: Sentence, speed: float) -> ReadSentence:
    return ReadSentence(
        text=sentence.text,
        speaker=sentence.speaker,
        spoken=sentence.spoken if sentence.spoken != sentence.text else None,
        expected_s=expected_duration_s(sentence.spoken) / speed,
    )
