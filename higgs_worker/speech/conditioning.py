"""How each chunk is to sound: which voice it has, and what its prompt shows the model of it.

A recording is shown as an earlier turn. A speaker without one is given a voice by the model, from
a description or from nothing, and whoever speaks on takes it from the first chunk; so a long text
keeps its voice although its chunks are spoken side by side. Each turn of a dialogue shows only its
own speaker, because voices that are shown together mix.
Source: boson-ai/higgs-audio `examples/generation.py`; issues 27 and 138 there.
"""

from collections.abc import Mapping

from higgs_worker.engine.sequence import Codes, Prompt
from higgs_worker.speech.chunking import Chunk, ChunkPlan, SpeakerRole
from higgs_worker.speech.prompt import PastTurn, PromptBuilder, PromptContext, SpeakerProfile
from higgs_worker.voices.references import Reference

UNDESCRIBED = ("feminine", "masculine")
"""How upstream tells speakers apart whom nobody described, in turn."""


class Conditioning:
    """The voices of one request. What was spoken is learned chunk by chunk."""

    def __init__(
        self,
        prompts: PromptBuilder,
        script: ChunkPlan,
        scene: str | None,
        references: Mapping[str | None, Reference],
        *,
        num_context: int,
    ) -> None:
        """Take the recordings that were found for the speakers who have one.

        Args:
            prompts: lays them out.
            script: who says it.
            scene: setting and style, or None.
            references: by speaker.
            num_context: how many chunks before it a chunk hears; 0: none.
        """
        self._prompts = prompts
        self._script = script
        self._scene = scene
        self._references = references
        # What holds joint chunks together is that each hears the one before.
        self._num_context = max(num_context, 1) if script.is_joint else num_context
        self._said: dict[int, PastTurn] = {}
        self._chunks: list[Chunk] = []
        self._order: dict[str | None, list[int]] = {}
        """Chunks by speaker."""
        self._place: list[int] = []
        """Of each chunk among its speaker's."""

    def enter(self, chunk: Chunk) -> None:
        """Take in the next chunk; they come in their order."""
        order = self._order.setdefault(chunk.speaker, [])
        self._place.append(len(order))
        order.append(len(self._chunks))
        self._chunks.append(chunk)

    def needs(self, index: int) -> list[int]:
        """Say which chunks must have been spoken before this one."""
        return sorted({*self._context(index), *self._model(index)})

    def learn(self, index: int, codes: Codes) -> None:
        """Take note of how a chunk was spoken, [F, K]."""
        self._said[index] = PastTurn(self._chunks[index].text, codes)

    def prompt(self, index: int) -> Prompt:
        """Lay out one chunk; those that it needs have been learned."""
        chunk = self._chunks[index]
        heard = self._context(index)
        context = [self._said[each] for each in heard]
        if self._script.is_joint:
            return self._prompts.build(chunk.text, self._joint(context))
        role = self._script.roles[chunk.speaker]
        text, profiles, is_dialogue = chunk.text, self._profiles(role), False
        model = [self._said[each] for each in self._model(index) if each not in heard]
        if reference := self._references.get(chunk.speaker):
            model = [PastTurn(reference.text, reference.codes)]
        elif not profiles and len(self._script.roles) > 1 and not self._place[index]:
            text, is_dialogue = f"[{role.tag}] {chunk.text}", True
            profiles = [SpeakerProfile(role.tag, self._usual(role))]
        setting = PromptContext(self._scene, profiles, model, context, is_dialogue=is_dialogue)
        return self._prompts.build(text, setting)

    def _context(self, index: int) -> list[int]:
        order, place = self._order[self._chunks[index].speaker], self._place[index]
        return order[max(0, place - self._num_context) : place]

    def _model(self, index: int) -> list[int]:
        """Give the chunk that a voice without recording is taken from, if this is not it."""
        speaker = self._chunks[index].speaker
        if self._script.is_joint or speaker in self._references or not self._place[index]:
            return []
        return self._order[speaker][:1]

    def _profiles(self, role: SpeakerRole) -> list[SpeakerProfile]:
        return [SpeakerProfile("SPEAKER0", role.description)] if role.description else []

    def _usual(self, role: SpeakerRole) -> str:
        tags = sorted(each.tag for each in self._script.roles.values())
        return UNDESCRIBED[tags.index(role.tag) % len(UNDESCRIBED)]

    def _joint(self, context: list[PastTurn]) -> PromptContext:
        roles = self._script.roles
        if all(speaker in self._references for speaker in roles):
            found = [(role.tag, self._references[speaker]) for speaker, role in roles.items()]
            shown = [PastTurn(f"[{tag}] {each.text}", each.codes) for tag, each in found]
            return PromptContext(self._scene, references=shown, context=context)
        profiles = []
        for speaker, role in sorted(roles.items(), key=lambda item: item[1].tag):
            if reference := self._references.get(speaker):
                profiles.append(SpeakerProfile(role.tag, reference.codes))
            else:
                profiles.append(SpeakerProfile(role.tag, role.description or self._usual(role)))
        return PromptContext(
            self._scene,
            profiles,
            context=context,
            is_dialogue=not self._references and not any(role.choice for role in roles.values()),
        )
