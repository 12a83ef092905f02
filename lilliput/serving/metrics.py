"""What Prometheus reads of a server."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from lilliput.serving.desk import Desk

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class Metrics:
    """Counters of one application, in a registry of their own: several may live in one process."""

    def __init__(self, desk: Desk, model: str, task: str, precision: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "lilliput_requests", "Requests by what became of them.", ["status"], registry=self.registry
        )
        self.texts = Counter("lilliput_texts", "Texts that were answered.", registry=self.registry)
        self.seconds = Histogram(
            "lilliput_request_seconds", "From arrival to answer.", buckets=SECONDS, registry=self.registry
        )
        waiting = Gauge("lilliput_texts_waiting", "Texts admitted and not answered yet.", registry=self.registry)
        waiting.set_function(lambda: desk.waiting)
        running = Gauge("lilliput_requests_in_flight", "Requests admitted and not answered.", registry=self.registry)
        running.set_function(lambda: desk.requests)
        facts = Gauge("lilliput_model", "What is served.", ["name", "task", "precision"], registry=self.registry)
        facts.labels(model, task, precision).set(1)

    def text(self) -> tuple[bytes, str]:
        """The metrics and their content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST
