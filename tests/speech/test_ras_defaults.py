"""Repetition is avoided as the model says, unless the request says otherwise."""

import json
from pathlib import Path

import pytest

from higgs_worker.errors import InvalidCheckpoint
from higgs_worker.speech.ras_defaults import FILE, RasDefaults
from tests.fakes.odd_files import ODD_FILES, in_time, put

PUBLISHED = {"bos_token_id": 1, "ras_win_len": 7, "ras_win_max_num_repeat": 2}


@pytest.mark.parametrize(
    ("written", "read"),
    [
        (PUBLISHED, (7, 2)),
        ({"ras_win_len": 64, "ras_win_max_num_repeat": 5, "temperature": 0.1}, (64, 5)),
        ({"ras_win_len": 0}, (0, 2)),
        ({"ras_win_len": None, "ras_win_max_num_repeat": 2}, (0, 2)),
        ({"ras_win_max_num_repeat": None}, (0, 2)),
        ({}, (7, 2)),
        (None, (7, 2)),
    ],
)
def test_what_the_file_says(
    tmp_path: Path, written: dict[str, object] | None, read: tuple[int, int]
) -> None:
    """Numbers count, null is off, and what is absent is as published."""
    if written is not None:
        (tmp_path / FILE).write_text(json.dumps(written))
    assert RasDefaults.from_directory(tmp_path) == RasDefaults(*read)


@pytest.mark.parametrize("key", ["ras_win_len", "ras_win_max_num_repeat"])
@pytest.mark.parametrize("value", [-1, 65, 7.0, True, "7", [7], 10**400])
def test_odd_numbers_are_named(tmp_path: Path, key: str, value: object) -> None:
    """No default takes the place of a number that makes no sense."""
    (tmp_path / FILE).write_text(json.dumps({key: value}))
    with pytest.raises(InvalidCheckpoint, match=f"{FILE}: {key} is "):
        RasDefaults.from_directory(tmp_path)


@pytest.mark.parametrize("kind", sorted(ODD_FILES.keys() - {"absent"}))
def test_odd_files_are_refused(tmp_path: Path, kind: str) -> None:
    """A damaged file is not an absent one."""
    put(kind, tmp_path / FILE)
    with pytest.raises(InvalidCheckpoint, match=FILE):
        in_time(lambda: RasDefaults.from_directory(tmp_path))
