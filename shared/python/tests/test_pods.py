"""What tasks say of their pods, as their users write it, and as Kubernetes is sent it."""

import json
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from dagbok.exceptions import AirflowException
from dagbok.parsing.pods import POD_OVERRIDE_BYTES, pod_override_of, wants_pod
from dagbok.parsing.resources import of_machine


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
            {"pod_override": {"spec": {"containers": [{"image": "x"}]}}},
            r"`spec.containers\[0\].name` must be a text",
        ),
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


def task(**fields: Any) -> Any:
    given = {"executor_config": {}, "resources": None, "run_as_user": None, "executor": None}
    return SimpleNamespace(**{**given, **fields})


def test_an_executor_named_is_a_label_that_only_who_makes_pods_has() -> None:
    assert of_machine(task(executor="KubernetesExecutor")) == {
        "resources": {"labels": {"executor": "KubernetesExecutor"}}
    }
    assert of_machine(task(executor="LocalExecutor")) == of_machine(task()) == {}
    assert wants_pod("airflow.providers.cncf.kubernetes.executors.kubernetes_executor.KubernetesExecutor")
    told = of_machine(task(executor_config={"pod_override": pod(image="mine:1")}))
    assert json.loads(told["pod_override"])["spec"]["containers"][0]["image"] == "mine:1"
