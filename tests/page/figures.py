"""What a server tells of itself at /metrics."""

import re
import time
import urllib.request

from tests.fakes.http_worker import HttpWorker
from tests.page.patience import PATIENCE_MS

CANCELLED = 'higgs_requests_total{kind="http",outcome="cancelled"}'
RUNNING = "higgs_requests_running"
WAITING = "higgs_sequences_waiting"


def figure(server: HttpWorker, name: str) -> float:
    """Return a figure; 0 before there is one."""
    with urllib.request.urlopen(f"{server.url}/metrics", timeout=10) as reply:
        found = re.search(rf"^{re.escape(name)} (\S+)", reply.read().decode(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def seconds_until(server: HttpWorker, **figures: float) -> float:
    """Return how long it takes until figures, by their names here, have these values."""
    begun = time.monotonic()
    names = {"cancelled": CANCELLED, "running": RUNNING, "waiting": WAITING}
    while any(figure(server, names[each]) != value for each, value in figures.items()):
        assert time.monotonic() < begun + PATIENCE_MS / 1000, figures
        time.sleep(0.01)
    return time.monotonic() - begun
