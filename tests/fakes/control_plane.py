"""A stand-in for RunPod's control plane, over HTTP on loopback.

To a worker it is what the SDK expects: polls that are held, results, pieces, pings, and limits that
are enforced by refusing what is too large. To a client it is an endpoint's `/run`, `/runsync`,
`/status`, `/stream` and `/cancel`. Every route can be told to misbehave. What it knows was observed
of SDK 1.12 and of the platform's public behaviour; it knows no worker of ours.
"""

import asyncio
import json
import threading
import time
import urllib.request
import uuid
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

MAX_RUN_BYTES, MAX_SYNC_BYTES, MAX_PIECE_BYTES = 10_000_000, 20_000_000, 1_000_000
RESET = "reset"
"""A fault: the connection is cut instead of answered."""
API_KEY = "rpa_THE-KEY-OF-THE-PLATFORM"
ROUTE_KEY = "THE-KEY-IN-ITS-ADDRESSES"

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMED_OUT")


@dataclass(frozen=True)
class Slow:
    """A fault: the answer comes late."""

    seconds: float


@dataclass(frozen=True)
class Instead:
    """A fault: this is the answer."""

    body: bytes
    content_type: str = "application/json"


@dataclass(frozen=True)
class Beside:
    """A fault: more than the jobs stands in the answer."""

    elements: bytes = b"null"
    """What else, in JSON."""
    times: int = 1
    """How often each job."""


_BESIDE = web.RequestKey("beside", Beside)


@dataclass(frozen=True)
class Raw:
    """An input that is JSON already."""

    text: str


@dataclass
class Job:
    """One job, as the platform knows it."""

    id: str
    text: str
    """What workers get, in JSON."""
    status: str = "IN_QUEUE"
    output: Any = None
    error: Any = None
    worker: str = ""
    stop_pod: bool = False
    num_results: int = 0
    reports: list[Any] = field(default_factory=list)
    pieces: list[Any] = field(default_factory=list)
    num_pieces_read: int = 0
    arrived: float = field(default_factory=time.monotonic)
    taken: float = 0.0
    """When it was handed out, on `time.monotonic`."""
    ended: float = 0.0

    def public(self) -> dict[str, Any]:
        """Return what `/status` says."""
        shown: dict[str, Any] = {"id": self.id, "status": self.status}
        if self.output is not None:
            shown["output"] = self.output
        if self.error is not None:
            shown["error"] = self.error
        return shown


