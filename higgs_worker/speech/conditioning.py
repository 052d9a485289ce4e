"""What the model is shown before each chunk: the speaker's voice, and chunks spoken earlier.

A recording is shown as an earlier turn. A speaker without one gets a voice from the model, by a
description or by chance, and all later chunks of that speaker take it from the first; so a long
text keeps its voice although its chunks are generated side by side. Each turn of a dialogue shows
only its own speaker, because voices that are shown together mix.
Source: boson-ai/higgs-audio `examples/generation.py`; issues 27 and 138 there.
"""

from collections.abc import Mapping

from higgs_worker.engine.sequence import Codes, Prompt
from higgs_worker.speech.chunking import Chunk, ChunkPlan
from higgs_worker.speech.prompt import PastTurn, PromptBuilder, PromptContext, SpeakerProfile
from higgs_worker.speech.roles import SpeakerRole
from higgs_worker.voices.references import Reference

UNDESCRIBED = ("feminine", "masculine")
"""How upstream tells speakers apart whom nobody described, in turn."""


class Conditioning:
    """Builds the prompts of one request's chunks, and learns from those that were spoken."""

    def __init__(
        self,
        prompts: PromptBuilder,
        plan: ChunkPlan,
        scene: str | None,
        references: Mapping[str | None, Reference],
        *,
        num_context: int,
    ) -> None:
        """No chunk is known yet.

        Args:
            prompts: lays prompts out.
            plan: who speaks.
            scene: setting and style, or None.
            references: recordings by speaker, for those who have one.
            num_context: how many earlier chunks of its speaker a chunk is shown; 0: none.
        """
        self._prompts = prompts
        self._plan = plan
        self._scene = scene
        self._references = references
        # Joint chunks have no other tie than the chunk before.
        self._num_context = max(num_context, 1) if plan.is_joint else num_context
        self._past: dict[int, PastTurn] = {}
        """Chunks that were spoken, by index."""
        self._chunks: list[Chunk] = []
        self._by_speaker: dict[str | None, list[int]] = {}
        """Indices of chunks."""
        self._positions: list[int] = []
        """Of each chunk among its speaker's."""

    def add(self, chunk: Chunk) -> None:
        """Add the next chunk, in the order of the text."""
        own = self._by_speaker.setdefault(chunk.speaker, [])
        self._positions.append(len(own))
        own.append(len(self._chunks))
        self._chunks.append(chunk)

    def needs(self, index: int) -> list[int]:
        """Return the chunks that must have been spoken before this one."""
        return sorted({*self._context(index), *self._voice_source(index)})

    def learn(self, index: int, codes: Codes) -> None:
        """Store how a chunk was spoken, [F, K]."""
        self._past[index] = PastTurn(self._chunks[index].text, codes)

    def prompt(self, index: int) -> Prompt:
        """Return the prompt of a chunk; the chunks that it needs have been learned."""
        chunk = self._chunks[index]
        shown = self._context(index)
        context = [self._past[each] for each in shown]
        if self._plan.is_joint:
            return self._prompts.build(chunk.text, self._joint_context(context))
        role = self._plan.roles[chunk.speaker]
        text, is_dialogue = chunk.text, False
        profiles = [SpeakerProfile("SPEAKER0", role.description)] if role.description else []
        voice = [self._past[each] for each in self._voice_source(index) if each not in shown]
        if reference := self._references.get(chunk.speaker):
            voice = [PastTurn(reference.text, reference.codes)]
        elif not profiles and len(self._plan.roles) > 1 and not self._positions[index]:
            text, is_dialogue = f"[{role.tag}] {chunk.text}", True
            profiles = [SpeakerProfile(role.tag, self._usual_description(role))]
        prompt_context = PromptContext(
            self._scene, profiles, voice, context, is_dialogue=is_dialogue
        )
        return self._prompts.build(text, prompt_context)

    def _context(self, index: int) -> list[int]:
        own, position = self._by_speaker[self._chunks[index].speaker], self._positions[index]
        return own[max(0, position - self._num_context) : position]

    def _voice_source(self, index: int) -> list[int]:
        """Return the chunk that a voice without a recording is taken from, if it is another."""
        speaker = self._chunks[index].speaker
        if self._plan.is_joint or speaker in self._references or not self._positions[index]:
            return []
        return self._by_speaker[speaker][:1]

    def _usual_description(self, role: SpeakerRole) -> str:
        tags = sorted(each.tag for each in self._plan.roles.values())
        return UNDESCRIBED[tags.index(role.tag) % len(UNDESCRIBED)]

    def _joint_context(self, context: list[PastTurn]) -> PromptContext:
        roles = self._plan.roles
        if all(speaker in self._references for speaker in roles):
            found = [(role.tag, self._references[speaker]) for speaker, role in roles.items()]
            shown = [PastTurn(f"[{tag}] {each.text}", each.codes) for tag, each in found]
            return PromptContext(self._scene, references=shown, context=context)
        profiles = []
        for speaker, role in sorted(roles.items(), key=lambda item: item[1].tag):
            if reference := self._references.get(speaker):
                profiles.append(SpeakerProfile(role.tag, reference.codes))
            else:
                description = role.description or self._usual_description(role)
                profiles.append(SpeakerProfile(role.tag, description))
        return PromptContext(
            self._scene,
            profiles,
            context=context,
            is_dialogue=not self._references and not any(role.voice for role in roles.values()),
        )
