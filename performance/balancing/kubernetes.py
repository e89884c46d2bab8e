"""Nodes as pods: KEDA or an HPA starts and stops them by our number, and we tell them which.

The number is at /scaling/<kind> (see `scaling_metric`). What Kubernetes cannot know is told here:
which pod is drained and goes first (`pod-deletion-cost`), and which is in the proxy's rotation
(a readiness gate, so that a rollout waits for the proxy and not only for the process).

It talks to the API server with the pod's own service account, which may patch pods and no more.
"""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

import httpx

from performance.balancing.errors import SupervisorFailed

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
GATE = "protipp.example/in-rotation"
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
FIRST_TO_GO = "-1000"
TIMEOUT_S = 2.0
_MERGE = {"Content-Type": "application/strategic-merge-patch+json"}


class KubernetesExecutor:
    """Tells the API server about pods, each by the name that it announces as its node id."""

    name = "kubernetes"
    at_once = 1_000  # machines are the cluster's to find
    keeps_spares = False  # a Deployment's pods are alike: one that waits would count as a replica
    leaves_within_s = 180.0
    """KEDA asks every 30 s, and a pod has its grace period: it stays out that long."""

    def __init__(self, url: str, namespace: str, client: httpx.Client) -> None:
        self._pods = f"{url}/api/v1/namespaces/{namespace}/pods"
        self._client = client
        self._told: dict[str, bool] = {}

    @classmethod
    def in_cluster(cls, account: Path = ACCOUNT) -> KubernetesExecutor:
        """Return the one of this pod; SupervisorFailed where no cluster gave us an account."""
        host, port = (
            os.environ.get("KUBERNETES_SERVICE_HOST"),
            os.environ.get("KUBERNETES_SERVICE_PORT", "443"),
        )
        if not host or not (account / "token").is_file():
            raise SupervisorFailed(
                "reach", "Kubernetes", "no service account is mounted; set "
                "PERFORMANCE['BALANCING']['executor'] to 'local' outside a cluster"
            )  # fmt: skip
        shown = f"[{host}]" if ":" in host else host
        client = httpx.Client(
            verify=str(account / "ca.crt"), timeout=TIMEOUT_S, auth=_Account(account / "token")
        )
        return cls(f"https://{shown}:{port}", (account / "namespace").read_text().strip(), client)

    def start(self, kind: str, node_id: str, *, spare: bool = False) -> None:
        """Nothing: the number is there to be read, and the cluster names its pods itself."""

    def stop(self, kind: str, node_id: str) -> None:
        """Let this pod be the first that goes when the cluster takes one away."""
        self._patch(
            "stop", node_id, "", {"metadata": {"annotations": {DELETION_COST: FIRST_TO_GO}}}
        )

    def in_rotation(self, there: Collection[str], up: Collection[str]) -> None:
        """Open the readiness gate of pods that the proxy sends requests to, close the others'.

        Only what changed is sent. SupervisorFailed for the first that could not be told; it is
        tried again at the next tick.
        """
        self._told = {name: told for name, told in self._told.items() if name in there}
        for name in there:
            now = name in up
            if self._told.get(name) != now:
                status = "True" if now else "False"
                condition = {"type": GATE, "status": status, "reason": "Balancer"}
                self._patch("tell", name, "/status", {"status": {"conditions": [condition]}})
                self._told[name] = now

    def _patch(self, op: str, pod: str, part: str, body: dict[str, Any]) -> None:
        try:
            answer = self._client.patch(f"{self._pods}/{pod}{part}", json=body, headers=_MERGE)
        except httpx.HTTPError as error:
            raise SupervisorFailed(op, pod, str(error) or type(error).__name__) from error
        if answer.status_code == httpx.codes.NOT_FOUND:
            return  # gone already
        if answer.is_error:
            raise SupervisorFailed(op, pod, f"{answer.status_code} {answer.text[:200]}")


class _Account(httpx.Auth):
    """Reads the token at each request: the cluster replaces it every hour."""

    def __init__(self, token: Path) -> None:
        self._token = token

    def auth_flow(self, request: httpx.Request) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token.read_text().strip()}"
        yield request
