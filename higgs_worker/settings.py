"""What the environment says, read once and frozen.

This is the only reader of the environment. Each setting is one dataclass field whose metadata holds
its variable's name, meaning and allowed values, so that the documentation can be generated from
here and nowhere else. It knows no model, no device and no job: `auto` is resolved by those who do.
"""

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from higgs_worker.environment import (
    Address,
    Choice,
    Directory,
    Integer,
    Names,
    Secret,
    Switch,
    Text,
    Variable,
    VariableType,
    env_field,
    read_variables,
    variables_of,
)
from higgs_worker.errors import InvalidSettings
from higgs_worker.storage.config import S3_TABLES, S3Config
from higgs_worker.weights.locate import DEMO

PREFIX = "HIGGS_"

_VOLUME = Path("/runpod-volume")


def _env_field(
    name: str, kind: VariableType, meaning: str, prefix: str = PREFIX
) -> dict[str, Variable]:
    return env_field(prefix + name, kind, meaning)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything an operator can choose."""

    model: str = field(
        default="bosonai/higgs-audio-v2-generation-3B-base",
        metadata=_env_field(
            "MODEL",
            Text(),
            "The language model: a hub id, a local directory, or `demo` for the embedded model.",
        ),
    )
    model_revision: str | None = field(
        default=None,
        metadata=_env_field(
            "MODEL_REVISION",
            Text(200),
            "Commit, branch or tag of the language model; unset: the commit that the first worker "
            "found as `main` and recorded on the volume.",
        ),
    )
    codec: str = field(
        default="bosonai/higgs-audio-v2-tokenizer",
        metadata=_env_field(
            "CODEC",
            Text(),
            "The audio codec: a hub id, a local directory, or `demo`; when unset and the model is "
            "`demo`, it is `demo` too.",
        ),
    )
    codec_revision: str | None = field(
        default=None,
        metadata=_env_field(
            "CODEC_REVISION",
            Text(200),
            "Commit, branch or tag of the audio codec; unset: as for the model.",
        ),
    )
    hf_token: str | None = field(
        default=None,
        repr=False,
        metadata=_env_field(
            "TOKEN",
            Secret(),
            "Who asks the hub for weights; unset: nobody, which is enough for public ones.",
            "HF_",
        ),
    )
    runpod_api_key: str | None = field(
        default=None,
        repr=False,
        metadata=_env_field(
            "API_KEY", Secret(), "Who deploys: `higgs-worker deploy` alone needs it.", "RUNPOD_"
        ),
    )
    hf_endpoint: str = field(
        default="https://huggingface.co",
        metadata=_env_field("ENDPOINT", Address(), "The hub, or a mirror of it.", "HF_"),
    )
    hf_home: Path | None = field(
        default=None,
        metadata=_env_field(
            "HOME",
            Directory(),
            "Where Hugging Face's tools keep what they pull, under `hub`; weights that are there "
            "are used.",
            "HF_",
        ),
    )
    hf_hub_offline: bool = field(
        default=False,
        metadata=_env_field(
            "HUB_OFFLINE",
            Switch(),
            "Whether the hub is never asked, and weights that are not there are an error.",
            "HF_",
        ),
    )
    device: str = field(
        default="auto",
        metadata=_env_field(
            "DEVICE",
            Choice(("auto", "cpu", "cuda"), r"cuda:[0-9]{1,3}", "cuda:N"),
            "Where to compute; `auto` takes a GPU if there is one.",
        ),
    )
    dtype: str = field(
        default="auto",
        metadata=_env_field(
            "DTYPE",
            Choice(("auto", "float32", "bfloat16")),
            "Number format of the weights; `auto` takes what suits the device.",
        ),
    )
    max_slots: int | None = field(
        default=None,
        metadata=_env_field(
            "MAX_SLOTS",
            Integer(1, 256),
            "How many sequences are generated at the same time; unset: as many as the memory "
            "holds, up to 64.",
        ),
    )
    max_length: int = field(
        default=4096,
        metadata=_env_field(
            "MAX_LENGTH",
            Integer(512, 32768),
            "Positions a slot holds: text ids and audio frames (25 a second) together.",
        ),
    )
    volume: Path = field(
        default=_VOLUME,
        metadata=_env_field(
            "VOLUME",
            Directory(),
            "Where weights are kept, under `bosonai`, and voices, under `voices`; when unset and "
            "not mounted, the user's cache directory.",
        ),
    )
    max_reference_s: int = field(
        default=60,
        metadata=_env_field(
            "MAX_REFERENCE_S", Integer(1, 600), "Longest recording of a voice, in seconds."
        ),
    )
    max_reference_bytes: int = field(
        default=10_000_000,
        metadata=_env_field(
            "MAX_REFERENCE_BYTES",
            Integer(1000, 100_000_000),
            "Largest recording of a voice, in bytes.",
        ),
    )
    allowed_hosts: frozenset[str] = field(
        default=frozenset(),
        metadata=_env_field(
            "ALLOWED_HOSTS",
            Names(),
            "Hosts (`name` or `name:port`, separated by commas) that recordings may come from "
            "although they are not public.",
        ),
    )
    max_text_chars: int = field(
        default=20_000,
        metadata=_env_field(
            "MAX_TEXT_CHARS",
            Integer(1, 1_000_000),
            "Longest text a job may send, in characters.",
        ),
    )
    concurrency: int | None = field(
        default=None,
        metadata=_env_field(
            "CONCURRENCY",
            Integer(1, 256),
            "How many jobs the worker takes at the same time; unset: one more than HIGGS_MAX_SLOTS "
            "or, where that is unset too, 17.",
        ),
    )
    preload: str = field(
        default="auto",
        metadata=_env_field(
            "PRELOAD",
            Choice(("auto", "always", "never")),
            "When the model is loaded: `auto` at start if the weights are there, else with the "
            "first job; `always` at start, pulled if need be; `never` before the first job.",
        ),
    )
    started_at: int | None = field(
        default=None,
        metadata=_env_field(
            "STARTED_AT",
            Integer(0, 10**11),
            "When the container started, in seconds since 1970; `bootstrap.sh` sets it for the "
            "cold start's line in the log.",
        ),
    )
    queue_size: int = field(
        default=256,
        metadata=_env_field(
            "QUEUE_SIZE",
            Integer(1, 10_000),
            "How many sequences may wait for a slot; a request beyond that is refused.",
        ),
    )
    job_timeout_s: int | None = field(
        default=None,
        metadata=_env_field(
            "JOB_TIMEOUT_S",
            Integer(1, 86_400),
            "Seconds after which a job fails, counted from when the worker took it; unset: only "
            "the endpoint's own limit counts.",
        ),
    )
    grace_s: int = field(
        default=8,  # Docker kills ten seconds after it told to stop
        metadata=_env_field(
            "GRACE_S",
            Integer(0, 3600),
            "Seconds that running jobs get to finish when the worker is told to stop; those that "
            "have not finished by then fail.",
        ),
    )
    stream: bool = field(
        default=False,
        metadata=_env_field(
            "STREAM",
            Switch(),
            "Whether every job's audio is streamed while it is spoken, in pieces, for `/stream`; "
            "each result is then a list of pieces.",
        ),
    )
    save_dir: Path | None = field(
        default=None,
        metadata=_env_field(
            "SAVE_DIR",
            Directory(),
            "Directory into which each result's audio is also written, for local runs; unset: "
            "nothing is written.",
        ),
    )
    log_level: str = field(
        default="INFO",
        metadata=_env_field(
            "LOG_LEVEL",
            Choice(("DEBUG", "INFO", "WARNING", "ERROR")),
            "The least severe log lines to print.",
        ),
    )
    s3: S3Config | None = None
    """Where results are uploaded to; see `storage.config`."""
    given: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """What was set, by variable, with secrets masked."""
    unknown_names: tuple[str, ...] = ()
    """Variables of our prefix that nothing reads: most likely misspelled."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read every setting; an empty variable counts as unset.

        Args:
            environ: the variables; None takes those of this process.

        Raises:
            InvalidSettings: at least one value is wrong; all wrong ones are named.
        """
        environ = os.environ if environ is None else environ
        ours = read_variables(cls, environ)
        values, problems = ours.values, ours.problems
        try:
            values["s3"] = S3Config.from_env(environ)
        except InvalidSettings as error:
            problems |= error.details["errors"]
        if problems:
            raise InvalidSettings(". ".join(problems.values()), details={"errors": problems})
        if values.get("model") == DEMO:
            values.setdefault("codec", DEMO)  # the real codec cannot decode the demo model's codes
        if "volume" not in values and not _VOLUME.is_dir():
            cache = Path(environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
            values["volume"] = cache / "higgs"
        values["given"] = dict(ours.given)
        for table in S3_TABLES:
            values["given"] |= read_variables(table, environ).given
        known = _known_names()
        unknown = sorted(name for name in environ if name.startswith(PREFIX) and name not in known)
        return cls(**values, unknown_names=tuple(unknown))


def variables() -> list[Variable]:
    """Return every environment variable that the worker reads."""
    return [each for table in (Settings, *S3_TABLES) for each in variables_of(table).values()]


def nearest_name(name: str) -> str | None:
    """Return the known variable that an unknown name most resembles, if any does."""
    # Every name shares the prefix; comparing what follows keeps it from counting as likeness.
    tails = [each.removeprefix(PREFIX) for each in _known_names()]
    near = difflib.get_close_matches(name.removeprefix(PREFIX), tails, n=1)
    return PREFIX + near[0] if near else None


def _known_names() -> list[str]:
    """Return the names that begin with our prefix and mean something."""
    return [each.name for each in variables() if each.name.startswith(PREFIX)]
