"""What tasks ask of their machine, in each of the forms that Airflow's users write it in."""

from types import SimpleNamespace
from typing import Any

import pytest

from dagbok.exceptions import AirflowException
from dagbok.parsing.resources import asked_for, cpu_of, memory_of

GIB = 2**30


def spec(config: object = None, resources: object = None) -> Any:
    return asked_for(config, resources).spec()


def test_plain_figures_are_both_asked_for_and_the_limit() -> None:
    told = spec({"memory": "2Gi", "cpu": 1.5, "gpus": 1, "processes": 64, "resources": {"licence": 2}})
    assert told == {
        "resources": {"memory": 2 * GIB, "cpu_milli": 1500, "gpus": 1, "custom": {"licence": 2}},
        "limits": {"memory": 2 * GIB, "cpu_milli": 1500, "processes": 64},
    }
    assert spec({"memory_limit": "1Gi"}) == {"limits": {"memory": GIB}}
    assert spec({}) == spec(None) == {}


@pytest.mark.parametrize("as_models", [False, True])
def test_a_pod_override_says_requests_and_limits_of_its_base_container(as_models: bool) -> None:
    requests = {"memory": "1Gi", "cpu": "500m"}
    limits = {"memory": "2Gi", "nvidia.com/gpu": "1"}
    if as_models:
        base = SimpleNamespace(
            name="base", resources=SimpleNamespace(requests=requests, limits=limits, claims=None)
        )
        side = SimpleNamespace(name="side", resources=None)
        pod: Any = SimpleNamespace(spec=SimpleNamespace(containers=[side, base]))
    else:
        base = {"name": "base", "resources": {"requests": requests, "limits": limits}}
        pod = {"spec": {"containers": [{"name": "side"}, base]}}
    asked = asked_for({"pod_override": pod}, None)
    assert asked.spec() == {
        "resources": {"memory": GIB, "cpu_milli": 500, "gpus": 1},
        "limits": {"memory": 2 * GIB},
    }
    assert asked.ignored == ["executor_config: of pod_override only the resources of its container are read"]
    empty = SimpleNamespace(spec=None) if as_models else {}
    assert spec({"pod_override": empty}) == {}


def test_older_forms_are_read_and_what_is_not_is_told() -> None:
    old = {"KubernetesExecutor": {"request_memory": "512Mi", "limit_cpu": 2, "image": "x"}, "other": 1}
    asked = asked_for(old, None)
    assert asked.spec() == {
        "resources": {"memory": 512 * 2**20},
        "limits": {"cpu_milli": 2000},
    }
    assert asked.ignored == [
        "executor_config: `image` of KubernetesExecutor is ignored",
        "executor_config: `other` is ignored",
    ]
    told = asked_for(None, {"cpus": 2, "ram": 512, "disk": 9, "gpus": 1})
    assert told.spec()["resources"] == {"cpu_milli": 2000, "memory": 512 * 2**20, "gpus": 1}
    assert told.ignored == ["resources: `disk` is ignored"]


def test_figures_that_are_none_are_said() -> None:
    assert memory_of("memory", "1.5G") == 1_500_000_000
    assert memory_of("memory", "2GB") == 2_000_000_000, "as the executor's own configuration reads it"
    assert memory_of("memory", "1Pi") == 2**50
    assert memory_of("memory", "5000m") == 5
    assert memory_of("memory", "7B") == 7
    assert cpu_of("cpu", "250m") == 250
    assert cpu_of("cpu", "250000u") == cpu_of("cpu", "250000000n") == 250
    pod = {"spec": {"containers": [{"name": "base", "resources": {"limits": {"memory": "0", "cpu": 0}}}]}}
    assert spec({"pod_override": pod}) == {}, "0 is no limit"
    for value in ("2 pints", "", "Gi", "-1Gi", "nan", "1e400", True, None, [1]):
        with pytest.raises(AirflowException, match="memory is .*, which is no amount of memory"):
            memory_of("memory", value)
    for value in ("much", "-1", "inf", None, False):
        with pytest.raises(AirflowException, match="cpu is .*, which is no number of CPUs"):
            cpu_of("cpu", value)
    with pytest.raises(AirflowException, match="gpus is 1.5, which is no whole number"):
        spec({"gpus": 1.5})
    with pytest.raises(AirflowException, match="executor_config must be a dict"):
        spec(["memory"])


def test_labels_are_names_with_values_or_names_alone() -> None:
    asked = asked_for({"labels": {"region": "eu", "gpu": True, "tier": 2}}, None)
    assert asked.resources == {"labels": {"region": "eu", "gpu": "true", "tier": "2"}}
    assert asked_for({"labels": ["highmem", "local"]}, None).resources == {
        "labels": {"highmem": "true", "local": "true"}
    }
    assert asked_for({"labels": "highmem"}, None).resources == {"labels": {"highmem": "true"}}
    assert asked_for({"labels": {}}, None).spec() == {}
    assert not asked.ignored


@pytest.mark.parametrize("labels", [{"region": None}, {"": "eu"}, {"region": ["eu", "us"]}, 7])
def test_a_label_that_can_not_be_understood_is_an_error(labels: object) -> None:
    with pytest.raises(AirflowException, match="executor_config\\['labels'\\]"):
        asked_for({"labels": labels}, None)
