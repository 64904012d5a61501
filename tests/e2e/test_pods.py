"""Each try in a pod: kmock is the cluster's API server, and real processes are the pods' containers."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from apart import LEASE, Apart
from harness import BIN, NAMESPACE, Process, free_port, password, wait_until

# kmock brings a plugin of pytest's that changes how others run: it has an environment of its own.
pytestmark = pytest.mark.skipif(
    "DAGBOK_KMOCK_PYTHON" not in os.environ,
    reason="not run: DAGBOK_KMOCK_PYTHON must name a Python that has kmock 0.8 (PyPI)",
)

DAG = """
import os, time
from datetime import datetime, timedelta
from airflow.sdk import DAG, get_current_context, task

def pod(fate, **base):
    container = {"name": "base", "env": [{"name": "FROM_OVERRIDE", "value": "yes"}], **base}
    return {"pod_override": {"metadata": {"annotations": {"test/fate": fate}}, "spec": {"containers": [container]}}}

def once(fate):
    ti = get_current_context()["ti"]
    if ti.try_number == 1:
        print("this is all that is left of it")
        open(os.path.join(os.environ["CLUSTER"], "begun." + fate), "w").close()
        time.sleep(600)
    print("the second time it went well")

with DAG("pods", start_date=datetime(2024, 1, 1), schedule=None, default_args={"retry_delay": timedelta(0)}):
    @task(executor="KubernetesExecutor", executor_config=pod(""))
    def one():
        print("from a pod", os.environ["FROM_OVERRIDE"], os.environ["AIRFLOW_IS_K8S_EXECUTOR_POD"])
        return 42

    @task
    def two(value):
        print("got", value)

    @task(retries=1, executor_config=pod("oom", resources={"limits": {"memory": "64Mi"}}))
    def oom():
        once("oom")

    @task(retries=0, executor_config=pod("evicted"))
    def evicted():
        once("evicted")

    @task(retries=0, executor_config=pod("image", image="company/none:1"))
    def image():
        pass

    @task(retries=0, executor_config=pod("unschedulable"))
    def unschedulable():
        pass

    two(one())
    oom()
    evicted()
    image()
    unschedulable()
"""


class Cluster:
    """The services, and a cluster for their tries."""

    def __init__(self, folder: Path) -> None:
        """Prepares everything."""
        self.apart = it = Apart(folder, executors=0)
        it.dags.joinpath("pods.py").write_text(DAG)
        self.port, pods = free_port(), folder / "pods"
        pods.mkdir()
        secret = {"DAGBOK__NATS__USER": "executor", "DAGBOK__NATS__PASSWORD": password("executor")}
        settings = {
            "dagbok": str(BIN),
            "env": {**it.env, "CLUSTER": str(pods)},
            "secrets": {"nats": secret},
            "folder": str(pods),
        }
        python = os.environ["DAGBOK_KMOCK_PYTHON"]
        script = str(Path(__file__).with_name("cluster.py"))
        self.server = Process("cluster", [python, script, str(self.port), json.dumps(settings)], folder)
        config = folder / "kubeconfig"
        cluster = {"server": f"http://127.0.0.1:{self.port}"}
        config.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "c",
                    "clusters": [{"name": "c", "cluster": cluster}],
                    "users": [{"name": "u", "user": {}}],
                    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "jobs"}}],
                }
            )
        )
        it.services["scheduler-0"].env["DAGBOK__SCHEDULER__MAX_LOSSES"] = "1"
        # Here pods are made for the queue of all other tasks, too.
        reads = {"DAGBOK__KUBERNETES__ENABLED": "true", "DAGBOK__KUBERNETES__QUEUES": "default"}
        it.services["processor"].env.update(reads)
        argv = [str(BIN), "executor", "kubernetes", "--nats", it.nats.url, "--namespace", NAMESPACE]
        argv += ["--nats-user", "executor", "--queues", "default", "--image", "company/dagbok:1"]
        env = {
            **it.env,
            "KUBECONFIG": str(config),
            "DAGBOK_HOME": str(folder / "home"),
            "DAGBOK__NATS__PASSWORD": password("executor"),
            "DAGBOK__KUBERNETES__ENV_SECRETS": "nats",
            "DAGBOK__KUBERNETES__PENDING_TIMEOUT": "8s",
            "DAGBOK__KUBERNETES__DELETE_WORKER_PODS_ON_FAILURE": "true",
        }
        self.executor = Process("pods", argv, folder, env)

    def pods(self) -> list[dict[str, Any]]:
        """The pods that are there."""
        answer = httpx.get(f"http://127.0.0.1:{self.port}/api/v1/namespaces/jobs/pods")
        found: list[dict[str, Any]] = answer.json().get("items", [])
        return found

    def answers(self) -> bool:
        """Whether its API server does."""
        try:
            return httpx.get(f"http://127.0.0.1:{self.port}/api/v1/namespaces/jobs/pods").status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """All of it, running."""
    it = Cluster(tmp_path)
    it.server.start()
    wait_until("the cluster", it.answers)
    with it.apart as apart:
        it.executor.start()
        apart.services["pods"] = it.executor
        wait_until("DAG pods", lambda: apart.api.get("/dags/pods"))
        yield it
    it.server.kill()


# What the cluster says of a pod that fits nowhere.
WORDS = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu"


def failures(records: list[dict[str, Any]], task_id: str) -> list[dict[str, Any]]:
    """What is said of a task's failed tries."""
    facts = [fact for record in records for fact in record["facts"]]
    return [fact["failure"] for fact in facts if fact["type"] == "TryFailed" and fact["task_id"] == task_id]


