"""What tasks say of their pods, as their users write it, and as Kubernetes is sent it."""

import json
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from dagbok.authoring.dag import DAG
from dagbok.authoring.operator import BaseOperator
from dagbok.exceptions import AirflowException
from dagbok.parsing import pods
from dagbok.parsing.pods import POD_OVERRIDE_BYTES, kept_once, pod_override_of, wants_pod
from dagbok.parsing.resources import ignored_arguments_of, ignored_of, of_machine
from dagbok.parsing.spec import SpecError, dag_spec


class Model:
    """As the client's models are: attributes in Python's names, and a map of them to the API's."""

    attribute_map: ClassVar[dict[str, str]] = {}
    openapi_types: ClassVar[dict[str, str]] = {}

    def __init__(self, **fields: Any) -> None:
        for name in self.openapi_types:
            setattr(self, name, fields.get(name))


class Container(Model):
    attribute_map: ClassVar[dict[str, str]] = {
        "name": "name",
        "image": "image",
        "volume_mounts": "volumeMounts",
    }
    openapi_types = attribute_map


class Spec(Model):
    attribute_map: ClassVar[dict[str, str]] = {"containers": "containers", "node_selector": "nodeSelector"}
    openapi_types = attribute_map


class Pod(Model):
    attribute_map: ClassVar[dict[str, str]] = {"metadata": "metadata", "spec": "spec"}
    openapi_types = attribute_map


def _endless() -> dict[str, Any]:
    one: dict[str, Any] = {"spec": {}}
    one["spec"]["containers"] = one
    return one


def pod(**container: Any) -> Pod:
    return Pod(spec=Spec(containers=[Container(name="base", **container)], node_selector={"disk": "ssd"}))


def test_models_become_what_the_api_is_sent() -> None:
    told = pod_override_of(
        {"pod_override": pod(image="mine:1", volume_mounts=[{"mountPath": "/x", "name": "x"}])}
    )
    assert json.loads(told or "") == {
        "spec": {
            "containers": [
                {"name": "base", "image": "mine:1", "volumeMounts": [{"mountPath": "/x", "name": "x"}]}
            ],
            "nodeSelector": {"disk": "ssd"},
        }
    }
    assert pod_override_of({"pod_override": None}) is pod_override_of({}) is pod_override_of(None) is None


def test_the_real_client_s_models_are_written_as_it_writes_them_itself() -> None:
    k8s = pytest.importorskip("kubernetes.client")
    real = k8s.V1Pod(
        metadata=k8s.V1ObjectMeta(labels={"team": "ml"}),
        spec=k8s.V1PodSpec(
            containers=[
                k8s.V1Container(
                    name="base",
                    env=[k8s.V1EnvVar(name="A", value="1")],
                    resources=k8s.V1ResourceRequirements(limits={"nvidia.com/gpu": "1"}),
                )
            ],
            affinity=k8s.V1Affinity(),
            tolerations=[k8s.V1Toleration(key="gpu", operator="Exists")],
        ),
    )
    written = k8s.ApiClient().sanitize_for_serialization(real)
    assert json.loads(pod_override_of({"pod_override": real}) or "") == written


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"pod_override": "base"}, "must be a V1Pod of the Kubernetes client, not str"),
        ({"pod_override": [1]}, "must be a V1Pod of the Kubernetes client, not list"),
        (
            {"pod_override": {"spec": {"containers": [{"name": 3}]}}},
            r"`spec.containers\[0\].name` must be a text",
        ),
        (
            {"pod_override": {"spec": {"hostAliases": {"a"}}}},
            "spec.hostAliases is a set, which can't be part",
        ),
        ({"pod_override": {"spec": {"priority": float("nan")}}}, "has no JSON form"),
        ({"pod_override": {"metadata": {"labels": {"a": "\ud800"}}}}, "has no JSON form"),
        ({"pod_override": _endless()}, "too deep, or holds itself"),
        ({"pod_override": {"spec": {"containers": {"name": "base"}}}}, "`spec.containers` must be a list"),
        ({"pod_override": {"spec": []}}, "`spec` must be a mapping, not list"),
        ({"pod_override": {"spec": {"volumes": [object()]}}}, r"\.spec\.volumes\[0\] is a object"),
        ({"pod_override": pod(), "KubernetesExecutor": {"image": "x"}}, "has both"),
        (
            {"pod_override": {"metadata": {"labels": {"a": "x" * POD_OVERRIDE_BYTES}}}},
            "bytes of JSON; it may have 65536",
        ),
    ],
)
def test_what_is_no_pod_is_the_task_s_error(config: Any, says: str) -> None:
    with pytest.raises(AirflowException, match=says):
        pod_override_of(config)


