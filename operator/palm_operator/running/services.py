"""Reads the servers of a Portfolio: KServe's objects, Pods, and whether they answer."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from palm_operator.api.portfolio import Portfolio
from palm_operator.objects import is_owned
from palm_operator.running.asking import Asker
from palm_operator.running.cluster import Cluster
from palm_operator.serving.observed_services import Service, service_url
from palm_operator.serving.observed_services import service as observed_service
from palm_operator.serving.server_pods import ServerPod, server_pod
from palm_operator.serving.standing import question, standing


@dataclass(frozen=True)
class Served:
    """The servers of a Portfolio, and which resources of KServe the cluster has."""

    services: tuple[Service, ...]
    serves: bool
    serves_llms: bool


class ServiceObserver:
    """Sees how the policies of a Portfolio are served."""

    def __init__(self, cluster: Cluster, asker: Asker, *, url_template: str) -> None:
        self._cluster, self._asker, self._template = cluster, asker, url_template

    async def services(self, portfolio: Portfolio) -> Served:
        """Return the servers of a Portfolio."""
        metadata = portfolio.metadata
        bodies, llm_bodies, pod_bodies = await asyncio.gather(
            self._cluster.services(metadata.namespace, metadata.uid),
            self._cluster.llm_services(metadata.namespace, metadata.uid),
            self._cluster.server_pods(metadata.namespace, metadata.uid),
        )
        pods = [server_pod(body) for body in pod_bodies]
        found = await self._judged(portfolio, [*(bodies or ()), *(llm_bodies or ())], pods)
        return Served(found, serves=bodies is not None, serves_llms=llm_bodies is not None)

    async def _judged(
        self, portfolio: Portfolio, bodies: list[dict[str, Any]], pods: list[ServerPod]
    ) -> tuple[Service, ...]:
        uid = portfolio.metadata.uid
        of = {name(body): [pod for pod in pods if pod.service == name(body)] for body in bodies}
        urls = {name(body): service_url(body, self._template) for body in bodies}
        asked = {
            name(body): asking
            for body in bodies
            if is_owned(body, uid)
            and (asking := question(body, of[name(body)], url=urls[name(body)])) is not None
        }
        key = (portfolio.metadata.namespace, portfolio.metadata.name)
        answers = await self._asker.answers(key, asked)
        return tuple(
            observed_service(
                body,
                portfolio_uid=uid,
                url=urls[name(body)],
                standing=standing(
                    body, of[name(body)], answers.get(name(body)), url=urls[name(body)]
                ),
            )
            for body in bodies
        )


def name(body: Mapping[str, Any]) -> str:
    """Return an object's name."""
    return str(body["metadata"]["name"])
