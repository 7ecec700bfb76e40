"""What the gateway counts. Labels come from route tables, never from requests."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from palm_gateway.tables import Tables

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_LONGEST_SERIES = 512
_OTHER = "other"


class Metrics:
    """Counters of one process; series of policies that are gone are dropped."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = self._counter(
            "requests", "Answers by policy and class of status.", ("portfolio", "policy", "status")
        )
        self.retries = self._counter(
            "retries", "Requests that a policy could not answer.", ("portfolio", "policy", "reason")
        )
        self.rejected = self._counter("rejected", "Requests that went nowhere.", ("code",))
        self.first_byte = Histogram(
            "palm_gateway_first_byte_seconds",
            "From a request's last byte to its answer's first.",
            ("portfolio",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "palm_gateway_in_flight", "Requests being answered.", registry=self.registry
        )
        self.refused = Gauge(
            "palm_gateway_route_tables_refused", "Tables not believed.", registry=self.registry
        )
        self.tables = Gauge(
            "palm_gateway_route_table_policies",
            "Policies of each route table.",
            ("portfolio", "revision"),
            registry=self.registry,
        )
        self._known: frozenset[str] = frozenset()

    def labels(self, key: str, policy: str) -> tuple[str, str]:
        """Return the labels of a portfolio's policy; beyond some hundreds they share one."""
        return (key, policy) if key in self._known else (_OTHER, _OTHER)

    def follow(self, tables: Tables) -> None:
        """Drop the series of what the tables no longer name."""
        keys = list(tables.by_key)[:_LONGEST_SERIES]
        self._known = frozenset(keys)
        self.tables.clear()
        named = {(_OTHER, _OTHER)}
        for key in keys:
            table = tables.by_key[key].table
            self.tables.labels(key, table.revision).set(len(table.policies))
            named |= {(key, policy.name) for policy in table.policies}
        for counter, last in ((self.requests, "status"), (self.retries, "reason")):
            for labels in _series(counter, "portfolio", "policy", last):
                if labels[:2] not in named:
                    counter.remove(*labels)
        for labels in _series(self.first_byte, "portfolio"):
            if labels[0] not in self._known | {_OTHER}:
                self.first_byte.remove(*labels)

    def text(self) -> bytes:
        """Return the exposition."""
        return bytes(generate_latest(self.registry))

    def _counter(self, name: str, meaning: str, labels: tuple[str, ...]) -> Counter:
        return Counter(f"palm_gateway_{name}_total", meaning, labels, registry=self.registry)


def _series(metric: Counter | Histogram, *names: str) -> set[tuple[str, ...]]:
    return {
        tuple(sample.labels[name] for name in names)
        for family in metric.collect()
        for sample in family.samples
    }
