"""What is handed out for a cluster: whole, valid, the same commands, and no secret in it."""

from __future__ import annotations

import re
import shlex
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import kubernetes_validate
import pytest
import yaml

from performance.balancing.errors import SupervisorFailed
from performance.balancing.kubernetes import DELETION_COST, GATE, KubernetesExecutor
from protipp.stack import nodes, workers

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
FILES = sorted(path for path in FOLDER.glob("*.yaml") if path.name != "kustomization.yaml")
FOREIGN = {"keda.sh/v1alpha1"}
"""KEDA's own kinds: their schemas come with KEDA and not with Kubernetes."""


def documents(path):
    return [found for found in yaml.safe_load_all(path.read_text()) if found]


EVERY = [(path.name, one) for path in FILES for one in documents(path)]


def pods():
    for _, one in EVERY:
        if one["kind"] in {"Deployment", "Job"}:
            yield one["metadata"]["name"], one["spec"]["template"]["spec"]


@pytest.mark.parametrize(
    "one", [one for _, one in EVERY if one["apiVersion"] not in FOREIGN],
    ids=lambda one: f"{one['kind']}-{one['metadata']['name']}",
)  # fmt: skip
def test_every_resource_fits_its_published_schema(one):
    kubernetes_validate.validate(one, "1.34", strict=True)


def test_every_file_is_listed_once_and_only_one_scaler_is():
    listed = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())["resources"]

    assert sorted(listed) == sorted({path.name for path in FILES} - {"hpa.yaml"})
    assert "replicas" not in documents(FOLDER / "web.yaml")[0]["spec"]


def test_every_process_of_the_design_is_there():
    assert {name for name, _ in pods()} == {
        f"protipp-{name}"
        for name in ("web", "live", "worker", "beat", "monitor", "feed", "proxy", "migrate")
    }


@pytest.mark.parametrize("path", [*FILES, ROOT / "compose.yaml"], ids=lambda path: path.name)
def test_no_secret_is_in_it(path):
    text = path.read_text()

    assert not re.search(r"^kind: Secret", text, re.MULTILINE)
    for name in ("SECRET_KEY", "PASSWORD"):
        assert not re.search(rf"{name}: (?!\$|\"?\$\{{)\S", text)


def test_no_pod_is_root_or_writes_its_own_code():
    for name, pod in pods():
        assert pod["securityContext"]["runAsNonRoot"], name
        for container in [*pod["containers"], *pod.get("initContainers", [])]:
            held = container["securityContext"]
            assert held["readOnlyRootFilesystem"]
            assert held["capabilities"] == {"drop": ["ALL"]}
            assert not held["allowPrivilegeEscalation"]
            assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize("kind", ["web", "live"])
def test_a_node_is_started_as_the_stack_starts_it(kind):
    (node,) = documents(FOLDER / f"{kind}.yaml")
    container = node["spec"]["template"]["spec"]["containers"][0]
    program, *words = nodes.spec(kind, f"{kind}-1", {}).argv
    ours = [Path(program).name, *words]
    for name, value in (("--host", "0.0.0.0"), ("--port", "8000")):
        ours[ours.index(name) + 1] = value

    assert container["args"] == ours
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"][kind]["command"][-1]
    assert shlex.split(compose.partition("exec ")[2]) == ours


def test_workers_are_started_as_the_stack_starts_them():
    stack = {spec.name: spec.argv[1:] for spec in workers.specs("none", Path("/scratch"), {})}
    found = {
        name.removeprefix("protipp-"): pod["containers"][0]["args"][1:] for name, pod in pods()
    }

    for name in ("worker", "beat", "monitor"):
        assert tuple(found[name]) == stack[name], name


def test_the_gate_that_pods_wait_for_is_the_one_that_the_balancer_opens():
    for kind in ("web", "live"):
        (node,) = documents(FOLDER / f"{kind}.yaml")
        assert node["spec"]["template"]["spec"]["readinessGates"] == [{"conditionType": GATE}]


class Api(BaseHTTPRequestHandler):
    """An API server that notes what it is asked, and refuses the pod `web-bad`."""

    asked: list

    def do_PATCH(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.asked.append((self.path, yaml.safe_load(body)))
        gone, bad = "web-gone" in self.path, "web-bad" in self.path
        self.send_response(404 if gone else 403 if bad else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.fixture
def api():
    Api.asked = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    with httpx.Client() as client:
        yield KubernetesExecutor(f"http://127.0.0.1:{server.server_port}", "protipp", client)
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_drained_pod_is_the_first_to_go(api):
    api.stop("web", "web-7f9")

    ((path, body),) = Api.asked
    assert path == "/api/v1/namespaces/protipp/pods/web-7f9"
    assert body == {"metadata": {"annotations": {DELETION_COST: "-1000"}}}


def test_the_gate_follows_the_rotation_and_is_told_once(api):
    api.in_rotation(["web-1", "web-2"], {"web-1"})
    api.in_rotation(["web-1", "web-2"], {"web-1"})
    api.in_rotation(["web-1", "web-2"], {"web-1", "web-2"})

    told = [
        (path.split("/")[-2], body["status"]["conditions"][0]["status"])
        for path, body in Api.asked
    ]  # fmt: skip
    assert told == [("web-1", "True"), ("web-2", "False"), ("web-2", "True")]


def test_a_pod_that_is_gone_is_no_trouble_and_a_refusal_says_why(api):
    api.stop("web", "web-gone")

    with pytest.raises(SupervisorFailed, match="did not stop web-bad: 403"):
        api.stop("web", "web-bad")


def test_outside_a_cluster_the_setting_is_named(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)

    with pytest.raises(SupervisorFailed, match="executor"):
        KubernetesExecutor.in_cluster(tmp_path)
