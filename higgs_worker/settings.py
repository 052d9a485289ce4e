"""The settings of a worker: environment variables, read once and frozen.

Nothing else of ours reads the environment; libraries do so by themselves. Each setting is one
dataclass field; its metadata holds the variable's name, meaning and allowed values, from which
docs/settings.md is generated. A value of `auto` is resolved where the model and the device are
known.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from higgs_worker.environment import (
    Address,
    Choice,
    Directory,
    ExpandedDirectory,
    ForeignSwitch,
    Integer,
    Names,
    Secret,
    Switch,
    Text,
    Variable,
    env_field,
    read_variables,
    variables_of,
)
from higgs_worker.errors import InvalidSettings
from higgs_worker.storage.config import S3Config
from higgs_worker.storage.variables import S3_TABLES, S3Variables
from higgs_worker.unused_variables import AWS, HUB, OWN, RUNPODS_BUCKET, unused
from higgs_worker.weights.locate import DEMO

_VOLUME = Path("/runpod-volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything that an operator can choose."""

    model: str = env_field(
        "HIGGS_MODEL",
        Text(),
        "The language model: a repository of the hub, a local directory, or `demo` for the "
        "embedded model.",
        default="bosonai/higgs-audio-v2-generation-3B-base",
    )
    model_revision: str | None = env_field(
        "HIGGS_MODEL_REVISION",
        Text(200),
        "Commit, branch or tag of the language model. Unset: the commit that was `main` when "
        "the first worker of the volume pulled it, or, if that is of no use, a newer one.",
        default=None,
    )
    codec: str = env_field(
        "HIGGS_CODEC",
        Text(),
        "The audio codec: a repository of the hub, a local directory, or `demo`. Unset while "
        "the model is `demo`: `demo`.",
        default="bosonai/higgs-audio-v2-tokenizer",
    )
    codec_revision: str | None = env_field(
        "HIGGS_CODEC_REVISION",
        Text(200),
        "Commit, branch or tag of the audio codec. Unset: as for the model.",
        default=None,
    )
    hf_token: str | None = env_field(
        "HF_TOKEN",
        Secret(),
        "The access token for the hub. Public weights need none.",
        "HUGGING_FACE_HUB_TOKEN",
        default=None,
    )
    runpod_api_key: str | None = env_field(
        "RUNPOD_API_KEY",
        Secret(),
        "The API key of a RunPod account. Only `higgs-worker deploy` needs it.",
        default=None,
    )
    hf_endpoint: str = env_field(
        "HF_ENDPOINT",
        Address(),
        "The address of the hub, or of a mirror.",
        default="https://huggingface.co",
    )
    hf_home: Path | None = env_field(
        "HF_HOME",
        ExpandedDirectory(),
        "The directory of Hugging Face's tools. Weights in its `hub` folder are used, not "
        "pulled again.",
        default=None,
    )
    hf_hub_cache: Path | None = env_field(
        "HF_HUB_CACHE",
        ExpandedDirectory(),
        "A cache of Hugging Face's tools, in place of the `hub` folder of HF_HOME.",
        "HUGGINGFACE_HUB_CACHE",
        default=None,
    )
    hf_hub_offline: bool = env_field(
        "HF_HUB_OFFLINE",
        ForeignSwitch(("1", "on", "yes", "true")),
        "Whether to use no network for weights; missing weights are then an error.",
        "TRANSFORMERS_OFFLINE",
        default=False,
    )
    verify: str = env_field(
        "HIGGS_VERIFY",
        Choice(("once", "always")),
        "When to check the bytes of weights. `once`: before their first use, and again after any "
        "change that the file system tells of; a bit that flips on the volume later is not "
        "noticed. `always`: at every start, which takes about as long as reading them.",
        default="once",
    )
    device: str = env_field(
        "HIGGS_DEVICE",
        Choice(("auto", "cpu", "cuda"), r"cuda:[0-9]{1,3}", "cuda:N"),
        "Where to compute; `auto` uses a GPU if there is one.",
        default="auto",
    )
    dtype: str = env_field(
        "HIGGS_DTYPE",
        Choice(("auto", "float32", "bfloat16", "int8")),
        "Number format of the weights; `auto` is bfloat16 on a GPU and float32 on a CPU. `int8`: "
        "the layers' matrices take 8 bits each, made from the same files, and all else is "
        "bfloat16; a little less exact, and half the memory.",
        default="auto",
    )
    kernels: str = env_field(
        "HIGGS_KERNELS",
        Choice(("auto", "torch", "triton")),
        "Whose kernels compute decode steps on a GPU. `auto`: at each start the worker compares "
        "both on its own card and weights, and takes the faster where they agree; where Triton's "
        "cannot be used, it says so in the log and takes torch's. `triton`: without a comparison, "
        "and not without them.",
        default="auto",
    )
    codec_precision: str = env_field(
        "HIGGS_CODEC_PRECISION",
        Choice(("exact", "tf32")),
        "How exactly a GPU turns codes into sound. `exact`: with all digits of float32. `tf32`: "
        "what is multiplied is rounded to 10 bits of mantissa, which is faster and, as far as "
        "measured, not heard. Voices and the language model are computed as before; a CPU is "
        "always exact.",
        default="exact",
    )
    max_slots: int | None = env_field(
        "HIGGS_MAX_SLOTS",
        Integer(1, 256),
        "How many sequences are generated at the same time. Unset: as many as the memory "
        "holds, up to 64, on a CPU 8.",
        default=None,
    )
    max_length: int = env_field(
        "HIGGS_MAX_LENGTH",
        Integer(512, 32768),
        "The positions of a slot: text tokens and audio frames (25 per second) together.",
        default=4096,
    )
    volume: Path = env_field(
        "HIGGS_VOLUME",
        Directory(),
        "The directory for weights (in `bosonai`), voices (in `voices`) and compiled kernels (in "
        "`kernels`). Unset, and nothing mounted at the default: the user's cache directory.",
        default=_VOLUME,
    )
    max_reference_s: int = env_field(
        "HIGGS_MAX_REFERENCE_S",
        Integer(1, 600),
        "The longest recording of a voice, in seconds.",
        default=60,
    )
    max_reference_bytes: int = env_field(
        "HIGGS_MAX_REFERENCE_BYTES",
        Integer(1000, 100_000_000),
        "The largest recording of a voice, in bytes.",
        default=10_000_000,
    )
    allowed_hosts: frozenset[str] = env_field(
        "HIGGS_ALLOWED_HOSTS",
        Names(),
        "Hosts (`name` or `name:port`, separated by commas) that recordings may be downloaded "
        "from although they are not public.",
        default=frozenset(),
    )
    max_text_chars: int = env_field(
        "HIGGS_MAX_TEXT_CHARS",
        Integer(1, 1_000_000),
        "The longest text of a job, in characters.",
        default=20_000,
    )
    concurrency: int | None = env_field(
        "HIGGS_CONCURRENCY",
        Integer(1, 256),
        "How many jobs the worker takes at the same time. Unset: one more than "
        "HIGGS_MAX_SLOTS, or 17 where that is unset too.",
        default=None,
    )
    preload: str = env_field(
        "HIGGS_PRELOAD",
        Choice(("auto", "always", "never")),
        "When to load the model. `auto`: at start if the weights are on the volume, otherwise "
        "with the first job. `always`: at start, after pulling. `never`: with the first job.",
        default="auto",
    )
    started_at: int | None = env_field(
        "HIGGS_STARTED_AT",
        Integer(0, 10**11),
        "When the container started, in seconds since 1970. `bootstrap.sh` sets it, for the "
        "log line about the cold start.",
        default=None,
    )
    early_ping: int | None = env_field(
        "HIGGS_EARLY_PING",
        Integer(3, 1_000_000),
        "The descriptor over which the HTTP server receives the port that has been answering "
        "until then. `bootstrap.sh` sets it.",
        default=None,
    )
    queue_size: int = env_field(
        "HIGGS_QUEUE_SIZE",
        Integer(1, 10_000),
        "How many sequences may wait for a slot; further requests are refused.",
        default=256,
    )
    job_timeout_s: int | None = env_field(
        "HIGGS_JOB_TIMEOUT_S",
        Integer(1, 86_400),
        "Seconds after which a job fails, counted from when the worker takes it. Unset: only "
        "the endpoint's own limit counts.",
        default=None,
    )
    grace_s: int = env_field(
        "HIGGS_GRACE_S",
        Integer(0, 3600),
        "Seconds that running jobs get to finish when the worker is told to stop; after that "
        "they fail.",
        default=8,  # Docker kills ten seconds after SIGTERM
    )
    stream: bool = env_field(
        "HIGGS_STREAM",
        Switch(),
        "Whether every job streams its audio in pieces while it is generated, for `/stream`; "
        "each result is then a list of pieces.",
        default=False,
    )
    serve: str = env_field(
        "HIGGS_SERVE",
        Choice(("jobs", "http")),
        "What `bootstrap.sh` starts. `jobs`: RunPod's loop of jobs. `http`: the HTTP server, for "
        "RunPod's load-balancing endpoints and any other machine.",
        default="jobs",
    )
    host: str = env_field(
        "HIGGS_HOST",
        Text(200),
        "The address that the HTTP server listens on. `bootstrap.sh` sets 0.0.0.0, because a "
        "container has its own network.",
        default="127.0.0.1",
    )
    port: int = env_field("PORT", Integer(1, 65_535), "The port of the HTTP server.", default=80)
    health_port: int | None = env_field(
        "PORT_HEALTH",
        Integer(1, 65_535),
        "The port on which the HTTP server answers `/ping` and `/health/…`. Unset: PORT.",
        default=None,
    )
    api_key: str | None = env_field(
        "HIGGS_API_KEY",
        Secret(),
        "The key that HTTP requests must carry as `Authorization: Bearer …`. Unset: none is "
        "needed. RunPod's endpoints check RunPod's own key before a request arrives.",
        default=None,
    )
    cors_origins: frozenset[str] = env_field(
        "HIGGS_CORS_ORIGINS",
        Names(),
        "Origins of web pages that may use the HTTP server, such as `https://app.example`, "
        "separated by commas; `*`: all. Unset: only its own.",
        default=frozenset(),
    )
    max_body_bytes: int = env_field(
        "HIGGS_MAX_BODY_BYTES",
        Integer(1000, 1_000_000_000),
        "The largest body of an HTTP request, in bytes. RunPod passes on 30 MB.",
        default=30_000_000,
    )
    save_dir: Path | None = env_field(
        "HIGGS_SAVE_DIR",
        Directory(),
        "A directory that the audio of each result is also written to, for local runs. Unset: "
        "nothing is written.",
        default=None,
    )
    log_level: str = env_field(
        "HIGGS_LOG_LEVEL",
        Choice(("DEBUG", "INFO", "WARNING", "ERROR")),
        "The least severe level of log lines to print.",
        default="INFO",
    )
    runpod_log_level: str = env_field(
        "RUNPOD_LOG_LEVEL",
        Choice(("NOTSET", "TRACE", "DEBUG", "INFO", "WARN", "ERROR")),
        "The least severe level of the lines of RunPod's SDK to print; NOTSET: none. No line "
        "holds a job or a result.",
        "RUNPOD_DEBUG_LEVEL",
        default="INFO",
    )
    s3: S3Config | None = None
    """The bucket that results are uploaded to; None for no uploads."""
    given: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    """The variables that are set, with secrets masked."""
    warnings: tuple[str, ...] = ()
    """A sentence about each variable that is set and has no effect."""

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Read every setting; an empty variable counts as unset.

        Args:
            environ: the variables; None for those of this process.

        Raises:
            InvalidSettings: at least one value is wrong; the error names all wrong ones.
        """
        environ = os.environ if environ is None else environ
        ours = read_variables(cls, environ)
        values, problems = ours.values, ours.problems | _refused_by_the_hub(environ)
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
        s3 = S3Variables.read(environ)
        values["given"] = ours.given | s3.given
        families = [OWN, *HUB, RUNPODS_BUCKET]
        if s3.are_meant:  # otherwise AWS's names may be there for another program
            families.append(AWS)
        names = [name for name, value in environ.items() if value.strip()]
        known = [name for each in variables() for name in each.names]
        values["warnings"] = (*ours.warnings, *s3.warnings, *unused(names, known, *families))
        return cls(**values)


def variables() -> list[Variable]:
    """Return every environment variable that the worker reads."""
    return [each for table in (Settings, *S3_TABLES) for each in variables_of(table).values()]


def _refused_by_the_hub(environ: Mapping[str, str]) -> dict[str, str]:
    """Return what keeps huggingface_hub, which reads it by itself, from being imported."""
    return {
        name: f"{name} is no whole number, and huggingface_hub does not start with it; unset it"
        for name in ("HF_HUB_DOWNLOAD_TIMEOUT", "HF_HUB_ETAG_TIMEOUT")
        if not re.fullmatch(r"\s*[+-]?[0-9]+\s*", environ.get(name, "0"))
    }
