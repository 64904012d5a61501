"""Operators that ask people: nothing of them runs until somebody answers, or the time for that is up.

What is asked goes with the word that the task waits, and stands in the log with it. Whoever answers is
checked by the scheduler; no trigger runs meanwhile.
"""

from __future__ import annotations

import datetime as dt
import warnings
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict
from urllib.parse import urlencode, urlparse, urlunparse

from dagbok.authoring.operator import BaseOperator
from dagbok.authoring.params import ParamsDict
from dagbok.exceptions import AirflowException, TaskDeferred
from dagbok.operators.branching import BranchMixIn, SkipMixin
from dagbok.surface.triggers import BaseTrigger

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from dagbok.surface.triggers import TriggerEvent

Json = dict[str, Any]


class HITLUser(TypedDict):
    """A person who may answer."""

    id: str
    name: str


class HITLTriggerEventSuccessPayload(TypedDict, total=False):
    """What a task goes on with once somebody answered."""

    chosen_options: list[str]
    params_input: Json
    responded_by_user: HITLUser | None
    responded_at: dt.datetime
    timedout: bool


class HITLTriggerEventFailurePayload(TypedDict):
    """What a task goes on with where nobody did."""

    error: str
    error_type: Literal["timeout", "unknown", "validation"]


class HITLTriggerEventError(Exception):
    """There is no answer that the task could go on with."""


class HITLTimeoutError(HITLTriggerEventError):
    """Nobody answered in time."""


class HITLRejectException(AirflowException):
    """Somebody said no, where that fails the task."""


