"""Imports: an invalid job is answered without loading what only speech needs."""

import subprocess
import sys

SCRIPT = """
import asyncio
import sys

import handler
from tests.fakes.speeches import runner


class UnreachedService:
    async def start(self, request, *args, **how):
        raise AssertionError("an invalid job must not get here")


runner = runner(UnreachedService())
print(asyncio.run(runner.run({"id": "1", "input": {}}))["code"])
heavy = {"torch", "transformers", "runpod", "boto3", "huggingface_hub", "soundfile"}
heavy |= {"prometheus_client", "fastapi", "starlette", "uvicorn", "websockets"}
print(*sorted(heavy & set(sys.modules)))
"""


def test_an_invalid_job_needs_nothing_heavy() -> None:
    """A fresh interpreter answers it with neither torch nor an SDK nor a server in memory."""
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout.splitlines() == ["invalid_request", ""], done.stderr
