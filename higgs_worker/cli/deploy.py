"""`higgs-worker deploy`: create or update the endpoint on RunPod, and try it."""

import argparse
import json
from pathlib import Path
from typing import Any

from higgs_worker.cli.bar import progress_bar
from higgs_worker.deploy.body import LOAD_BALANCER, QUEUE, DeployOptions, read_body
from higgs_worker.deploy.endpoint import Volume, deploy
from higgs_worker.deploy.first_audio import FirstAudio
from higgs_worker.errors import InvalidDeployment
from higgs_worker.settings import Settings

FILE = Path("runpod-serverless-config.json")
TYPES = {"queue": QUEUE, "load-balancer": LOAD_BALANCER}


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    parser = commands.add_parser("deploy", help="create or update the endpoint on RunPod")
    parser.add_argument(
        "--config", type=Path, default=FILE, help=f"the file that describes the endpoint ({FILE})"
    )
    parser.add_argument(
        "--type",
        choices=TYPES,
        help="whether RunPod queues jobs or passes HTTP on to the workers; the file's (queue)",
    )
    parser.add_argument("--image", help="the container image, instead of the file's")
    parser.add_argument("--name", help="the endpoint's name, instead of the file's")
    parser.add_argument(
        "--gpu", action="append", default=[], metavar="POOL", help="a pool of GPUs; may be repeated"
    )
    parser.add_argument(
        "--env",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a variable of the worker; may be repeated",
    )
    parser.add_argument("--volume", metavar="NAME", help="network volume for weights and voices")
    parser.add_argument(
        "--data-center", metavar="ID", help="where to create the volume if there is none"
    )
    parser.add_argument(
        "--timeout-s", type=float, default=1800, help="how long to wait for the first audio (1800)"
    )
    parser.add_argument("--no-job", action="store_true", help="do not try the endpoint")
    parser.add_argument("--dry-run", action="store_true", help="print the request, send nothing")
    for server in ("management", "jobs", "workers"):  # for tests: the addresses of a stand-in
        parser.add_argument(f"--{server}-url", help=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Deploy the endpoint and return its address, and the duration of its first audio.

    Raises:
        WorkerError: it is not possible, or the first audio did not come; nothing is ever deleted.
    """
    from higgs_worker.deploy.api import JOBS, MANAGEMENT, WORKERS, RunPodAPI

    volume = Volume(options.volume, options.data_center) if options.volume else None
    chosen = DeployOptions(
        image=options.image,
        name=options.name,
        kind=TYPES.get(options.type),
        pools=tuple(options.gpu),
        env=_parse_variables(options.env),
    )
    body = read_body(options.config, chosen)
    management, jobs = options.management_url or MANAGEMENT, options.jobs_url or JOBS
    workers = options.workers_url or WORKERS
    if options.dry_run:
        shown = body | {"env": {name: _mask(name, value) for name, value in body["env"].items()}}
        if volume is not None:
            shown["networkVolumes"] = [f"<the id of {volume.name}>"]
        return {"request": f"POST {management}/serverless\n{json.dumps(shown, indent=2)}"}
    if settings.runpod_api_key is None:
        raise InvalidDeployment(
            "RUNPOD_API_KEY is not set; make a key in RunPod's console under Settings, API Keys"
        )
    is_http = body["type"] == LOAD_BALANCER
    with RunPodAPI(
        settings.runpod_api_key, management=management, jobs=jobs, workers=workers
    ) as api:
        deployed = deploy(api, body, volume)
        base = workers.format(deployed.endpoint) if is_http else f"{jobs}/{deployed.endpoint}"
        outcome: dict[str, Any] = {
            "endpoint": deployed.endpoint,
            "state": deployed.sentence,
            "url": f"{base}/v1" if is_http else f"{base}/runsync",
        }
        if not options.no_job:
            with progress_bar("first audio") as show:
                first = FirstAudio(api, deployed.endpoint, options.timeout_s, show)
                duration_s = first.by_request() if is_http else first.by_job()
            outcome["first_audio"] = f"{duration_s:.2f} s"
    if is_http:
        words = """-o hello.mp3 -d '{"model": "higgs", "input": "Hello.", "voice": "clara"}'"""
        outcome["example"] = _example(f"{base}/v1/audio/speech", words)
    else:
        outcome["example"] = _example(outcome["url"], """-d '{"input": {"text": "Hello."}}'""")
    return outcome


def _example(url: str, words: str) -> str:
    """Return a command that calls the endpoint."""
    return (
        f'curl {url} -H "Authorization: Bearer $RUNPOD_API_KEY" '
        f'-H "Content-Type: application/json" {words}'
    )


def _parse_variables(pairs: list[str]) -> dict[str, str]:
    parsed = {}
    for each in pairs:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise InvalidDeployment(f"--env takes NAME=VALUE, not {name!r} alone")
        parsed[name] = value
    return parsed


def _mask(name: str, value: str) -> str:
    """Hide what may be a secret; a reference to one of RunPod's secrets may be shown."""
    is_secret = any(word in name for word in ("KEY", "SECRET", "TOKEN", "PASSWORD"))
    return "***" if is_secret and not value.startswith("{{ RUNPOD_SECRET_") else value
