"""The workflows, the Dockerfile and the release notes: what no linter can check."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
CHANGELOG = """# Changelog

## Unreleased

- later

## 1.2.0 - 2026-01-01

### Added

- speech

## 1.1.0

- silence
"""


def read(name: str) -> dict[str, Any]:
    """Return a workflow."""
    workflow = yaml.safe_load((ROOT / ".github/workflows" / name).read_text())
    assert isinstance(workflow, dict)
    return workflow


@pytest.fixture
def ci() -> dict[str, Any]:
    """Return the workflow that checks and tests."""
    return read("ci.yml")


@pytest.fixture
def build() -> dict[str, Any]:
    """Return the workflow that builds and pushes the image."""
    return read("build-runpod-container.yml")


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_by_commit(path: Path) -> None:
    """Every action of others is named by a commit, with its version beside it."""
    used = re.findall(r"uses: *([^$ ].*)", path.read_text())
    assert used
    for each in used:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", each), each


def test_one_version_of_an_action(ci: dict[str, Any], build: dict[str, Any]) -> None:
    """All workflows use an action at the same commit."""
    jobs = [*ci["jobs"].values(), *build["jobs"].values()]
    used = {step["uses"] for job in jobs for step in job.get("steps", []) if "uses" in step}
    assert len({name.partition("@")[0] for name in used}) == len(used)


def test_permissions_are_the_least(ci: dict[str, Any], build: dict[str, Any]) -> None:
    """Only the job that pushes the image and the job that makes the release may write."""
    permissions = {}
    for workflow in (ci, build):
        assert workflow["permissions"] == {}
        permissions |= {name: job["permissions"] for name, job in workflow["jobs"].items()}
    assert permissions == {
        "check": {"contents": "read"},
        "image": {"contents": "read"},
        "publish": {"contents": "read", "packages": "write"},
        "release": {"contents": "write"},
    }


def test_the_events_that_start_a_build(build: dict[str, Any]) -> None:
    """The image is built on main, on version tags, for pull requests and by hand."""
    events = build[True]  # YAML reads the key `on` as true
    assert events == {
        "push": {"branches": ["main"], "tags": ["v*"]},
        "pull_request": None,
        "workflow_dispatch": None,
    }


def test_checks_run_once_for_every_event(ci: dict[str, Any], build: dict[str, Any]) -> None:
    """ci.yml leaves main and tags to its caller, and the two never wait for each other."""
    assert ci[True] == {
        "push": {"branches-ignore": ["main"]},
        "pull_request": None,
        "workflow_call": None,
    }
    assert [step["run"] for step in ci["jobs"]["check"]["steps"] if "run" in step] == [".ci/run"]
    assert ci["concurrency"]["group"] != build["concurrency"]["group"]


def test_the_image_has_tags_that_never_move(build: dict[str, Any]) -> None:
    """An image is tagged with its version and its commit; no tag is called `latest`."""
    steps = build["jobs"]["publish"]["steps"]
    tags = {step["id"]: step["with"] for step in steps if "flavor" in step.get("with", {})}
    assert list(tags) == ["thin", "baked"]
    for each in tags.values():
        assert "latest=false" in each["flavor"]
        assert {"type=ref,event=tag", "type=sha,format=long"} <= set(each["tags"].split())
        assert "type=semver,pattern={{version}}" in each["tags"]


def test_nothing_is_published_untested(build: dict[str, Any]) -> None:
    """An image is pushed after checks, tests and a run of it, and never for a pull request."""
    jobs = build["jobs"]
    assert jobs["check"]["uses"] == "$/.github/workflows/ci.yml"
    assert jobs["publish"]["needs"] == ["check", "image"]
    assert jobs["publish"]["if"] == "github.event_name != 'pull_request'"
    assert jobs["release"]["needs"] == "publish"
    pushes = [step["with"] for step in jobs["publish"]["steps"] if "push" in step.get("with", {})]
    assert [each["target"] for each in pushes] == ["thin", "baked"]
    assert all(each["provenance"] == "mode=max" and each["sbom"] for each in pushes)
    assert any(step.get("run") == "make image-test" for step in jobs["image"]["steps"])


def test_the_image_installs_only_what_is_locked() -> None:
    """The base image is named by its digest, uv and triton by hash; the rest is bootstrap.sh's."""
    dockerfile = (ROOT / "Dockerfile.runpod.ultra").read_text()
    base, *stages = re.findall(r"^FROM (\S+)", dockerfile, re.M)
    # On the line itself: dependabot does not move what an ARG holds.
    assert re.fullmatch(r"python:[\w.-]+@sha256:[0-9a-f]{64}", base)
    assert set(stages) <= set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.M))
    installs = re.findall(r"pip install .*--require-hashes .*-r ([\w.-]+)", dockerfile)
    assert installs == ["requirements-uv.lock", "triton.lock"]
    assert dockerfile.count("pip install") == len(installs)
    assert re.search(r"sed -n '/\^triton==/.*' requirements\.lock >triton\.lock", dockerfile)
    assert "RUN ./bootstrap.sh install" in dockerfile


def test_dockerignore_allows_what_the_image_copies() -> None:
    """.dockerignore allows what the Dockerfile copies, and nothing else."""
    dockerfile = (ROOT / "Dockerfile.runpod.ultra").read_text()
    copied = {
        word
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.M)
        for word in line.split()
    }
    ignored = (ROOT / ".dockerignore").read_text()
    assert set(re.findall(r"^!(.*)$", ignored, re.M)) == copied
    assert "\n*\n" in ignored


@pytest.mark.parametrize(
    ("tag", "code", "words"),
    [
        ("v1.2.0", 0, "- speech"),
        ("v1.1.0", 1, "pyproject.toml says version 1.2.0"),
        ("v1.2.0", 1, "has no section"),
    ],
)
def test_release_notes_come_from_the_changelog(
    tmp_path: Path, tag: str, code: int, words: str
) -> None:
    """The notes are the version's section; a tag that is not the version fails."""
    (tmp_path / ".github").mkdir()
    script = tmp_path / ".github/release-notes"
    script.write_text((ROOT / ".github/release-notes").read_text())
    script.chmod(0o755)
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "1.2.0"\n')
    text = CHANGELOG.replace("## 1.2.0", "## 1.3.0") if "section" in words else CHANGELOG
    (tmp_path / "CHANGELOG.md").write_text(text)
    done = subprocess.run([script, tag], capture_output=True, text=True)
    assert done.returncode == code, done
    assert words in done.stdout + done.stderr
    assert "later" not in done.stdout
    assert "silence" not in done.stdout