def test_a_dag_runs_in_pods_and_what_takes_them_away_is_told(cluster: Cluster) -> None:
    """Values go from pod to pod; a kill for memory costs a retry, an eviction none; who can't begin says why."""
    it = cluster.apart
    it.cli.ok("dags", "trigger", "pods", "--run-id", "r")
    # While it waits, in the cluster's own words.
    why = "/dagbok/runs/pods/r/tasks/unschedulable/why"

    def told() -> dict[str, Any] | None:
        found: dict[str, Any] = it.api.get(why)
        return found if WORDS in found["message"] else None

    waits = wait_until("why says what the cluster says", told, 30)["is"]["reasons"][0]
    assert (waits["kind"], WORDS in waits["message"]) == ("held", True), waits
    assert it.api.wait_run("pods", "r", patience=120) == "failed"
    records = it.api.events()
    facts = [fact for record in records for fact in record["facts"]]
    assert {fact["executor"].startswith("pod-pods-") for fact in facts if fact["type"] == "TryStarted"} == {True}
    [memory] = failures(records, "oom")
    assert memory["kind"] == "out_of_memory"
    assert "64Mi" in memory["message"]
    assert memory["out_of_memory"]["limit_bytes"] == 64 << 20
    [gone] = failures(records, "evicted")
    assert gone["kind"] == "executor"
    assert "evicted by request" in gone["message"], gone
    for failure in failures(records, "image"):
        assert failure["kind"] == "could_not_start"
        assert "ErrImagePull: manifest unknown" in failure["message"], failure
    for failure in failures(records, "unschedulable"):
        assert WORDS in failure["message"], failure
    tasks = it.api.get("/dags/pods/dagRuns/r/taskInstances")["task_instances"]
    states = {task["task_id"]: (task["state"], task["try_number"]) for task in tasks}
    assert states == {
        "one": ("success", 1),
        "two": ("success", 1),
        "oom": ("success", 2),
        "evicted": ("success", 2),
        "image": ("failed", 2),
        "unschedulable": ("failed", 2),
    }
    assert "from a pod yes True" in it.cli.ok("tasks", "logs", "pods", "r", "one")
    assert "got 42" in it.cli.ok("tasks", "logs", "pods", "r", "two")
    left = it.cli.ok("tasks", "logs", "pods", "r", "evicted", "--try", "1")
    assert "this is all that is left of it" in left
    assert "evicted by request" in left
    wait_until("no pod is left", lambda: not cluster.pods())


def test_a_pod_goes_on_while_whoever_made_it_is_restarted(cluster: Cluster) -> None:
    """The executor of pods is killed and begun anew: the pod is neither lost nor made twice, and is cleared away."""
    it = cluster.apart
    (it.dags / "slow.py").write_text(
        "import time\nfrom datetime import datetime\nfrom airflow.sdk import DAG, task\n"
        "with DAG('slow', start_date=datetime(2024, 1, 1), schedule=None):\n"
        "    @task\n    def slow():\n        time.sleep(8)\n        print('to its end')\n    slow()\n"
    )
    wait_until("DAG slow", lambda: it.api.get("/dags/slow"))
    it.cli.ok("dags", "trigger", "slow", "--run-id", "r")

    def begun() -> bool:
        return any(fact["type"] == "TryStarted" for record in it.api.events() for fact in record["facts"])

    wait_until("the try begins", begun)
    cluster.executor.kill()
    assert LEASE < 8
    cluster.executor.start()
    assert it.api.wait_run("slow", "r") == "success"
    [task] = it.api.get("/dags/slow/dagRuns/r/taskInstances")["task_instances"]
    assert task["try_number"] == 1
    wait_until("no pod is left", lambda: not cluster.pods())
