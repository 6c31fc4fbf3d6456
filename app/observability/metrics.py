"""The Prometheus metrics of the service: counters and histograms in a given registry. Decides nothing.

If the service has several workers, each writes its values to files that all of them read
(`app/observability/worker_metrics.py`); each gauge has a mode for merging the values of several workers.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Summary

from model.context.context import FilledContext

STAGES = ("parse", "records", "score", "rerank")
_SHARES = (0.0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_SECONDS = (0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.25, 0.5, 1.0, 2.0, 5.0)

Clock = Callable[[], float]
_MergeMode = Literal["livesum", "livemax"]  # how the gauges of running workers are merged


class Stopwatch:
    """Measures the stages of one ranking, in seconds. `started` is a time of the same `clock`."""

    def __init__(self, clock: Clock, started: float | None = None) -> None:
        self._clock = clock
        self._started = self._last = clock() if started is None else started
        self.seconds: dict[str, float] = dict.fromkeys(STAGES, 0.0)

    def lap(self, stage: str) -> None:
        """Add the time since the last lap to `stage`."""
        now = self._clock()
        self.seconds[stage] += now - self._last
        self._last = now

    def total(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started


class Metrics:
    """All metrics of the service, by name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self._child: Callable[..., Any] = lru_cache(1024)(_with_labels)  # a lookup takes longer than an increment
        self.requests = _counter(registry, "unirank_requests", "Requests, failed ones too", "route", "status")
        self.errors = _counter(registry, "unirank_errors", "Requests that failed, by code", "code")
        self.request_seconds = _histogram(registry, "unirank_request_seconds", "Time of a request", "route")
        self.ranking_seconds = _histogram(
            registry, "unirank_ranking_seconds", "Time of a ranking, by stage", "task", "stage"
        )
        self.records = _counter(registry, "unirank_records", "Entity records, by where they came from", "tier")
        self.imputed = _counter(registry, "unirank_imputed", "Context fields filled", "task", "field", "rule")
        self.degraded = _counter(registry, "unirank_degraded", "Answers that fell short, by code", "code")
        self.events = _counter(registry, "unirank_events", "Events on disk", "type")
        self.events_failing = Gauge(
            "unirank_events_failing", "1 = the last events could not be stored", registry=registry,
            multiprocess_mode="livemax",
        )  # fmt: skip
        self.shed = _counter(registry, "unirank_shed", "Requests refused because of others", "priority")
        self.queue_candidates = _gauge(
            registry, "unirank_queue_candidates", "Candidates admitted and not answered", "livesum", "priority"
        )
        self.rankings_under_way = _gauge(
            registry, "unirank_rankings_under_way", "Requests that hold a permit", "livesum"
        )
        self.models_refused = _counter(registry, "unirank_models_refused", "Models that were not let to serve")
        self.arms = _counter(registry, "unirank_arm", "Requests answered while users are split", "arm", "version")
        self.shadow_failed = _counter(registry, "unirank_shadow_failed", "Rankings that the shadow model could not do")
        self.shadow_overlap = _shares(registry, "unirank_shadow_overlap", "Share of the top 10 that the shadow shares")
        self.shadow_tau = Summary(  # may be negative, which a histogram's sum may not
            "unirank_shadow_tau", "Rank correlation of the shadow, at most 200 places", ("task",), registry=registry
        )
        self.shadow_drift = _shares(registry, "unirank_shadow_drift", "Mean difference of the shadow's scores")
        self.model_info = _gauge(
            registry, "unirank_model_info", "The live model; always 1", "livemax", "version", "checksum"
        )
        self._model: Any = None

    def observe_request(self, route: str, status: int, code: str | None, seconds: float) -> None:
        """Count one request, whether it succeeded or not."""
        self._count_request(route, status, code, 1)
        self._child(self.request_seconds, route).observe(seconds)

    def count_refused(self, route: str, status: int, code: str, count: int) -> None:
        """Count requests refused unread. They are not timed, since they would lower the observed request times."""
        self._count_request(route, status, code, count)

    def _count_request(self, route: str, status: int, code: str | None, count: int) -> None:
        self._child(self.requests, route, str(status)).inc(count)
        if code is not None:
            self._child(self.errors, code).inc(count)

    @contextmanager
    def observe_ranking(self, task: str, watch: Stopwatch) -> Iterator[None]:
        """Observe the stage times of one ranking, whether it succeeds or not."""
        try:
            yield
        finally:
            for stage, seconds in watch.seconds.items():
                self._child(self.ranking_seconds, task, stage).observe(seconds)
            self._child(self.ranking_seconds, task, "total").observe(watch.total())

    def count_imputed(self, filled: FilledContext) -> None:
        """Count the imputed fields."""
        for entry in filled.imputed:
            self._child(self.imputed, filled.context.task, entry.field, entry.rule).inc()

    def count_degraded(self, codes: Iterable[str]) -> None:
        """Count the `degraded` codes of one answer."""
        for code in codes:
            self._child(self.degraded, code).inc()

    def set_model(self, version: str, checksum: str) -> None:
        """Set the labels of the live model."""
        if self._model is not None:
            self._model.set(0)  # values in files cannot be removed; zeros are left out on reading
        if not sharing():
            self.model_info.clear()
        self._model = self.model_info.labels(version, checksum)
        self._model.set(1)


class NullMetrics(Metrics):
    """Counts nothing. A second registry would not separate the values: workers share them by metric name."""

    def __init__(self) -> None:
        self._child = lambda *_: _NULL_METRIC

    def __getattr__(self, name: str) -> Any:
        """A metric that counts nothing, for any name."""
        return _NULL_METRIC


class _NullMetric:
    """A metric, and each of its children, that counts nothing."""

    def labels(self, *_: str) -> _NullMetric:
        return self

    def inc(self, _: float = 1) -> None: ...

    def observe(self, _: float) -> None: ...

    def set(self, _: float) -> None: ...


_NULL_METRIC = _NullMetric()


def sharing() -> bool:
    """Whether this process is one of several workers that share their metrics. prometheus_client decides by the same
    variable when it is imported."""
    return "PROMETHEUS_MULTIPROC_DIR" in os.environ


def _with_labels(metric: Any, *labels: str) -> Any:
    return metric.labels(*labels)


def _counter(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Counter:
    return Counter(name, text, labels, registry=registry)


def _histogram(registry: CollectorRegistry, name: str, text: str, *labels: str) -> Histogram:
    return Histogram(name, text, labels, buckets=_SECONDS, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, text: str, mode: _MergeMode, *labels: str) -> Gauge:
    return Gauge(name, text, labels, multiprocess_mode=mode, registry=registry)


def _shares(registry: CollectorRegistry, name: str, text: str) -> Histogram:
    return Histogram(name, text, ("task",), buckets=_SHARES, registry=registry)