@pytest.mark.parametrize(
    "given",
    [
        {"spec": {"containers": [{"image": "x"}]}},
        {"spec": {"containers": None}, "metadata": None},
        {"spec": None},
    ],
)
def test_what_may_be_left_out_is_no_error(given: Any) -> None:
    assert json.loads(pod_override_of({"pod_override": given}) or "") == given


def task(**fields: Any) -> Any:
    given = {
        "executor_config": {},
        "resources": None,
        "run_as_user": None,
        "executor": None,
        "queue": "default",
        "ignored_arguments": ["executor is ignored: a task's queue says where it runs"],
    }
    return SimpleNamespace(**{**given, **fields})


@pytest.fixture
def makes_pods(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pods, "_QUEUE", "kubernetes")


@pytest.mark.usefixtures("makes_pods")
def test_an_executor_named_is_a_label_and_the_queue_of_pods() -> None:
    asked = {"resources": {"labels": {"executor": "KubernetesExecutor"}}}
    assert of_machine(task(executor="KubernetesExecutor")) == {**asked, "queue": "kubernetes"}
    assert of_machine(task(executor="KubernetesExecutor", queue="gpu")) == asked
    own = {"labels": {"executor": "mine"}}
    assert of_machine(task(executor="KubernetesExecutor", queue="gpu", executor_config=own)) == asked
    assert of_machine(task(executor="LocalExecutor")) == of_machine(task()) == {}
    assert ignored_arguments_of(task(executor="KubernetesExecutor")) == []
    # By that of Airflow, too, the queue says where a task runs.
    assert of_machine(task(executor="CeleryKubernetesExecutor")) == {}
    assert len(ignored_arguments_of(task(executor="CeleryKubernetesExecutor"))) == 1
    assert wants_pod("airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor")
    asks = task(executor_config={"pod_override": pod(image="mine:1")})
    told = of_machine(asks)
    assert json.loads(told["pod_override"])["spec"]["containers"][0]["image"] == "mine:1"
    assert ignored_of(asks) == []


@pytest.mark.parametrize(
    "override",
    [
        pod(),
        {"spec": {"containers": [{"image": "x"}, None]}},
        {"metadata": {"labels": {"a": "x" * POD_OVERRIDE_BYTES, "b": "\ud800", "c": {1}}}},
        _endless(),
    ],
)
def test_where_no_pods_are_made_nothing_is_asked_or_refused(override: Any) -> None:
    asks = task(executor="KubernetesExecutor", executor_config={"pod_override": override})
    assert of_machine(asks) == {}
    assert ignored_arguments_of(asks) == ["executor is ignored: a task's queue says where it runs"]
    assert ignored_of(asks) == [
        "executor_config: of pod_override only the resources of its container are read"
    ]


def test_equal_pods_are_kept_once() -> None:
    tasks: list[dict[str, Any]] = [
        {"pod_override": "a"},
        {},
        {"pod_override": "b"},
        {"pod_override": "a"},
    ]
    assert kept_once(tasks) == ["a", "b"]
    assert tasks == [{"pod_override": 0}, {}, {"pod_override": 1}, {"pod_override": 0}]


def _dag(override: Any) -> Any:
    with DAG("d", schedule=None, default_args={"executor_config": {"pod_override": override}}) as dag:
        for n in range(3):
            BaseOperator(task_id=f"t{n}", executor="KubernetesExecutor")
    return dag


def test_a_dag_s_spec_is_as_ever_where_no_pods_are_made() -> None:
    spec = dag_spec(_dag({"spec": {"volumes": {1}}}), ".", "d.py")
    assert "pod_overrides" not in spec
    assert not any({"queue", "pod_override", "resources"} & one.keys() for one in spec["tasks"])
    assert len(spec["not_carried_out"]) == 2


@pytest.mark.usefixtures("makes_pods")
def test_a_dag_s_spec_has_each_pod_once() -> None:
    spec = dag_spec(_dag({"spec": {"nodeSelector": {"disk": "ssd"}}}), ".", "d.py")
    assert spec["pod_overrides"] == ['{"spec":{"nodeSelector":{"disk":"ssd"}}}']
    assert {(one["pod_override"], one["queue"]) for one in spec["tasks"]} == {(0, "kubernetes")}
    with pytest.raises(SpecError, match="is a set"):
        dag_spec(_dag({"spec": {"volumes": {1}}}), ".", "d.py")
