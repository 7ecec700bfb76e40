"""A stand-in for KServe's controller and its Pods: every InferenceService is Ready at once.

Its Pods are objects that no node runs (a scheduling gate keeps them), with a status that is written
here; requests to policies go where the operator's PALM_SERVING_URL says.
"""

import threading
from typing import Any

from faults.api import Api, Object
from palm_operator import names

_ALL = "/apis/serving.kserve.io/v1beta1/inferenceservices"
_SECONDS = 0.25


class KServeStandIn:
    """Looks at every InferenceService of the cluster now and then."""

    def __init__(self, api: Api) -> None:
        self._api, self._done = api, set[str]()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(timeout=60)

    def _run(self) -> None:
        while not self._stop.wait(_SECONDS):
            try:
                for body in self._api.items(_ALL):
                    if body["metadata"]["uid"] not in self._done:
                        self._serve(body)
            except Exception as error:
                print(f"the stand-in for KServe goes on after {error}", flush=True)

    def _serve(self, body: Object) -> None:
        metadata = body["metadata"]
        if "deletionTimestamp" in metadata:
            return
        pods = f"/api/v1/namespaces/{metadata['namespace']}/pods"
        self._api.create(pods, _pod(body))
        ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
        self._api.patch(f"{pods}/{metadata['name']}-pod/status", {"status": ready})
        host = f"{metadata['name']}-predictor.{metadata['namespace']}.svc.cluster.local"
        status: dict[str, Any] = {
            "conditions": [{"type": "Ready", "status": "True"}],
            "address": {"url": f"http://{host}"},
            "modelStatus": {
                "transitionStatus": "UpToDate",
                "states": {"activeModelState": "Loaded", "targetModelState": "Loaded"},
            },
        }
        path = f"{_ALL.removesuffix('/inferenceservices')}/namespaces/{metadata['namespace']}"
        path = f"{path}/inferenceservices/{metadata['name']}/status"
        self._api.patch(path, {"status": status})
        self._done.add(metadata["uid"])


def _pod(service: Object) -> Object:
    metadata = service["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": f"{metadata['name']}-pod",
            "namespace": metadata["namespace"],
            "labels": {
                **(metadata.get("labels") or {}),
                names.LABEL_INFERENCE_SERVICE: metadata["name"],
            },
            "ownerReferences": [
                {
                    "apiVersion": "serving.kserve.io/v1beta1",
                    "kind": "InferenceService",
                    "name": metadata["name"],
                    "uid": metadata["uid"],
                }
            ],
        },
        "spec": {
            "schedulingGates": [{"name": "palm-operator.dev/stand-in"}],
            "containers": [{"name": "server", "image": "stand-in"}],
        },
    }
