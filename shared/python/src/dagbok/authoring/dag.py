"""The DAG: tasks, settings, schedule. Reading a run's state is the API's, not this class's."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, ParamSpec, overload

from dagbok.authoring import session
from dagbok.authoring.group import TaskGroup
from dagbok.authoring.ids import check_key
from dagbok.authoring.operator_args import as_utc, ignored_of_dag
from dagbok.authoring.params import DagParam, ParamsDict
from dagbok.authoring.refusal import Refusal
from dagbok.authoring.schedules import resolve_schedule
from dagbok.authoring.timetable_base import Timetable
from dagbok.durations import plain
from dagbok.exceptions import AirflowException, DuplicateTaskIdFound, TaskNotFound
from dagbok.timezone import parse, utc

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator
    from dagbok.authoring.taskflow import TaskDecorators

P = ParamSpec("P")
NOTSET: Any = type("_NotSet", (), {"__repr__": lambda _: "NOTSET", "__bool__": lambda _: False})()
DEFAULT_MAX_ACTIVE = 16


class DAG:
    """A DAG; tasks made inside `with DAG(…):` join it."""

    def __init__(
        self,
        dag_id: str,
        description: str | None = None,
        schedule: Any = NOTSET,
        schedule_interval: Any = NOTSET,
        timetable: Timetable | None = None,
        start_date: datetime | str | None = None,
        end_date: datetime | str | None = None,
        full_filepath: str | None = None,
        template_searchpath: str | Iterable[str] | None = None,
        template_undefined: Any = None,
        user_defined_macros: dict[str, Any] | None = None,
        user_defined_filters: dict[str, Any] | None = None,
        default_args: dict[str, Any] | None = None,
        concurrency: int | None = None,
        max_active_tasks: int | None = None,
        max_active_runs: int | None = None,
        max_consecutive_failed_dag_runs: int | None = None,
        dagrun_timeout: timedelta | None = None,
        sla_miss_callback: Any = None,
        default_view: str | None = None,
        orientation: str | None = None,
        catchup: bool | None = None,
        on_success_callback: Any = None,
        on_failure_callback: Any = None,
        deadline: Any = None,
        doc_md: str | None = None,
        params: Mapping[str, Any] | None = None,
        access_control: Any = None,
        is_paused_upon_creation: bool | None = None,
        jinja_environment_kwargs: dict[str, Any] | None = None,
        render_template_as_native_obj: bool = False,
        tags: Iterable[str] | None = None,
        owner_links: dict[str, str] | None = None,
        auto_register: bool = True,
        fail_stop: bool = False,
        fail_fast: bool = False,
        dag_display_name: str | None = None,
        disable_bundle_versioning: bool = False,
        allowed_run_types: Any = None,
        rerun_with_latest_version: bool | None = None,
    ) -> None:
        self.era = session.era()
        self.dag_id = check_key("dag_id", dag_id)
        self.fileloc, self.line = session.call_site()
        self.description, self.doc_md, self.dag_display_name = description, doc_md, dag_display_name or dag_id
        self.default_args: dict[str, Any] = dict(default_args or {})
        default_params = self.default_args.pop("params", None) or {}
        self.params = ParamsDict(default_params).overlaid(params)
        self.template_searchpath = _paths(template_searchpath)
        self.template_undefined = template_undefined
        self.user_defined_macros, self.user_defined_filters = user_defined_macros, user_defined_filters
        self.jinja_environment_kwargs = jinja_environment_kwargs
        self.render_template_as_native_obj = render_template_as_native_obj
        self.task_dict: dict[str, BaseOperator] = {}
        self.used_ids: dict[str, str] = {}
        self.task_group = TaskGroup.create_root(self)
        self._take_dates(start_date, end_date)
        self._take_schedule(schedule, schedule_interval, timetable)
        self.catchup = catchup if catchup is not None else self.era == 2
        self.max_active_tasks = _first(max_active_tasks, concurrency, DEFAULT_MAX_ACTIVE)
        self.max_active_runs = _first(max_active_runs, DEFAULT_MAX_ACTIVE)
        self.dagrun_timeout = dagrun_timeout
        self.max_consecutive_failed_dag_runs = max_consecutive_failed_dag_runs or 0
        self._check_limits()
        self.on_success_callback, self.on_failure_callback = on_success_callback, on_failure_callback
        self.is_paused_upon_creation, self.auto_register = is_paused_upon_creation, auto_register
        self.tags = sorted({str(tag) for tag in tags or ()})
        self.access_control, self.owner_links = access_control, owner_links or {}
        self.refusals: list[Refusal] = []
        self.deadline = deadline
        self.ignored_arguments = ignored_of_dag(locals())
        self.fail_fast = bool(fail_fast or fail_stop)
        session.note_made(self)

    def _take_dates(self, start_date: Any, end_date: Any) -> None:
        first = start_date if start_date is not None else self.default_args.get("start_date")
        if isinstance(first, str):
            first = parse(first)
        zone = getattr(first, "tzinfo", None)
        self.timezone = zone if zone is not None else utc
        self.start_date, self.end_date = as_utc("start_date", start_date), as_utc("end_date", end_date)

    def _take_schedule(self, schedule: Any, schedule_interval: Any, timetable: Timetable | None) -> None:
        given = [value for value in (schedule, schedule_interval) if value is not NOTSET]
        if timetable is not None:
            given.append(timetable)
        if len(given) > 1:
            raise AirflowException(
                f"DAG `{self.dag_id}`: give one of schedule, schedule_interval and timetable, not several"
            )
        # A file of the older era that names no schedule gets that era's default, a run a day.
        default = timedelta(days=1) if self.era == 2 else None
        self.schedule = given[0] if given else default
        self.timetable = resolve_schedule(self.schedule, self.era)

    def _check_limits(self) -> None:
        limit = self.timetable.active_runs_limit
        if limit is not None and self.max_active_runs > limit:
            raise AirflowException(
                f"DAG `{self.dag_id}`: a schedule of {self.timetable.summary} needs max_active_runs={limit}"
            )
        failed = self.max_consecutive_failed_dag_runs
        if isinstance(failed, bool) or not isinstance(failed, int) or failed < 0:
            raise AirflowException(
                f"DAG `{self.dag_id}`: max_consecutive_failed_dag_runs must be an integer of 0 or more, "
                f"not {failed!r}"
            )
        timeout = self.dagrun_timeout
        if timeout is not None and not isinstance(timeout, timedelta):
            raise AirflowException(
                f"DAG `{self.dag_id}`: dagrun_timeout must be a timedelta, not {type(timeout).__name__}"
            )
        self.dagrun_timeout = None if timeout is None else plain(timeout)

    def refuse(self, feature: str) -> None:
        """Note something that can't be done today; the DAG gets an error when it is parsed."""
        self.refusals.append(Refusal(feature, None, self.fileloc, self.line))

    # Members

    def use_id(self, key: str, what: str) -> None:
        """Reserve an id for a task or group."""
        if key in self.used_ids:
            raise DuplicateTaskIdFound(
                f"DAG `{self.dag_id}` already has {self.used_ids[key]}; "
                "every task and group needs an id of its own"
            )
        self.used_ids[key] = what

    def add_task(self, task: BaseOperator) -> None:
        """Take a task in."""
        line = task._site[1]
        self.use_id(task.task_id, f"task `{task.task_id}`" + (f" (line {line})" if line else ""))
        self.task_dict[task.task_id] = task

    def add_tasks(self, tasks: Iterable[BaseOperator]) -> None:
        """Take several tasks in."""
        for task in tasks:
            task.dag = self

    @property
    def tasks(self) -> list[BaseOperator]:
        """Its tasks in the file's order."""
        return list(self.task_dict.values())

    @property
    def task_ids(self) -> list[str]:
        """Its tasks' ids in the file's order."""
        return list(self.task_dict)

    @property
    def roots(self) -> list[BaseOperator]:
        """Tasks without an upstream."""
        return [task for task in self.tasks if not task.upstream_task_ids]

    @property
    def leaves(self) -> list[BaseOperator]:
        """Tasks without a downstream."""
        return [task for task in self.tasks if not task.downstream_task_ids]

    @property
    def task_group_dict(self) -> dict[str, TaskGroup]:
        """Its groups by id, at any depth."""
        return {group.group_id: group for group in self.task_group.iter_groups() if group.group_id}

    def has_task(self, task_id: str) -> bool:
        """Whether there is a task of this id."""
        return task_id in self.task_dict

    def get_task(self, task_id: str, include_subdags: bool = False) -> BaseOperator:
        """Return the task of an id."""
        try:
            return self.task_dict[task_id]
        except KeyError:
            raise TaskNotFound(f"DAG `{self.dag_id}` has no task `{task_id}`") from None

    def set_dependency(self, upstream_task_id: str, downstream_task_id: str) -> None:
        """Draw an edge between two tasks by their ids."""
        self.get_task(upstream_task_id).set_downstream(self.get_task(downstream_task_id))

    def partial_subset(
        self,
        task_ids: Any = None,
        include_downstream: bool = False,
        include_upstream: bool = True,
        include_direct_upstream: bool = False,
        *,
        task_ids_or_regex: Any = None,
    ) -> DAG:
        """Return a DAG of the tasks that are named, by ids or a pattern, and of those around them."""
        from dagbok.authoring.subset import partial_subset

        named = task_ids if task_ids is not None else task_ids_or_regex
        return partial_subset(self, named, include_downstream, include_upstream, include_direct_upstream)

    def param(self, name: str, default: Any = NOTSET) -> DagParam:
        """Return a reference to a param, as an argument of tasks."""
        return DagParam(self, name) if default is NOTSET else DagParam(self, name, default)

    @property
    def task(self) -> TaskDecorators:
        """The decorators of TaskFlow, bound to this DAG."""
        from dagbok.authoring.taskflow import TaskDecorators

        return TaskDecorators(self)

    # Facts about it

    @functools.cached_property
    def mapped_over(self) -> frozenset[str]:
        """Ids of the tasks whose results say how many copies others have, once the DAG is whole."""
        expansions = {id(task.expansion): task.expansion for task in self.tasks if task.expansion is not None}
        return frozenset(task_id for one in expansions.values() for task_id in one.source_ids())

    @property
    def owner(self) -> str:
        """The owners of its tasks, joined."""
        return ", ".join(sorted({task.owner for task in self.tasks}))

    @property
    def folder(self) -> str:
        """The folder of its file."""
        return os.path.dirname(self.fileloc)

    @property
    def filepath(self) -> str:
        """The path of its file."""
        return self.fileloc

    @property
    def schedule_interval(self) -> Any:
        """What the file gave as its schedule."""
        return self.schedule

    concurrency = property(lambda self: self.max_active_tasks, doc="The older name of max_active_tasks.")
    display_name = property(lambda self: self.dag_display_name, doc="Its name for people.")
    fail_stop = property(lambda self: self.fail_fast, doc="The older name of fail_fast.")
    is_subdag = False
    # Whether it is a part of another, made by `partial_subset`.
    partial = False
    parent_dag: DAG | None = None

    def get_template_env(self, *, force_sandboxed: bool = False) -> Any:
        """Return its Jinja environment."""
        from dagbok.templating.environment import make_environment

        return make_environment(self)

    def test(
        self,
        execution_date: datetime | None = None,
        run_conf: dict[str, Any] | None = None,
        *_: Any,
        logical_date: datetime | None = None,
        mark_success_pattern: Any = None,
        conn_file_path: str | None = None,
        variable_file_path: str | None = None,
        answers: Mapping[str, str | list[str]] | None = None,
        fields: Mapping[str, Mapping[str, Any]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the DAG once, by the program `dagbok`; return how the run and its tasks ended.

        Tasks whose whole id `mark_success_pattern` matches are marked success and not run. What tasks ask
        people is answered by `answers` and `fields`, by task, or by whoever is there.
        """
        from dagbok.desk.dag_test import Asked, test

        asked = Asked(
            logical_date or execution_date,
            run_conf,
            mark_success_pattern,
            answers or {},
            fields or {},
            {"connections_file_path": conn_file_path, "variables_file_path": variable_file_path},
        )
        return test(self, asked)

    def cli(self) -> NoReturn:
        """Refused: there is one command line for all DAGs."""
        raise AirflowException(f"there is one command line for all DAGs: `dagbok dags test {self.fileloc}`")

    def __enter__(self) -> DAG:
        session.push_dag(self)
        session.register(self)
        return self

    def __exit__(self, *exception: object) -> None:
        session.pop_dag()

    def __repr__(self) -> str:
        return f"<DAG: {self.dag_id}>"


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)


def _paths(value: str | Iterable[str] | None) -> list[str]:
    if value is None:
        return []
    return [value] if isinstance(value, str) else [str(path) for path in value]


@overload
def dag(dag_id: Callable[P, Any]) -> Callable[P, DAG]: ...
@overload
def dag(dag_id: str = "", **kwargs: Any) -> Callable[[Callable[P, Any]], Callable[P, DAG]]: ...
def dag(dag_id: Any = "", **kwargs: Any) -> Any:
    """Turn a function that makes tasks into one that makes a DAG; its arguments become params."""
    if callable(dag_id):
        return _dag_factory(dag_id, {})
    return lambda function: _dag_factory(function, {"dag_id": dag_id or function.__name__, **kwargs})


def _dag_factory(function: Callable[P, Any], settings: dict[str, Any]) -> Callable[P, DAG]:
    @functools.wraps(function)
    def factory(*args: P.args, **kwargs: P.kwargs) -> DAG:
        bound = inspect.signature(function).bind(*args, **kwargs)
        bound.apply_defaults()
        made = {"dag_id": function.__name__, **settings}
        if made.get("doc_md") is None and function.__doc__:
            made["doc_md"] = inspect.cleandoc(function.__doc__)
        with DAG(**made) as created:
            given = {name: created.param(name, value) for name, value in bound.arguments.items()}
            function(**given)  # type: ignore[arg-type, call-arg]
        return created

    return factory
