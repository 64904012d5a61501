"""Arguments as older releases of providers took them."""

from pathlib import Path
from typing import Any

import pytest

from dagbok.authoring.operator import BaseOperator
from dagbok.authoring.params import Param
from dagbok.compat.former import former_arguments
from dagbok.exceptions import ParamValidationError

# The API's own test reads the same lines.
DATE_TIMES_FILE = Path(__file__).with_name("date_times.txt")


def _operator(module: str, name: str, init: Any) -> Any:
    return type(BaseOperator)(name, (BaseOperator,), {"__module__": module, "__init__": init})


@pytest.mark.parametrize(("said", "now"), [(True, "success"), (False, "never"), ("force", "force")])
def test_dockers_auto_remove_was_a_truth(said: Any, now: str) -> None:
    def init(self: Any, *, auto_remove: str = "never", **kwargs: Any) -> None:
        self.auto_remove = auto_remove
        BaseOperator.__init__(self, **kwargs)

    kind = _operator("airflow.providers.docker.operators.docker", "DockerOperator", init)
    assert kind(task_id="t", auto_remove=said).auto_remove == now
    assert kind(task_id="t", default_args={"auto_remove": said}).auto_remove == now


def test_pods_deletion_was_an_argument_of_its_own() -> None:
    def init(self: Any, *, on_finish_action: str = "delete_pod", **kwargs: Any) -> None:
        self.on_finish_action = on_finish_action
        BaseOperator.__init__(self, **kwargs)

    kind = _operator("airflow.providers.cncf.kubernetes.operators.pod", "KubernetesPodOperator", init)
    assert kind(task_id="t", is_delete_operator_pod=False).on_finish_action == "keep_pod"
    assert kind(task_id="t", is_delete_operator_pod=True, on_finish_action="x").on_finish_action == "x"


def test_an_installed_release_that_takes_it_keeps_it() -> None:
    given = {"is_delete_operator_pod": False}
    change = former_arguments("airflow.providers.cncf.kubernetes.operators.pod", "KubernetesPodOperator")
    assert change is not None
    change(given, frozenset(given))
    assert given == {"is_delete_operator_pod": False}
    assert former_arguments("mine", "DockerOperator") is None


DATE_TIMES = [line.split(" ", 1) for line in DATE_TIMES_FILE.read_text().splitlines()]


@pytest.mark.parametrize("value", [text for wanted, text in DATE_TIMES if wanted == "yes"])
def test_a_date_time_of_a_param_needs_no_offset(value: str) -> None:
    assert Param(value, type="string", format="date-time").resolve() == value


@pytest.mark.parametrize("value", [text for wanted, text in DATE_TIMES if wanted == "no"])
def test_what_is_no_date_time_is_refused(value: str) -> None:
    with pytest.raises(ParamValidationError, match="is not a 'date-time'"):
        Param(value, type="string", format="date-time").resolve()
