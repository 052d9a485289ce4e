"""Routes that tell how the worker is: for RunPod's load balancer, for Kubernetes, for people."""

import asyncio

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from higgs_worker.http import openapi
from higgs_worker.http.readiness import Readiness, State
from higgs_worker.metrics.exposition import Exposition
from higgs_worker.metrics.worker_metrics import WorkerMetrics


def metrics_router(metrics: WorkerMetrics) -> APIRouter:
    """Return the route of Prometheus."""
    router = APIRouter(tags=["health"])
    exposition = Exposition(metrics)

    @router.get("/metrics", **openapi.metrics())
    async def tell_metrics() -> Response:
        """Return the figures of this worker as Prometheus reads them."""
        text, content_type = await asyncio.to_thread(exposition.text)
        return Response(text, headers={"content-type": content_type})

    return router


def health_router(readiness: Readiness) -> APIRouter:
    """Return the routes about the worker's state."""
    router = APIRouter(tags=["health"])

    def tell(status: int) -> Response:
        told = {"status": readiness.state.value, "reason": readiness.reason}
        return Response(status_code=204) if status == 204 else JSONResponse(told, status)

    @router.head("/ping", include_in_schema=False)
    @router.get("/ping", **openapi.ping())
    async def ping() -> Response:
        """Tell RunPod's load balancer: 204 while loading, 200 when ready, 503 otherwise."""
        return tell({State.LOADING: 204, State.READY: 200}.get(readiness.state, 503))

    @router.head("/health/live", include_in_schema=False)
    @router.get("/health/live", **openapi.live())
    async def live() -> Response:
        """Tell whether the process should go on: 503 only where it will not speak again."""
        return tell(503 if readiness.is_lost else 200)

    @router.head("/health/ready", include_in_schema=False)
    @router.get("/health/ready", **openapi.ready())
    async def ready() -> Response:
        """Tell whether requests may be sent here."""
        return tell(200 if readiness.state is State.READY else 503)

    return router