class ControlPlane:
    """The platform, for one endpoint; a context manager.

    Its methods are safe in any thread; the server has a thread of its own.
    """

    def __init__(self, hold_s: float = 1.0) -> None:
        self.hold_s = hold_s
        """How long a poll is held when there is nothing to say."""
        self.jobs: dict[str, Job] = {}
        self.requests: list[tuple[str, str]] = []
        """Route and address with its query, in order of arrival."""
        self.bodies: list[bytes] = []
        """Whatever workers posted."""
        self.pings: list[dict[str, str]] = []
        self.auth: set[str] = set()
        self._queue: deque[Job] = deque()
        self._stops: dict[str, list[str]] = defaultdict(list)
        self._faults: dict[str, deque[Any]] = defaultdict(deque)
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Condition()
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "ControlPlane":
        self._thread.start()
        assert self._is_up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def worker_environment(self, worker: str = "w0") -> dict[str, str]:
        """Return what the platform tells a worker."""
        base = f"{self.url}/v2/ep0"
        query = f"gpu=FAKE&key={ROUTE_KEY}"
        return {
            "RUNPOD_WEBHOOK_GET_JOB": f"{base}/job-take/$ID?{query}",
            "RUNPOD_WEBHOOK_POST_OUTPUT": f"{base}/job-done/$RUNPOD_POD_ID/$ID?{query}",
            "RUNPOD_WEBHOOK_POST_STREAM": f"{base}/job-stream/$RUNPOD_POD_ID/$ID?{query}",
            "RUNPOD_WEBHOOK_PING": f"{base}/ping/$RUNPOD_POD_ID?{query}",
            "RUNPOD_PING_INTERVAL": "1000",
            "RUNPOD_POD_ID": worker,
            "RUNPOD_AI_API_KEY": API_KEY,
            "RUNPOD_ENDPOINT_ID": "ep0",
            # They would look for a GPU, and for a host on the internet.
            "RUNPOD_SKIP_AUTO_SYSTEM_CHECKS": "true",
            "RUNPOD_SKIP_GPU_CHECK": "true",
        }

    def fail(self, route: str, *faults: "int | str | Slow | Instead | Beside") -> None:
        """Let the next requests of a route (`take`, `done`, …) fail.

        Args:
            route: which.
            faults: a status, RESET, or one of the classes above.
        """
        self._faults[route].extend(faults)

    def run(self, job_input: Any, *, sync: bool = False, **siblings: Any) -> Job:
        """Put a job into the queue."""
        job = _job({"input": job_input, "webhook": None, **siblings}, "sync-" if sync else "")
        self._do(self._enqueue([job]))
        return job

    def run_all(self, inputs: Iterable[Any]) -> list[Job]:
        """Put many jobs into the queue at one moment."""
        jobs = [_job({"input": each}) for each in inputs]
        self._do(self._enqueue(jobs))
        return jobs

    def hand_out(self, *jobs: Job) -> None:
        """Put jobs of any content into the queue, also such as were there before."""
        self._do(self._enqueue(list(jobs)))

    def cancel(self, job: Job, status: str = "CANCELLED") -> None:
        """Cancel a job, or say that its time is over."""
        self._do(self._cancel(job, status))

    def wait(self, job: Job, timeout_s: float = 60.0) -> Job:
        """Wait until a job has ended."""
        return self.wait_until(lambda: job.status in FINAL and bool(job.ended), timeout_s) and job

    def wait_until(self, reached: Callable[[], bool], timeout_s: float = 60.0) -> Any:
        """Wait until something holds; fails when it does not within the time."""

        async def wait() -> None:
            async with self._changed, asyncio.timeout(timeout_s):
                await self._changed.wait_for(reached)

        self._do(wait())
        return True

    def call(self, path: str, body: Any = None, method: str = "") -> dict[str, Any]:
        """Do what a client does: GET or POST an endpoint's route."""
        request = urllib.request.Request(
            f"{self.url}/v2/ep0/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
            method=method or ("GET" if body is None else "POST"),
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return dict(json.load(answer))

    def num_requests(self, route: str) -> int:
        """Count the requests of a route so far."""
        return sum(name == route for name, _ in self.requests)

    # From here on, the server's thread.

    def _do(self, work: Awaitable[Any]) -> Any:
        async def run() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._is_up.set()
        self._loop.run_forever()
        self._loop.run_until_complete(self._runner.cleanup())

    async def _start(self) -> None:
        app = web.Application(client_max_size=1 << 28)
        routes = {
            "take": ("GET", "/job-take/{worker}", self._take),
            "take-batch": ("GET", "/job-take-batch/{worker}", self._take_batch),
            "stop": ("GET", "/job-stop/{worker}", self._stop),
            "done": ("POST", "/job-done/{worker}/{job}", self._done),
            "stream": ("POST", "/job-stream/{worker}/{job}", self._piece),
            "ping": ("GET", "/ping/{worker}", self._ping),
            "client-run": ("POST", "/run", self._client_run),
            "client-runsync": ("POST", "/runsync", self._client_runsync),
            "client-status": ("GET", "/status/{job}", self._client_status),
            "client-stream": ("GET", "/stream/{job}", self._client_stream),
            "client-cancel": ("POST", "/cancel/{job}", self._client_cancel),
        }
        for name, (method, path, handler) in routes.items():
            app.router.add_route(method, f"/v2/ep0{path}", self._faulty(name, handler))
        # The platform notices when a worker hangs up; nothing is handed to who is gone.
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _faulty(self, name: str, handler: Callable[..., Awaitable[web.Response]]) -> Any:
        async def handle(request: web.Request) -> web.Response:
            self.requests.append((name, request.path_qs))
            if not name.startswith("client"):
                self.auth.add(request.headers.get("Authorization", ""))
            fault = self._faults[name].popleft() if self._faults[name] else None
            if isinstance(fault, Slow):
                await asyncio.sleep(fault.seconds)
            elif isinstance(fault, Instead):
                return web.Response(body=fault.body, content_type=fault.content_type)
            elif isinstance(fault, Beside):
                request[_BESIDE] = fault
            elif fault == RESET:
                await request.read()
                assert request.transport is not None
                request.transport.abort()
                return web.Response()
            elif fault is not None:
                await request.read()
                return web.Response(status=fault)
            answer = await handler(request)
            async with self._changed:
                self._changed.notify_all()
            return answer

        return handle

    async def _enqueue(self, jobs: list[Job]) -> None:
        async with self._changed:
            for job in jobs:
                self.jobs[job.id] = job
                self._queue.append(job)
            self._changed.notify_all()

    async def _cancel(self, job: Job, status: str) -> None:
        async with self._changed:
            if job in self._queue:
                self._queue.remove(job)
            elif job.status not in FINAL:
                self._stops[job.worker].append(job.id)
            if job.status not in FINAL:
                job.status, job.ended = status, time.monotonic()
            self._changed.notify_all()

    async def _held(self, reached: Callable[[], Any]) -> bool:
        async with self._changed:
            try:
                async with asyncio.timeout(self.hold_s):
                    await self._changed.wait_for(reached)
            except TimeoutError:
                return False
            return True

    async def _hand_out(self, request: web.Request, limit: int) -> list[str]:
        """Wait for jobs and give them to a worker."""
        taken = []
        if await self._held(lambda: self._queue):
            while self._queue and len(taken) < limit:
                job = self._queue.popleft()
                job.status, job.worker = "IN_PROGRESS", request.match_info["worker"]
                job.taken = time.monotonic()
                taken.append(job.text)
        return taken

    async def _take(self, request: web.Request) -> web.Response:
        assert request.query["job_in_progress"] in ("0", "1")
        jobs = await self._hand_out(request, 1)
        return _json(jobs[0]) if jobs else web.Response(status=204)

    async def _take_batch(self, request: web.Request) -> web.Response:
        jobs = await self._hand_out(request, int(request.query["batch_size"]))
        if beside := request.get(_BESIDE):
            shown = [each.encode() for each in jobs] * beside.times
            listed = b"[%b]" % b",".join((beside.elements, *shown))
            return web.Response(body=listed, content_type="application/json")
        return _json(f"[{','.join(jobs)}]") if jobs else web.Response(status=204)

    async def _stop(self, request: web.Request) -> web.Response:
        stops = self._stops[request.match_info["worker"]]
        if not await self._held(lambda: stops):
            return web.Response(status=204)
        answer = web.json_response({"jobsToStop": list(stops)})
        stops.clear()
        return answer

    async def _done(self, request: web.Request) -> web.Response:
        body = await request.read()
        job = self.jobs[request.match_info["job"]]
        self.bodies.append(body)
        try:
            posted = json.loads(body.decode("utf-8"), parse_constant=_refuse)
        except ValueError:
            return web.Response(status=400)
        if posted.get("status") == "IN_PROGRESS":
            job.reports.append(posted["output"])
            # As the real one does: a report that comes late sets a finished job back.
            job.status, job.output = "IN_PROGRESS", posted["output"]
            return web.Response()
        if job.status in ("CANCELLED", "TIMED_OUT"):
            job.num_results += 1
            return web.Response()
        too_large = len(body) > (MAX_SYNC_BYTES if job.id.startswith("sync-") else MAX_RUN_BYTES)
        if not too_large:
            job.output, job.error = posted.get("output"), posted.get("error")
        job.num_results += 1
        job.stop_pod = bool(posted.get("stopPod"))
        # As the real one does: what was too large is gone, and the job counts as completed.
        job.status = "FAILED" if job.error is not None else "COMPLETED"
        job.ended = time.monotonic()
        return web.Response(status=400 if too_large else 200)

    async def _piece(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        if len(body) > MAX_PIECE_BYTES:
            return web.Response(status=400)
        posted = json.loads(body.decode("utf-8"), parse_constant=_refuse)
        self.jobs[request.match_info["job"]].pieces.append(posted["output"])
        return web.Response()

    async def _ping(self, request: web.Request) -> web.Response:
        self.pings.append(dict(request.query))
        return web.Response()

    async def _client_run(self, request: web.Request) -> web.Response:
        return web.json_response((await self._accept(request, "")).public())

    async def _client_runsync(self, request: web.Request) -> web.Response:
        job = await self._accept(request, "sync-")
        async with self._changed:
            await self._changed.wait_for(lambda: job.status in FINAL)
        return web.json_response(job.public())

    async def _accept(self, request: web.Request, prefix: str) -> Job:
        body = json.loads(await request.text())
        job = _job(body, prefix)
        await self._enqueue([job])
        if limit_ms := body.get("policy", {}).get("executionTimeout"):
            asyncio.get_running_loop().create_task(self._expire(job, limit_ms / 1000))
        return job

    async def _expire(self, job: Job, limit_s: float) -> None:
        async with self._changed:
            await self._changed.wait_for(lambda: job.taken)
        await asyncio.sleep(limit_s)
        await self._cancel(job, "TIMED_OUT")

    async def _client_status(self, request: web.Request) -> web.Response:
        return web.json_response(self.jobs[request.match_info["job"]].public())

    async def _client_stream(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["job"]]
        async with self._changed:
            await self._changed.wait_for(
                lambda: job.status in FINAL or len(job.pieces) > job.num_pieces_read
            )
        new, job.num_pieces_read = job.pieces[job.num_pieces_read :], len(job.pieces)
        return web.json_response({"status": job.status, "stream": [{"output": x} for x in new]})

    async def _client_cancel(self, request: web.Request) -> web.Response:
        job = self.jobs[request.match_info["job"]]
        await self._cancel(job, "CANCELLED")
        return web.json_response(job.public())


def _job(body: dict[str, Any], prefix: str = "") -> Job:
    job_id = f"{prefix}{uuid.uuid4()}-u1"
    members = {"id": job_id, **body}.items()
    shown = (v.text if isinstance(v, Raw) else json.dumps(v) for _, v in members)
    named = (f"{json.dumps(k)}:{v}" for (k, _), v in zip(members, shown, strict=True))
    return Job(job_id, f"{{{','.join(named)}}}")


def _json(text: str) -> web.Response:
    return web.Response(text=text, content_type="application/json")


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
