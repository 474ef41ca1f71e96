"""Prometheus text of what the router counts and the back ends report. Names are vLLM's, with our prefix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from inglenook.gateway.request_stats import Histogram
from inglenook.gateway.router import Router, Served

if TYPE_CHECKING:
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = "inglenook:"
_LABEL = "model_name"

_HELP = {
    "num_requests_running": "Requests that are being computed.",
    "num_requests_waiting": "Requests that wait for their turn.",
    "kv_cache_usage_perc": "Share of the key-value cache in use; 1 is all of it.",
    "prefix_cache_queries": "Prompt tokens that were looked up in the prefix cache.",
    "prefix_cache_hits": "Prompt tokens that the prefix cache supplied.",
    "pooling_inputs": "Inputs that became a vector or a score.",
    "num_preemptions": "Requests that were put back because the key-value cache was full.",
    "spec_decode_num_drafts": "Drafts that were checked: one for each request and step that had any.",
    "spec_decode_num_draft_tokens": "Tokens of these drafts.",
    "spec_decode_num_accepted_tokens": "Draft tokens that were right.",
}
_HISTOGRAMS: dict[str, tuple[str, Callable[[Served], Histogram]]] = {
    "time_to_first_token_seconds": ("Time to the first token.", lambda served: served.stats.first_token_s),
    "inter_token_latency_seconds": ("Time between two tokens.", lambda served: served.stats.inter_token_s),
    "e2e_request_latency_seconds": ("Time of whole requests.", lambda served: served.stats.request_s),
}
_COUNTERS: dict[str, tuple[str, Callable[[Served], int]]] = {
    "prompt_tokens": ("Tokens of prompts.", lambda served: served.stats.num_prompt_tokens),
    "generation_tokens": ("Generated tokens.", lambda served: served.stats.num_generation_tokens),
}


def metrics_text(router: Router) -> bytes:
    """Text exposition format 0.0.4. The library is loaded by the first scrape, not by the server's start."""
    from prometheus_client.core import CollectorRegistry
    from prometheus_client.exposition import generate_latest

    class Collector(CollectorRegistry):
        def collect(self) -> Iterator[Metric]:
            yield from _router_metrics(router)
            yield from _backend_metrics(router)

    return generate_latest(Collector())


def _router_metrics(router: Router) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily

    for name, (text, read_count) in _COUNTERS.items():
        counter = CounterMetricFamily(_PREFIX + name, text, labels=[_LABEL])
        for served in router.served:
            counter.add_metric([served.name], read_count(served))
        yield counter
    finished = CounterMetricFamily(
        _PREFIX + "request_success", "Choices that ended, by reason.", labels=[_LABEL, "finished_reason"]
    )
    for served in router.served:
        for reason, count in sorted(served.stats.finished.items()):
            finished.add_metric([served.name, reason], count)
    yield finished
    for name, (text, read_histogram) in _HISTOGRAMS.items():
        family = HistogramMetricFamily(_PREFIX + name, text, labels=[_LABEL])
        for served in router.served:
            histogram = read_histogram(served)
            bounds = [*map(str, histogram.bounds), "+Inf"]
            family.add_metric(
                [served.name], list(zip(bounds, accumulate(histogram.counts), strict=True)), histogram.sum
            )
        yield family


def _backend_metrics(router: Router) -> Iterator[Metric]:
    """Back ends that don't know of queues, remote ones, get the router's count as running and nothing waiting."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    gauges: dict[str, GaugeMetricFamily] = {}
    counters: dict[str, CounterMetricFamily] = {}
    for served in router.served:
        stats = served.backend.stats()
        values = {"num_requests_running": served.stats.num_running, "num_requests_waiting": 0, **stats.gauges}
        for name, value in values.items():
            gauge = gauges.setdefault(name, GaugeMetricFamily(_PREFIX + name, _help(name), labels=[_LABEL]))
            gauge.add_metric([served.name], value)
        for name, value in stats.counters.items():
            name = name.removesuffix("_total")
            if name in _COUNTERS:
                continue  # the router's counts are what clients see as usage: a prompt once, whatever n is
            counter = counters.setdefault(name, CounterMetricFamily(_PREFIX + name, _help(name), labels=[_LABEL]))
            counter.add_metric([served.name], value)
    yield from gauges.values()
    yield from counters.values()


def _help(name: str) -> str:
    return _HELP.get(name, name.replace("_", " "))