class HITLTrigger(BaseTrigger):
    """Stands for a person's answer. Nobody runs it: the scheduler hears answers itself."""

    def __init__(
        self,
        *,
        ti_id: Any = None,
        options: list[str] | None = None,
        params: Json | None = None,
        defaults: list[str] | None = None,
        multiple: bool = False,
        timeout_datetime: dt.datetime | None = None,
        poke_interval: float = 5.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.ti_id, self.options, self.params = ti_id, options or [], params or {}
        self.defaults, self.multiple = defaults, multiple
        self.timeout_datetime, self.poke_interval = timeout_datetime, poke_interval

    def serialize(self) -> tuple[str, Json]:
        """Return the class's path; what is asked is said otherwise."""
        return ("airflow.providers.standard.triggers.hitl.HITLTrigger", {})

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Say that it has nothing to run."""
        raise AirflowException("what a task asks people is answered by the API, and not by a trigger")
        yield  # pragma: no cover


class HITLOperator(BaseOperator):
    """Asks a person to choose, and perhaps to fill in fields; goes on with the answer."""

    template_fields: Sequence[str] = ("subject", "body")

    def __init__(
        self,
        *,
        subject: str,
        options: list[str],
        body: str | None = None,
        defaults: str | list[str] | None = None,
        multiple: bool = False,
        params: Any = None,
        notifiers: Any = None,
        assigned_users: Any = None,
        response_timeout: dt.timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if self.execution_timeout and not response_timeout:
            warnings.warn(
                "Passing `execution_timeout` to HITLOperator to control the human response wait is "
                "deprecated. Use `response_timeout` instead.",
                DeprecationWarning,
                stacklevel=2,
            )
            response_timeout, self.execution_timeout = self.execution_timeout, None
        self.response_timeout = response_timeout
        self.subject, self.body, self.options = subject, body, options
        self.defaults = [defaults] if isinstance(defaults, str) else defaults
        self.multiple = multiple
        # Those of the DAG are no fields of this form.
        self.params = params if isinstance(params, ParamsDict) else ParamsDict(params or {})
        several = isinstance(notifiers, list | tuple)
        self.notifiers = list(notifiers) if several else [notifiers] if notifiers is not None else []
        self.assigned_users = [assigned_users] if isinstance(assigned_users, dict) else assigned_users
        self.validate_options()
        self.validate_params()
        self.validate_defaults()
        self.hitl_summary_extra: Json = {}

    @property
    def hitl_summary(self) -> Json:
        """What is asked, and what came of it so far."""
        return {
            "subject": self.subject,
            "body": self.body,
            "options": self.options,
            "defaults": self.defaults,
            "multiple": self.multiple,
            "assigned_users": self.assigned_users,
            "serialized_params": self.serialized_params or None,
            **self.hitl_summary_extra,
        }

    def validate_options(self) -> None:
        """Raise where there is nothing to choose from."""
        if not self.options:
            raise ValueError('"options" cannot be empty.')
        if odd := [option for option in self.options if not isinstance(option, str)]:
            raise ValueError(f'"options" must be texts, since people choose by them; {odd!r} are none.')

    def validate_params(self) -> None:
        """Raise where a field has a name that is taken."""
        if "_options" in self.params:
            raise ValueError('"_options" is not allowed in params')

    def validate_defaults(self) -> None:
        """Raise where the defaults could not be chosen."""
        if self.defaults is None:
            return
        if not set(self.defaults).issubset(self.options):
            raise ValueError(f'defaults "{self.defaults}" should be a subset of options "{self.options}"')
        if self.multiple is False and len(self.defaults) > 1:
            raise ValueError('More than one defaults given when "multiple" is set to False.')

    @property
    def serialized_params(self) -> Json:
        """The fields, each with its value, description and schema."""
        fields = {name: self.params.get_param(name) for name in self.params}
        return {name: {**param.dump(), "value": _value(param)} for name, param in fields.items()}

    def ask(self) -> Json:
        """Return what is asked, as the log has it."""
        import json

        fields = self.serialized_params
        asked: Json = {"subject": str(self.subject), "options": list(map(str, self.options))}
        if self.body is not None:
            asked["body"] = str(self.body)
        if self.defaults is not None:
            asked["defaults"] = list(map(str, self.defaults))
        if self.multiple:
            asked["multiple"] = True
        if fields:
            asked["params"] = json.dumps(fields, default=str)
        if self.assigned_users:
            users = ({"id": str(user["id"]), "name": str(user["name"])} for user in self.assigned_users)
            asked["assigned_users"] = list(users)
        return asked

    def execute(self, context: Any) -> Any:
        """Ask, and wait."""
        until = dt.datetime.now(dt.UTC) + self.response_timeout if self.response_timeout else None
        self.hitl_summary_extra["timeout_datetime"] = until.isoformat() if until else None
        self.log.info("Waiting for response")
        for notifier in self.notifiers:
            notifier(context)
        trigger = HITLTrigger(options=self.options, defaults=self.defaults, timeout_datetime=until)
        raise TaskDeferred(
            trigger=trigger,
            method_name="execute_complete",
            timeout=self.response_timeout,
            ask=self.ask(),
        )

    def execute_complete(self, context: Any, event: Json) -> Any:
        """Go on with the answer; return what was chosen, and by whom."""
        if "error" in event:
            self.hitl_summary_extra["error_type"] = event["error_type"]
            self.process_trigger_event_error(event)
        chosen_options, params_input = event["chosen_options"], event["params_input"] or {}
        self.validate_chosen_options(chosen_options)
        self.validate_params_input(params_input)
        answer = {
            "chosen_options": chosen_options,
            "params_input": params_input,
            "responded_at": event["responded_at"],
            "responded_by_user": event["responded_by_user"],
        }
        self.hitl_summary_extra.update({**answer, "responded_at": event["responded_at"].isoformat()})
        return answer

    def process_trigger_event_error(self, event: Json) -> None:
        """Raise what came in the place of an answer."""
        if event["error_type"] == "timeout":
            raise HITLTimeoutError(event)
        raise HITLTriggerEventError(event)

    def validate_chosen_options(self, chosen_options: list[str]) -> None:
        """Raise where something was chosen that was not asked."""
        if diff := set(chosen_options) - set(self.options):
            raise ValueError(f"Responses {diff} not in {self.options}")

    def validate_params_input(self, params_input: Mapping[str, Any]) -> None:
        """Raise where other fields were filled in than were asked for, or one against its schema."""
        if self.params and params_input and set(self.serialized_params) ^ set(params_input):
            raise ValueError(f"params_input {params_input} does not match params {self.params}")
        for key, value in params_input.items():
            self.params.get_param(key).resolve(value)
            self.params[key] = value

    def generate_link_to_ui(
        self,
        *,
        task_instance: Any,
        base_url: str | None = None,
        options: str | list[str] | None = None,
        params_input: Json | None = None,
    ) -> str:
        """Return the address where the task's question is answered."""
        from dagbok.models.configuration import conf

        query: Json = {}
        options = [options] if isinstance(options, str) else options
        if options:
            if diff := set(options) - set(self.options):
                raise ValueError(f"options {diff} are not valid options")
            query["_options"] = options
        if params_input:
            if diff := set(params_input) - set(self.params):
                raise ValueError(f"params {diff} are not valid params")
            query.update(params_input)
        if not (base_url := base_url or conf.get("api", "base_url", fallback=None)):
            raise ValueError("Not able to retrieve base_url")
        query["map_index"] = task_instance.map_index
        parsed, ti = urlparse(base_url), task_instance
        path = f"/dags/{ti.dag_id}/runs/{ti.run_id}/tasks/{ti.task_id}/required_actions"
        return urlunparse((parsed.scheme, parsed.netloc, path, "", urlencode(query), ""))

    @staticmethod
    def generate_link_to_ui_from_context(
        *,
        context: Any,
        base_url: str | None = None,
        options: list[str] | None = None,
        params_input: Json | None = None,
    ) -> str:
        """Return the same for the task of a context."""
        task = context["task"]
        if not isinstance(task, HITLOperator):
            raise ValueError("This method only supports HITLOperator")
        return task.generate_link_to_ui(
            task_instance=context["task_instance"],
            base_url=base_url,
            options=options,
            params_input=params_input,
        )


def _value(param: Any) -> Any:
    try:
        return param.resolve(suppress_exception=True)
    except Exception:
        return None


class ApprovalOperator(HITLOperator, SkipMixin):
    """Asks for a yes; a no skips what is below."""

    inherits_from_skipmixin = True
    FIXED_ARGS = ("options", "multiple")
    APPROVE = "Approve"
    REJECT = "Reject"

    def __init__(
        self, *, ignore_downstream_trigger_rules: bool = False, fail_on_reject: bool = False, **kwargs: Any
    ) -> None:
        for arg in self.FIXED_ARGS:
            if arg in kwargs:
                raise ValueError(f"Passing {arg} to ApprovalOperator is not allowed.")
        self.ignore_downstream_trigger_rules = ignore_downstream_trigger_rules
        self.fail_on_reject = fail_on_reject
        super().__init__(options=[self.APPROVE, self.REJECT], multiple=False, **kwargs)

    def execute_complete(self, context: Any, event: Json) -> Any:
        """Go on after a yes; skip what is below after a no."""
        answer = super().execute_complete(context=context, event=event)
        chosen = answer["chosen_options"][0]
        self.hitl_summary_extra["approved"] = chosen == self.APPROVE
        if chosen == self.APPROVE:
            self.log.info("Approved. Proceeding with downstream tasks...")
            return answer
        if self.fail_on_reject and chosen == self.REJECT:
            raise HITLRejectException('Receive "Reject"')
        if not self.downstream_task_ids:
            self.log.info("No downstream tasks; nothing to do.")
            return answer
        task = context["task"]
        below = task.get_flat_relatives(upstream=False) if self.ignore_downstream_trigger_rules else None
        below = task.get_direct_relatives(upstream=False) if below is None else below
        self.log.info("Skipping downstream tasks")
        self.skip(ti=context["ti"], tasks=[one for one in below if not one.is_teardown])
        return answer


class HITLBranchOperator(HITLOperator, BranchMixIn):
    """Follows the tasks that a person chooses."""

    inherits_from_skipmixin = True

    def __init__(self, *, options_mapping: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.options_mapping = options_mapping or {}
        self.validate_options_mapping()

    def validate_options_mapping(self) -> None:
        """Raise where the mapping names what is no option, or leads to what is no task's id."""
        if invalid := set(self.options_mapping) - set(self.options):
            raise ValueError(f"`options_mapping` contains keys that are not in `options`: {sorted(invalid)}")
        odd = {k: (v, type(v).__name__) for k, v in self.options_mapping.items() if not isinstance(v, str)}
        if odd:
            raise ValueError(f"`options_mapping` values must be strings (task_ids).\nInvalid entries: {odd}")

    def execute_complete(self, context: Any, event: Json) -> Any:
        """Skip what was not chosen."""
        chosen = super().execute_complete(context=context, event=event)["chosen_options"]
        chosen = [self.options_mapping.get(option, option) for option in chosen]
        self.hitl_summary_extra["branches_to_execute"] = chosen
        return self.do_branch(context=context, branches_to_execute=chosen)


class HITLEntryOperator(HITLOperator):
    """Asks a person to fill in fields."""

    OK = "OK"

    def __init__(self, **kwargs: Any) -> None:
        if "options" not in kwargs:
            kwargs["options"] = [self.OK]
            kwargs.setdefault("defaults", [self.OK])
        super().__init__(**kwargs)
