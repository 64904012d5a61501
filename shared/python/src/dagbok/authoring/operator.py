"""The base of all operators: a task's settings, its place in the graph, its hooks at run time."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from dagbok.authoring import session
from dagbok.authoring.defaults import BaseOperatorMeta
from dagbok.authoring.deferring import Deferring
from dagbok.authoring.edges import connect
from dagbok.authoring.enums import TRIGGER_RULE_ALIASES, TriggerRule, WeightRule
from dagbok.authoring.ids import check_key
from dagbok.authoring.operator_args import as_timedelta, as_utc, refused_arguments, warned_arguments
from dagbok.authoring.refusal import Refusal
from dagbok.authoring.relations import Relations
from dagbok.authoring.setups import Marks, note
from dagbok.authoring.xcom_arg import XComArg, operators_in
from dagbok.durations import plain
from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    import logging

    from dagbok.authoring.dag import DAG
    from dagbok.authoring.group import TaskGroup
    from dagbok.authoring.mapping import Mapped, Partial

DEFAULT_OWNER = "airflow"
DEFAULT_POOL = "default_pool"
DEFAULT_QUEUE = "default"
DEFAULT_RETRY_DELAY = timedelta(seconds=300)

# Arguments that become attributes as they are.
_AS_GIVEN = (
    "email", "email_on_retry", "email_on_failure", "retry_exponential_backoff", "depends_on_past",
    "wait_for_downstream", "priority_weight", "weight_rule", "pool_slots", "sla", "execution_timeout",
    "on_execute_callback", "on_failure_callback", "on_success_callback", "on_retry_callback",
    "on_skipped_callback", "resources", "run_as_user", "max_active_tis_per_dagrun", "executor",
    "do_xcom_push", "multiple_outputs", "map_index_template", "doc", "doc_md", "doc_json", "doc_yaml",
    "doc_rst", "retry_policy",
)  # fmt: skip


class BaseOperator(Deferring, Marks, Relations, metaclass=BaseOperatorMeta):
    """One task. Subclasses define `execute(context)`; the `template_fields` are rendered before it."""

    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()
    template_fields_renderers: ClassVar[dict[str, str]] = {}
    ui_color: str = "#fff"
    ui_fgcolor: str = "#000"
    operator_extra_links: Collection[Any] = ()
    shallow_copy_attrs: Sequence[str] = ()
    start_trigger_args: Any = None
    start_from_trigger: bool = False
    inherits_from_skipmixin: bool = False
    # Whether its tries are told the data interval of the run after theirs.
    _wants_next_interval: ClassVar[bool] = False

    email: str | Iterable[str] | None
    email_on_retry: bool
    email_on_failure: bool
    retry_exponential_backoff: bool | float
    depends_on_past: bool
    wait_for_downstream: bool
    priority_weight: int
    weight_rule: Any
    pool_slots: int
    sla: timedelta | None
    execution_timeout: timedelta | None
    on_execute_callback: Any
    on_failure_callback: Any
    on_success_callback: Any
    on_retry_callback: Any
    on_skipped_callback: Any
    resources: dict[str, Any] | None
    run_as_user: str | None
    max_active_tis_per_dagrun: int | None
    executor: str | None
    do_xcom_push: bool
    multiple_outputs: bool
    map_index_template: str | None
    doc: str | None
    doc_md: str | None
    doc_json: str | None
    doc_yaml: str | None
    doc_rst: str | None

    _default_args: dict[str, Any]
    _default_params: dict[str, Any]
    _site: tuple[str, int]
    _ready: bool = False

    def __init__(
        self,
        task_id: str,
        owner: str | None = None,
        email: str | Iterable[str] | None = None,
        email_on_retry: bool = True,
        email_on_failure: bool = True,
        retries: int | None = 0,
        retry_delay: timedelta | float = DEFAULT_RETRY_DELAY,
        retry_exponential_backoff: bool | float = False,
        max_retry_delay: timedelta | float | None = None,
        retry_policy: Any = None,
        start_date: datetime | str | None = None,
        end_date: datetime | str | None = None,
        depends_on_past: bool = False,
        ignore_first_depends_on_past: bool = True,
        wait_for_past_depends_before_skipping: bool = False,
        wait_for_downstream: bool = False,
        dag: DAG | None = None,
        params: Mapping[str, Any] | None = None,
        default_args: dict[str, Any] | None = None,
        priority_weight: int = 1,
        weight_rule: Any = WeightRule.DOWNSTREAM,
        queue: str | None = DEFAULT_QUEUE,
        pool: str | None = None,
        pool_slots: int = 1,
        sla: timedelta | None = None,
        execution_timeout: timedelta | None = None,
        on_execute_callback: Any = None,
        on_failure_callback: Any = None,
        on_success_callback: Any = None,
        on_retry_callback: Any = None,
        on_skipped_callback: Any = None,
        pre_execute: Any = None,
        post_execute: Any = None,
        trigger_rule: str = TriggerRule.ALL_SUCCESS,
        resources: dict[str, Any] | None = None,
        run_as_user: str | None = None,
        task_concurrency: int | None = None,
        map_index_template: str | None = None,
        max_active_tis_per_dag: int | None = None,
        max_active_tis_per_dagrun: int | None = None,
        executor: str | None = None,
        executor_config: dict[str, Any] | None = None,
        do_xcom_push: bool = True,
        multiple_outputs: bool = False,
        inlets: Any = None,
        outlets: Any = None,
        task_group: TaskGroup | None = None,
        doc: str | None = None,
        doc_md: str | None = None,
        doc_json: str | None = None,
        doc_yaml: str | None = None,
        doc_rst: str | None = None,
        task_display_name: str | None = None,
        logger_name: str | None = None,
        allow_nested_operators: bool = True,
        provide_context: bool | None = None,
        **kwargs: Any,
    ) -> None:
        given = dict(locals())
        if kwargs:
            names = ", ".join(f"`{name}`" for name in kwargs)
            raise TypeError(f"{type(self).__name__} (task `{task_id}`) does not take {names}")
        super().__init__()
        self._take_place(task_id, dag or session.current_dag(), task_group or session.current_group())
        self.__dict__.update({name: given[name] for name in _AS_GIVEN})
        self._take_checked(given)
        for feature in refused_arguments(given):
            self._refuse(feature)
        self.ignored_arguments = warned_arguments(given)
        if self.task_group is not None:
            self.task_group.add(self)
        if not session.is_apart():
            note(self)

    def _take_place(self, task_id: str, dag: DAG | None, group: TaskGroup | None) -> None:
        """Get an id, and join the DAG."""
        apart = session.is_apart()
        if apart:
            group = None
        elif group is not None and dag is not None and group.dag_or_none not in {dag, None}:
            group = dag.task_group
        self.label = task_id
        self.task_id = check_key("task_id", group.child_id(task_id) if group else task_id)
        self.upstream_task_ids: set[str] = set()
        self.downstream_task_ids: set[str] = set()
        self.refusals: list[Refusal] = []
        self.task_group = group
        self.mapped: Mapped | None = None
        self._dag: DAG | None = dag if apart else None
        if dag is not None:
            self.dag = dag

    def _take_checked(self, given: Mapping[str, Any]) -> None:
        """Take the settings that are checked or completed."""
        self._said_owner: str | None = given["owner"]
        self.owner = self._said_owner or DEFAULT_OWNER
        self.retries = self._checked_retries(given["retries"])
        self.retry_delay = as_timedelta("retry_delay", given["retry_delay"], self.task_id)
        longest = given["max_retry_delay"]
        self.max_retry_delay = (
            None if longest is None else as_timedelta("max_retry_delay", longest, self.task_id)
        )
        self.start_date, self.end_date = (as_utc(name, given[name]) for name in ("start_date", "end_date"))
        self.task_params = {**self._default_params, **(given["params"] or {})}
        self.queue: str = given["queue"] or DEFAULT_QUEUE
        self.pool: str = given["pool"] or DEFAULT_POOL
        if self.execution_timeout is not None:
            if not isinstance(self.execution_timeout, timedelta):
                raise ValueError(
                    f"execution_timeout of task `{self.task_id}` must be a timedelta, "
                    f"not {type(self.execution_timeout).__name__}"
                )
            self.execution_timeout = plain(self.execution_timeout)
        self._pre_execute_hook, self._post_execute_hook = given["pre_execute"], given["post_execute"]
        self.trigger_rule = self._checked_trigger_rule(given["trigger_rule"])
        # Whoever waits for what comes after its past self waits for that itself, as in Airflow.
        self.depends_on_past = bool(given["depends_on_past"] or given["wait_for_downstream"])
        self.ignore_first_depends_on_past = bool(given["ignore_first_depends_on_past"])
        self.wait_for_past_depends_before_skipping = bool(given["wait_for_past_depends_before_skipping"])
        most = given["max_active_tis_per_dag"]
        self.max_active_tis_per_dag: int | None = given["task_concurrency"] if most is None else most
        self.executor_config: dict[str, Any] = given["executor_config"] or {}
        self.inlets, self.outlets = given["inlets"] or [], given["outlets"] or []
        self.task_display_name: str = given["task_display_name"] or self.task_id
        self._logger_name = given["logger_name"]

    def _checked_retries(self, retries: Any) -> int:
        if retries is None:
            return 0
        try:
            count = int(retries)
        except (TypeError, ValueError):
            raise AirflowException(
                f"retries of task `{self.task_id}` must be a whole number, not {retries!r}"
            ) from None
        if not 0 <= count <= 65535:
            raise AirflowException(f"retries of task `{self.task_id}` must be 0 to 65535, not {count}")
        return count

    def _checked_trigger_rule(self, rule: str) -> TriggerRule:
        text = str(getattr(rule, "value", rule))
        try:
            return TriggerRule(TRIGGER_RULE_ALIASES.get(text, text))
        except ValueError:
            known = ", ".join(sorted(TriggerRule.all_triggers()))
            raise AirflowException(
                f"trigger_rule of task `{self.task_id}` is {text!r}, which is none of: {known}"
            ) from None

    def _finish_init(self) -> None:
        if session.is_apart():
            return
        self.__dict__["_ready"] = True
        for name in self.template_fields:
            self._depend_on_results(self.__dict__.get(name))

    def _graph_is_done(self) -> None:
        """Draw no more edges from arguments: the task runs now, and its fields hold values."""
        self.__dict__["_ready"] = False

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)
        if self._ready and name in self.template_fields:
            self._depend_on_results(value)

    def _depend_on_results(self, value: Any) -> None:
        if value is None or isinstance(value, str):
            return
        for operator in operators_in(value):
            if operator is not self:
                connect(operator, self)

    def _refuse(self, feature: str) -> None:
        file, line = self._site
        self.refusals.append(Refusal(feature, self.task_id, file, line))

    @property
    def output(self) -> XComArg:
        """A reference to what it will return."""
        return XComArg(self)

    @property
    def task_type(self) -> str:
        """Its class, without the module."""
        return (self.mapped.operator_class if self.mapped else type(self)).__name__

    @property
    def operator_name(self) -> str:
        """Its class as people see it."""
        kind = self.mapped.operator_class if self.mapped else type(self)
        return str(getattr(kind, "custom_operator_name", kind.__name__))

    @property
    def log(self) -> logging.Logger:
        """The logger of its class."""
        name = self._logger_name or f"{type(self).__module__}.{type(self).__qualname__}"
        import logging

        return logging.getLogger(f"airflow.task.operators.{name}")

    @property
    def is_mapped(self) -> bool:
        """Whether it stands for a copy for each of several elements."""
        return self.mapped is not None

    def unmap(self, map_index: int, context: Any = None) -> BaseOperator:
        """Return the operator of one copy of a mapped task; of another task, itself."""
        return self if self.mapped is None else self.mapped.unmap(self, map_index, context)

    @classmethod
    def partial(cls, *, task_id: str, **kwargs: Any) -> Partial:
        """Start a mapped task with the arguments that are the same for all of its copies."""
        from dagbok.authoring.mapping import Partial

        def make(mapped: Mapped) -> BaseOperator:
            mapped.check_arguments(cls)
            return mapped.stand_in(BaseOperator, cls, {"task_id": task_id})

        return Partial(make, kwargs)

    # The run

    def execute(self, context: Any) -> Any:
        """Do the work. Whatever is returned is pushed as the XCom `return_value`."""
        raise NotImplementedError(f"{type(self).__name__} defines no execute(context)")

    def pre_execute(self, context: Any) -> None:
        """Run before `execute`."""
        if self._pre_execute_hook is not None:
            from dagbok.runtime.driving import call

            call(self._pre_execute_hook, context)

    def post_execute(self, context: Any, result: Any = None) -> None:
        """Run after `execute`."""
        if self._post_execute_hook is not None:
            from dagbok.runtime.driving import call

            call(self._post_execute_hook, context, result)

    def on_kill(self) -> None:
        """End what the task started, when its try is told to end or runs out of time."""

    def prepare_template(self) -> None:
        """Change the template fields after files were read and before they are rendered."""

    def get_template_env(self, dag: DAG | None = None) -> Any:
        """Return the Jinja environment of its DAG."""
        from dagbok.templating.environment import make_environment

        return make_environment(dag or self._dag)

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render every template field in place."""
        from dagbok.templating.render import render_fields

        render_fields(self, context, jinja_env)

    def render_template(
        self, content: Any, context: Any, jinja_env: Any = None, seen_oids: set[int] | None = None
    ) -> Any:
        """Render a value, with everything inside it."""
        from dagbok.templating.render import Renderer

        return Renderer(self, context, jinja_env).render(content)

    def _do_render_template_fields(self, parent: Any, template_fields: Any, context: Any, *env: Any) -> None:
        """Render fields of an object in place; providers call it for those that are filled late."""
        for name in template_fields:
            if value := getattr(parent, name, None):
                setattr(parent, name, self.render_template(value, context, *env))

    @staticmethod
    def xcom_push(context: Any, key: str, value: Any) -> None:
        """Push an XCom of the running task."""
        context["ti"].xcom_push(key=key, value=value)

    @staticmethod
    def xcom_pull(context: Any, task_ids: Any = None, key: str = "return_value", **kwargs: Any) -> Any:
        """Pull an XCom for the running task."""
        return context["ti"].xcom_pull(task_ids=task_ids, key=key, **kwargs)

    def __repr__(self) -> str:
        return f"<Task({self.task_type}): {self.task_id}>"

    def __lt__(self, other: BaseOperator) -> bool:
        return self.task_id < other.task_id


class BaseOperatorLink:
    """A link beside a task in Airflow's UI; accepted, and not shown."""

    operators: ClassVar[list[type[BaseOperator]]] = []
    name: str = ""

    def get_link(self, operator: BaseOperator, *, ti_key: Any) -> str:
        """Return the address."""
        return ""
