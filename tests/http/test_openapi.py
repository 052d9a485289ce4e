"""The OpenAPI document: what it promises is so."""

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest

from higgs_worker.voices.library import VoiceLibrary
from tests.fakes.http_server import HttpServer, serving_http
from tests.fakes.library import make_wav

SCHEMATHESIS = shutil.which("schemathesis")
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
)


def document(volume: Path) -> dict[str, Any]:
    """Return the document of a server."""

    async def get() -> dict[str, Any]:
        async with serving_http(volume) as server:
            reply: dict[str, Any] = (await server.client.get("/openapi.json")).json()
            return reply

    return asyncio.run(get())


def test_its_examples_are_good_requests(tmp_path: Path) -> None:
    """Each is accepted, but for the recording at an address that does not exist."""

    async def test(server: HttpServer) -> None:
        paths = (await server.client.get("/openapi.json")).json()["paths"]
        num_tried = 0
        for path in ("/v1/audio/speech", "/v1/speech"):
            content = paths[path]["post"]["requestBody"]["content"]["application/json"]
            for name, example in content["examples"].items():
                reply = await server.client.post(path, json=example["value"])
                assert reply.status_code == 200, (name, reply.text)
                num_tried += 1
        assert num_tried >= 7
        voices = "/v1/audio/voices"
        change = paths[f"{voices}/{{name}}"]["patch"]["requestBody"]["content"]
        for name, example in change["application/json"]["examples"].items():
            VoiceLibrary(tmp_path / "voices").add("anna", make_wav(24_000), "Hi.", replace=True)
            reply = await server.client.patch(f"{voices}/anna", json=example["value"])
            assert reply.status_code == 200, (name, reply.text)

    async def serve() -> None:
        async with serving_http(tmp_path) as server:
            await test(server)

    asyncio.run(serve())


def test_the_parameters_of_encode_are_good(tmp_path: Path) -> None:
    """Their examples, and every format of the list, at the lowest and the highest rate."""

    async def serve() -> None:
        async with serving_http(tmp_path) as server:
            paths = (await server.client.get("/openapi.json")).json()["paths"]
            told = paths["/v1/audio/encode"]["post"]
            examples = {each["name"]: each["example"] for each in told["parameters"]}
            schemas = {each["name"]: each["schema"] for each in told["parameters"]}
            rates = [schemas["sample_rate"][bound] for bound in ("minimum", "maximum")]
            formats = schemas["format"]["enum"]
            asks = [{"format": each, "sample_rate": rate} for each in formats for rate in rates]
            asks.append(examples)
            for ask in asks:
                reply = await server.client.post("/v1/audio/encode", params=ask, content=b"ab" * 50)
                assert reply.status_code == 200, ask
                assert reply.headers["content-type"] in told["responses"]["200"]["content"]
            assert len(asks) == 17

    asyncio.run(serve())


def test_every_route_tells_its_errors(tmp_path: Path) -> None:
    """With the envelope, wherever the gate may refuse."""
    for path, operations in document(tmp_path)["paths"].items():
        for method, told in operations.items():
            if path == "/ping" or path.startswith("/health"):
                continue
            refusals = {"400", "401", "403", "408", "413", "414", "429", "503"}
            assert refusals <= told["responses"].keys(), (method, path)


@pytest.mark.long
@pytest.mark.skipif(
    SCHEMATHESIS is None,
    reason="needs schemathesis: install it into an environment of its own, and put that into PATH",
)
def test_schemathesis_finds_no_fault(tmp_path: Path) -> None:
    """A thousand requests made from the document are answered as it says."""

    async def serve() -> None:
        assert SCHEMATHESIS is not None
        async with serving_http(tmp_path) as server:
            run = await asyncio.create_subprocess_exec(
                SCHEMATHESIS,
                "run",
                f"http://127.0.0.1:{server.port}/openapi.json",
                f"--checks={','.join(CHECKS)}",
                "--seed=1",
                "--max-examples=50",
                "--no-color",
                cwd=tmp_path,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            told, _ = await run.communicate()
            assert run.returncode == 0, told.decode()[-5000:]
            await server.until(num_running=0, num_body_bytes=0)

    asyncio.run(serve())
