"""The body of a job or of an HTTP request: one of a few kinds, told apart by its fields."""

from collections.abc import Mapping

from higgs_worker.api.action import Action, parse_action
from higgs_worker.api.batch import Batch
from higgs_worker.api.openai import OpenAIList, OpenAISpeech, parse_openai
from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.screening import screen

Body = SpeechRequest | Batch | Action | OpenAISpeech | OpenAIList


def parse_body(raw: object, *, max_text_chars: int) -> Body:
    """Validate what a caller sent.

    Args:
        raw: anything that JSON can hold.
        max_text_chars: the operator's limit for the text of a request.

    Raises:
        CredentialsRefused: a key looks like a credential.
        InvalidRequest: anything else is wrong.
    """
    screen(raw)
    if isinstance(raw, Mapping):
        if "action" in raw:
            return parse_action(raw, max_text_chars=max_text_chars)
        if "openai_route" in raw:
            return parse_openai(raw, max_text_chars=max_text_chars)
        if "batch" in raw:
            return Batch.parse(raw, max_text_chars=max_text_chars)
    return SpeechRequest.parse(raw, max_text_chars=max_text_chars)
