"""Who speaks in a text: the model's tag for each speaker, and the voice that the caller chose."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from higgs_worker.api.request import SpeechRequest
from higgs_worker.api.voice_spec import VoiceSpec
from higgs_worker.errors import InvalidRequest
from higgs_worker.text.markup import Passage

_NUMBERED = re.compile(r"SPEAKER\d+")


@dataclass(frozen=True, slots=True)
class SpeakerRole:
    """One speaker of a text."""

    tag: str
    """SPEAKER0, SPEAKER1 …: what the model calls them."""
    voice: VoiceSpec | None
    """None: the model chooses."""

    @property
    def description(self) -> str | None:
        """The voice in words; None when it is a recording or the model's choice."""
        return self.voice.description if self.voice else None

    @property
    def has_recording(self) -> bool:
        """Whether the voice is a recording, of the library or the caller's."""
        return self.voice is not None and self.voice.description is None


def assign_roles(
    request: SpeechRequest, passages: Iterable[Passage]
) -> dict[str | None, SpeakerRole]:
    """Return a role for every speaker, in order of appearance; None speaks without a tag.

    Raises:
        InvalidRequest: the request leaves the voice of a tagged speaker open.
    """
    speakers = list(dict.fromkeys(each.speaker for each in passages if each.text.strip()))
    tagged = [speaker for speaker in speakers if speaker is not None]
    given = {name.casefold(): voice for name, voice in request.speakers.items()}
    free_tags = (
        f"SPEAKER{n}" for n in range(len(tagged) + len(speakers)) if f"SPEAKER{n}" not in tagged
    )
    roles: dict[str | None, SpeakerRole] = {}
    for speaker in speakers:
        voice = request.voice
        if speaker is not None and speaker.casefold() in given:
            voice = given[speaker.casefold()]
        elif speaker is not None and (given or (request.voice and len(tagged) > 1)):
            known = "speakers has no voice for it" if given else "voice cannot be that of all"
            raise InvalidRequest(
                f"the text has [{speaker}] and {known}; send speakers with a voice for each, or "
                "null where the model may choose"
            )
        is_numbered = speaker is not None and _NUMBERED.fullmatch(speaker)
        roles[speaker] = SpeakerRole(str(speaker) if is_numbered else next(free_tags), voice)
    return roles
