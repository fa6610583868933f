"""What OpenTelemetry saw, in memory, and what the authority was sent."""

from __future__ import annotations

import pytest
from opentelemetry import metrics as otel_metrics
from opentelemetry import trace as otel
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter


class Spans:
    """Spans that have ended, and a tracer of the program's own."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("program")

    def ended(self):
        return self._exporter.get_finished_spans()

    def named(self, name="cycles.guard"):
        return [span for span in self.ended() if span.name == name]

    def only(self, name="cycles.guard"):
        (span,) = self.named(name)
        return span


class Metrics:
    """What was measured."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = MeterProvider([self._reader], shutdown_on_exit=False)

    def instruments(self):
        data = self._reader.get_metrics_data()
        scopes = (
            [] if data is None else [scope for resource in data.resource_metrics for scope in resource.scope_metrics]
        )
        return {metric.name: metric for scope in scopes for metric in scope.metrics}

    def points(self, name):
        """The values of one instrument, by their attributes; a histogram's are its counts."""
        metric = self.instruments().get(name)
        points = [] if metric is None else metric.data.data_points
        return {frozenset(point.attributes.items()): getattr(point, "value", None) or point.count for point in points}


@pytest.fixture
def spans(monkeypatch):
    """OpenTelemetry with an SDK for spans, as a program would have set it up."""
    seen = Spans()
    monkeypatch.setattr(otel, "get_tracer_provider", lambda: seen.provider)
    return seen


@pytest.fixture
def measured(monkeypatch):
    """OpenTelemetry with an SDK for metrics, as a program would have set it up."""
    seen = Metrics()
    monkeypatch.setattr(otel_metrics, "get_meter_provider", lambda: seen.provider)
    return seen


@pytest.fixture
def sent(authority, monkeypatch):
    """The headers of every request that arrives."""
    seen = []
    handle = authority.app.handle

    def spied(request):
        seen.append(request.headers)
        return handle(request)

    monkeypatch.setattr(authority.app, "handle", spied)
    return seen


@pytest.fixture
def client(authority):
    with authority.client(tenant="acme") as client:
        yield client


@pytest.fixture
def quiet(caplog):
    """OpenTelemetry finds nothing to complain about: a context that can't be detached is logged."""
    yield
    assert [record.message for record in caplog.get_records("call") if record.name.startswith("opentelemetry")] == []
