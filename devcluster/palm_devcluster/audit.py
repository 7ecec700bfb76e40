"""What the API server of an audited cluster writes down: every request that changes something."""

import json

from palm_devcluster.paths import ClusterPaths, write_private

_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [
        {"level": "None", "verbs": ["get", "list", "watch"]},
        # Heartbeats of the node and what the control plane tells itself are nobody's question.
        {
            "level": "None",
            "userGroups": ["system:nodes"],
            "resources": [{"group": "coordination.k8s.io"}],
        },
        {"level": "Metadata"},
    ],
}
_MEGABYTES = 2048


def audit_flags(paths: ClusterPaths) -> tuple[str, ...]:
    """Return the API server's flags; its policy is written here. A log is never cut short."""
    policy = paths.audit / "policy.json"
    write_private(policy, json.dumps(_POLICY).encode())
    return (
        f"--audit-policy-file={policy}",
        f"--audit-log-path={paths.changes}",
        f"--audit-log-maxsize={_MEGABYTES}",
    )
