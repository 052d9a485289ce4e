"""docs/grafana.json: it shows every figure, and nothing that does not exist."""

import asyncio
import json
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from higgs_worker.metrics.catalogue import CATALOGUE
from higgs_worker.metrics.exposition import Exposition
from higgs_worker.metrics.worker_metrics import CANCELLED
from tests.metrics.test_exposition import CountedEngine
from tests.metrics.test_worker_metrics import ScriptedWorker

DASHBOARD = json.loads(
    (Path(__file__).parents[2] / "docs" / "grafana.json").read_text(encoding="utf-8")
)
SCRAPE_LABELS = {"job", "instance"}
"""What Prometheus itself adds to every sample."""
FUNCTIONS = {"histogram_quantile", "max", "rate", "sum"}
SUFFIX = re.compile(r"_(bucket|sum|count)$")
SELECTOR = re.compile(r"\b([a-z_]+)\{([^}]*)\}(\[\$__rate_interval\])?")
MATCHER = re.compile(r'(\w+)(=~|!~|=|!=)"([^"]*)"')
GROUPING = re.compile(r"\bby \(([^)]*)\)")


def panels() -> list[dict[str, Any]]:
    """Return the panels, rows left out."""
    return [each for each in DASHBOARD["panels"] if each["type"] != "row"]


def expressions() -> list[str]:
    """Return the queries of all panels."""
    return [target["expr"] for each in panels() for target in each["targets"]]


@pytest.fixture(scope="module")
def exposed() -> dict[str, dict[str, set[str]]]:
    """The names of all samples of a worker that has done something, with labels and their values.

    Its model is scripted, and its engine has numbers of a GPU.
    """
    worker = ScriptedWorker.of()
    metrics = worker.metrics

    async def run() -> None:
        await worker.run()
        await worker.stream()

    metrics.cold_start.loaded()
    asyncio.run(run())
    metrics.watch(CountedEngine(), CountedEngine())
    metrics.requests.add("job", CANCELLED)
    metrics.retries.add("silent")
    metrics.record_codes(True)
    text, _ = Exposition(metrics).text()
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, defaultdict(set))
            for label, value in sample.labels.items():
                labels[label].add(value)
    return found


@pytest.mark.parametrize("query", expressions())
def test_a_query_uses_what_exists(query: str, exposed: dict[str, dict[str, set[str]]]) -> None:
    """Names of samples, their labels, and the values that labels are compared with."""
    selectors = SELECTOR.findall(query)
    for name, matchers, _ in selectors:
        assert name in exposed, name
        for label, operator, wanted in MATCHER.findall(matchers):
            if label in SCRAPE_LABELS:
                assert (operator, wanted) == ("=~", f"${label}")
                continue
            assert set(wanted.split("|")) <= exposed[name][label], (label, wanted)
    for labels in GROUPING.findall(query):
        known = SCRAPE_LABELS.union(*(exposed[name] for name, _, _ in selectors))
        assert set(labels.split(", ")) <= known
    # What is left is functions alone, so no name was overlooked.
    rest = GROUPING.sub("", SELECTOR.sub("", query))
    assert set(re.findall(r"[a-z_]\w*", rest)) <= FUNCTIONS


@pytest.mark.parametrize("query", expressions())
def test_a_query_fits_the_kind_of_figure(query: str) -> None:
    """Sums are looked at as rates, buckets by quantiles, and gauges as they are."""
    kinds = {each.name: each.kind for each in CATALOGUE}
    for name, _, interval in SELECTOR.findall(query):
        is_gauge = kinds.get(SUFFIX.sub("", name), "") == "gauge"
        if name.startswith("process_"):
            is_gauge = not name.endswith("_total")
        assert is_gauge == (not interval), name
        if name.endswith("_bucket"):
            assert re.match(r"histogram_quantile\(0\.\d+, sum by \(le\) \(rate\(", query)


def test_every_figure_is_shown() -> None:
    """None of the catalogue is missing."""
    shown = {
        SUFFIX.sub("", name) for query in expressions() for name, *_ in SELECTOR.findall(query)
    }
    assert {each.name for each in CATALOGUE} - shown == set()


def test_every_legend_names_a_label_that_its_query_keeps() -> None:
    """Otherwise Grafana shows an empty name."""
    for panel in panels():
        for target in panel["targets"]:
            labels = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            grouped = GROUPING.findall(target["expr"])
            kept = set(grouped[0].split(", ")) if grouped else {"instance"}
            assert labels <= kept, panel["title"]
            assert target["legendFormat"]


def test_the_dashboard_is_one_that_grafana_imports() -> None:
    """A title, a schema, a data source to choose, ids and places of their own."""
    assert DASHBOARD["title"]
    assert DASHBOARD["uid"]
    assert DASHBOARD["schemaVersion"] >= 39
    variables = {each["name"]: each for each in DASHBOARD["templating"]["list"]}
    assert variables.keys() == {"datasource", *SCRAPE_LABELS}
    asked = [variables[name]["definition"] for name in sorted(SCRAPE_LABELS)]
    assert all("higgs_requests_running" in each for each in asked)
    everything = DASHBOARD["panels"]
    assert len({each["id"] for each in everything}) == len(everything)
    places = [(x, y) for each in everything for x, y in cells(each["gridPos"])]
    assert len(places) == len(set(places))
    for panel in panels():
        assert panel["description"].endswith(".")
        for each in (panel, *panel["targets"]):
            assert each["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def cells(place: dict[str, int]) -> list[tuple[int, int]]:
    """Return the cells of Grafana's grid that a panel takes."""
    columns = range(place["x"], place["x"] + place["w"])
    assert columns.stop <= 24
    return [(x, y) for x in columns for y in range(place["y"], place["y"] + place["h"])]


def test_the_rows_are_in_the_order_of_what_matters() -> None:
    """Listeners first."""
    rows = [each["title"] for each in DASHBOARD["panels"] if each["type"] == "row"]
    assert rows == [
        "Listeners",
        "Throughput",
        "Requests and errors",
        "Caches and guards",
        "Starts",
        "Memory",
    ]
