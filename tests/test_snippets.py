"""What the documentation shows works: every command and JSON in it, or it says what it needs."""

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.api.batch import Batch
from higgs_worker.api.request import SpeechRequest
from higgs_worker.cli.main import main, make_parser
from higgs_worker.settings import variables
from higgs_worker.voices.library import PRESETS, VoiceLibrary

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "CONTRIBUTING.md", *(f"docs/{each.name}" for each in ROOT.glob("docs/*.md")))
BLOCK = re.compile(
    r"(?P<mark><!-- needs [^>]+ -->\n)?^```(?P<kind>\w*)\n(?P<text>.*?)^```", re.M | re.S
)
KINDS = ("", "mermaid", "bash", "json", "yaml", "python", "js")
VERB = re.compile(r"([A-Z_]+=\S+ )?(make|higgs-worker|pip|python|curl|docker|export|git) ")
NEEDS_TIME = ("fetch", "doctor", "serve")
"""Commands that reach out of the machine, look at all of it or do not end: only their options are
checked."""


@dataclass(frozen=True)
class Block:
    """Something between fences."""

    page: str
    kind: str
    text: str
    needs_more: bool
    """Marked as what no test can have."""


def blocks() -> list[Block]:
    """Return all blocks of all pages."""
    return [
        Block(page, found["kind"], found["text"], bool(found["mark"]))
        for page in PAGES
        for found in BLOCK.finditer((ROOT / page).read_text(encoding="utf-8"))
    ]


def commands() -> Iterator[Any]:
    """Yield the commands of all blocks that are for a shell, and all of deployments: those dry."""
    for block in blocks():
        if block.kind not in ("", "bash"):
            continue
        for line in block.text.replace("\\\n", " ").splitlines():
            if block.needs_more:
                is_tested = line.startswith("higgs-worker deploy ")
            else:
                is_tested = bool(block.kind or VERB.match(line))
            if is_tested:
                words = shlex.split(line, comments=True)
                yield pytest.param(words, id=f"{block.page}: {' '.join(words)[:50]}")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A reader's directory, with a recording of theirs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HIGGS_MODEL", "demo")
    monkeypatch.setenv("HIGGS_MAX_SLOTS", "1")
    monkeypatch.setenv("HIGGS_VOLUME", str(tmp_path / "volume"))
    voice = VoiceLibrary(PRESETS).get("clara")
    (tmp_path / "anna.wav").write_bytes(voice.wav)
    return tmp_path


@pytest.mark.parametrize("words", list(commands()))
def test_commands_exist_and_work(words: list[str], machine: Path) -> None:
    """Verbs of the Makefile exist, files are there, commands of ours run."""
    while "=" in words[0]:
        words = words[1:]
    program, *rest = words
    if program == "make":
        makefile = (ROOT / "Makefile").read_text()
        assert all(f"\n{verb}:" in makefile for verb in rest), rest
    elif program in ("pip", "python"):
        files = [word for word in rest if "." in word and "/" not in word and word != "."]
        assert all((ROOT / each).exists() for each in files), files
    else:
        assert program == "higgs-worker", words
        if rest[0] in NEEDS_TIME:
            make_parser().parse_args(rest)
            return
        if rest[0] == "deploy":
            rest += ["--dry-run", "--config", str(ROOT / "runpod-serverless-config.json")]
        if "--voice" in rest or rest[:2] in (["voices", "remove"], ["voices", "update"]):
            main(["voices", "add", "Anna", "anna.wav", "--text", "What is said in the recording."])
        assert main(rest) == 0


@pytest.mark.parametrize(
    "block", [each for each in blocks() if each.kind == "json"], ids=lambda block: block.page
)
def test_json_is_what_it_says(block: Block) -> None:
    """Requests are accepted; answers are JSON, but for what is left out."""
    text = re.sub(r"\[…\]", "[]", block.text)
    for part in re.split(r"\n(?=\{)", text.strip()):
        shown = json.loads(part)
        asked = shown.get("input", shown)
        if "batch" in asked and "num_failed" not in asked:
            entries = Batch.parse(asked, max_text_chars=1000).entries
            assert all(isinstance(entry, SpeechRequest) for entry in entries)
        elif "text" in asked and "action" not in asked:
            SpeechRequest.parse(asked, max_text_chars=1000)


def test_what_is_not_run_says_why() -> None:
    """Python and JavaScript call a worker: test_client.py and tests/http/clients/ run them."""
    for block in blocks():
        assert block.kind in KINDS, f"{block.page}: {block.kind}"
        if block.kind in ("python", "js"):
            assert block.needs_more, f"{block.page}: {block.text[:60]}"


def test_every_fence_is_a_block() -> None:
    """One that is indented, or has more than a word behind it, would not be tested."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        num_fences = len(re.findall(r"^\s*(?:```|~~~)", text, re.M))
        assert num_fences == 2 * sum(block.page == page for block in blocks()), page


def test_verbs_and_variables_in_sentences_exist() -> None:
    """`make` verbs, modules to run and HIGGS_ variables, wherever they are named."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    known = {each.name for each in variables()}
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for verb in re.findall(r"`make ([a-z-]+)", text):
            assert f"\n{verb}:" in makefile, f"{page}: make {verb}"
        for module in re.findall(r"`python -m ([a-z_.]+)", text):
            path = ROOT / module.replace(".", "/")
            assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module
        named = set(re.findall(r"\bHIGGS_[A-Z0-9_]*[A-Z0-9]", text))
        assert named <= known, f"{page}: {named - known}"


def test_links_lead_somewhere() -> None:
    """Files and headings of this repository exist."""
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        for target in re.findall(r"\]\((?!https?://)([^)\s]+)\)", text):
            path, _, heading = target.partition("#")
            found = (ROOT / page).parent / path if path else ROOT / page
            assert found.exists(), f"{page}: {target}"
            if heading:
                headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.M)
                slugs = [
                    re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings
                ]
                assert heading in slugs, f"{page}: {target}"
