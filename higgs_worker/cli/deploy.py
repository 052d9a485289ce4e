"""`higgs-worker deploy`: make or change the endpoint on RunPod, and speak a sentence there."""

import argparse
import json
from pathlib import Path
from typing import Any

from higgs_worker.cli.bar import Bar
from higgs_worker.settings import Settings

FILE = Path("runpod-serverless-config.json")


def add_to(commands: Any) -> None:
    """Add the command to a parser."""
    deploy = commands.add_parser("deploy", help="make or change the endpoint on RunPod")
    deploy.add_argument("--config", type=Path, default=FILE, help=f"the endpoint ({FILE})")
    deploy.add_argument("--image", help="the container image, instead of the file's")
    deploy.add_argument("--name", help="the endpoint's name, instead of the file's")
    deploy.add_argument(
        "--gpu", action="append", default=[], metavar="POOL", help="a pool of GPUs, again for more"
    )
    deploy.add_argument(
        "--env", action="append", default=[], metavar="NAME=VALUE", help="a variable of the worker"
    )
    deploy.add_argument("--volume", metavar="NAME", help="network volume for weights and voices")
    deploy.add_argument("--data-center", metavar="ID", help="where to make it if there is none")
    deploy.add_argument("--timeout-s", type=float, default=1800, help="for the first job (1800)")
    deploy.add_argument("--no-job", action="store_true", help="do not speak a first sentence")
    deploy.add_argument("--dry-run", action="store_true", help="print the request, send nothing")
    for server in ("management", "jobs"):  # a stand-in's
        deploy.add_argument(f"--{server}-url", help=argparse.SUPPRESS)
    deploy.set_defaults(run=run)


def run(options: argparse.Namespace, settings: Settings) -> dict[str, Any]:
    """Deploy.

    Raises:
        WorkerError: it cannot be done; nothing that exists was taken away.
    """
    from higgs_worker.deploy import endpoint as deploy
    from higgs_worker.deploy.api import JOBS, MANAGEMENT, RunPodAPI
    from higgs_worker.errors import InvalidDeployment

    volume = deploy.Volume(options.volume, options.data_center) if options.volume else None
    wanted = deploy.Wanted(
        image=options.image,
        name=options.name,
        pools=tuple(options.gpu),
        env=_variables(options.env),
    )
    body = deploy.body_of(options.config, wanted)
    management, jobs = options.management_url or MANAGEMENT, options.jobs_url or JOBS
    if options.dry_run:
        shown = body | {"env": {name: _masked(name, value) for name, value in body["env"].items()}}
        if volume is not None:
            shown["networkVolumes"] = [f"<the id of {volume.name}>"]
        return {"request": f"POST {management}/serverless\n{json.dumps(shown, indent=2)}"}
    if settings.runpod_api_key is None:
        raise InvalidDeployment(
            "RUNPOD_API_KEY is not set; make a key in RunPod's console under Settings, API Keys"
        )
    with RunPodAPI(settings.runpod_api_key, management=management, jobs=jobs) as api:
        done = deploy.apply(api, body, volume)
        outcome: dict[str, Any] = {
            "endpoint": done.endpoint,
            "state": done.sentence,
            "url": f"{jobs}/{done.endpoint}/runsync",
        }
        if not options.no_job:
            with Bar("first job") as bar:
                output = deploy.first_job(
                    api, done.endpoint, timeout_s=options.timeout_s, on_progress=bar.show
                )
            outcome["first_job"] = f"{output.get('audio', {}).get('duration_s')} s of audio"
    outcome["example"] = (
        f'curl {outcome["url"]} -H "Authorization: Bearer $RUNPOD_API_KEY" '
        """-H "Content-Type: application/json" -d '{"input": {"text": "Hello."}}'"""
    )
    return outcome


def _variables(given: list[str]) -> dict[str, str]:
    from higgs_worker.errors import InvalidDeployment

    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals or not name:
            raise InvalidDeployment(f"--env takes NAME=VALUE, not {name!r} alone")
        found[name] = value
    return found


def _masked(name: str, value: str) -> str:
    """Hide what may be a secret; a reference to one that RunPod keeps is none."""
    is_secret = any(word in name for word in ("KEY", "SECRET", "TOKEN", "PASSWORD"))
    return "***" if is_secret and not value.startswith("{{ RUNPOD_SECRET_") else value
