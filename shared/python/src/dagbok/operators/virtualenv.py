"""Functions run by another Python: one that exists, or one whose environment is made for them.

The function's source is written to a script, its arguments and its result go by pickle. What an executor
has of the run goes as it is: texts, and instants, which are pendulum's there where it has pendulum.
"""

from __future__ import annotations

import datetime as dt
import inspect
import os
import textwrap
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dagbok.authoring import session
from dagbok.authoring.decorated import unique_task_id, with_context_defaults
from dagbok.datetimes import DateTime
from dagbok.exceptions import AirflowException, AirflowSkipException
from dagbok.operators.arguments import context_arguments
from dagbok.operators.branching import BranchMixIn
from dagbok.operators.python import PythonOperator
from dagbok.operators.subprocesses import Command
from dagbok.runtime.later import resolved

SERIALIZERS = ("pickle", "cloudpickle", "dill")
# What of the context can be handed to another Python.
_TEXTS = (
    "ds ds_nodash expanded_ti_count run_id task_instance_key_str test_mode ts ts_nodash ts_nodash_with_tz "
    "next_ds next_ds_nodash prev_ds prev_ds_nodash tomorrow_ds tomorrow_ds_nodash yesterday_ds "
    "yesterday_ds_nodash task_reschedule_count partition_key params templates_dict"
)
_DATES = (
    "data_interval_end data_interval_start logical_date prev_data_interval_end_success "
    "prev_data_interval_start_success prev_start_date_success prev_end_date_success execution_date "
    "next_execution_date prev_execution_date prev_execution_date_success"
)
HANDED_ON = frozenset([*_TEXTS.split(), *_DATES.split()])

_SCRIPT = """\
import datetime as _datetime
import os as _os
import sys as _sys
_os.environ["PYTHON_OPERATORS_VIRTUAL_ENV_MODE"] = "1"
try:
    from dagbok.compat import activate as _activate
except ImportError:
    pass
else:
    _activate()
import {serializer} as _pickle
with open(_sys.argv[3]) as _file:
    virtualenv_string_args = _file.read().splitlines()

{source}

def _dated(value):
    try:
        import pendulum
    except ImportError:
        return value
    return pendulum.instance(value)

with open(_sys.argv[1], "rb") as _file:
    _given = _pickle.load(_file)
for _name in _given["instants"]:
    _given["kwargs"][_name] = _dated(_given["kwargs"][_name])
try:
    _result = {name}(*_given["args"], **_given["kwargs"])
except Exception as _error:
    with open(_sys.argv[4], "w") as _file:
        _file.write("{{}}: {{}}".format(type(_error).__name__, _error))
    raise
with open(_sys.argv[2], "wb") as _file:
    if _result is not None:
        _pickle.dump(_result, _file, protocol=4)
"""


class _Elsewhere(PythonOperator):
    """Base of operators that call a function in another Python."""

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        serializer: str | None = None,
        use_dill: bool = False,
        string_args: Iterable[str] | None = None,
        expect_airflow: bool = True,
        skip_on_exit_code: int | Collection[int] | None = None,
        env_vars: dict[str, str] | None = None,
        inherit_env: bool = True,
        **kwargs: Any,
    ) -> None:
        if not isinstance(python_callable, types.FunctionType) or python_callable.__name__ == "<lambda>":
            raise ValueError(f"{type(self).__name__} only supports functions for python_callable arg")
        if inspect.isgeneratorfunction(python_callable):
            raise ValueError(f"{type(self).__name__} does not support using 'yield' in python_callable")
        super().__init__(python_callable=python_callable, **kwargs)
        self.serializer = serializer or ("dill" if use_dill else "pickle")
        if self.serializer not in SERIALIZERS:
            raise AirflowException(
                f"Unsupported serializer {self.serializer!r}. Expected one of {', '.join(SERIALIZERS)}"
            )
        self.string_args, self.expect_airflow = list(string_args or ()), expect_airflow
        single = isinstance(skip_on_exit_code, int)
        self.skip_on_exit_code: Any = [skip_on_exit_code] if single else list(skip_on_exit_code or ())  # type: ignore[arg-type]
        self.env_vars, self.inherit_env = env_vars, inherit_env
        self._command: Command | None = None

    def determine_kwargs(self, context: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the keywords of the call: those given, and what of the context can be handed on."""
        full = {**context, "templates_dict": self.templates_dict} if self.templates_dict else dict(context)
        handed = {name: resolved(value) for name, value in full.items() if name in HANDED_ON}
        if "params" in handed:
            handed["params"] = dict(handed["params"])
        return context_arguments(self.python_callable, tuple(self.op_args), self.op_kwargs, handed)

    def _call_by(self, python: str) -> Any:
        """Call the function by another Python; return what it returned."""
        import tempfile

        with tempfile.TemporaryDirectory(prefix="dagbok-venv-call-") as scratch:
            given, result, texts, last, script = (
                Path(scratch, name)
                for name in ("script.in", "script.out", "string_args", "last", "script.py")
            )
            given.write_bytes(self._arguments())
            texts.write_text("\n".join(map(str, self.string_args)))
            script.write_text(self._script())
            self._command = Command(self.log)
            code, _ = self._command.run(
                [python, *map(str, (script, given, result, texts, last))], self._env()
            )
            if code in self.skip_on_exit_code:
                raise AirflowSkipException(f"Process exited with code {code}. Skipping.")
            if code != 0:
                said = last.read_text() if last.exists() else ""
                raise AirflowException(f"Process returned non-zero exit status {code}.\n{said}".strip())
            return self._result(result)

    def _script(self) -> str:
        return _SCRIPT.format(
            serializer=self.serializer, source=self.get_python_source(), name=self.python_callable.__name__
        )

    def get_python_source(self) -> str:
        """Return the function's source without its decorators."""
        import ast

        source = textwrap.dedent(inspect.getsource(self.python_callable))
        (function, *_) = ast.parse(source).body
        return "".join(source.splitlines(keepends=True)[function.lineno - 1 :])

    def _pickler(self) -> Any:
        from importlib import import_module

        try:
            return import_module(self.serializer)
        except ImportError:
            raise AirflowException(
                f"the serializer {self.serializer!r} of task `{self.task_id}` is not installed: "
                f"pip install {self.serializer}"
            ) from None

    def _arguments(self) -> bytes:
        args, kwargs = list(self.op_args), {name: _plain(value) for name, value in self.op_kwargs.items()}
        instants = [name for name, value in self.op_kwargs.items() if isinstance(value, DateTime)]
        pickler = self._pickler()
        try:
            data: bytes = pickler.dumps(
                {"args": [_plain(one) for one in args], "kwargs": kwargs, "instants": instants}, protocol=4
            )
        except Exception as error:
            raise AirflowException(
                f"the arguments of task `{self.task_id}` can't be handed to another Python: {error}"
            ) from error
        return data

    def _result(self, path: Path) -> Any:
        if path.stat().st_size == 0:
            return None
        try:
            return self._pickler().loads(path.read_bytes())
        except Exception as error:
            raise AirflowException(
                f"what task `{self.task_id}` returned can't be read in this Python ({error}): return plain "
                "values"
            ) from error

    def _env(self) -> dict[str, str]:
        env = dict(os.environ) if self.inherit_env else {}
        env.update(self.env_vars or {})
        paths = [env.get("PYTHONPATH"), self.dag.folder]
        env["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)
        return env

    def on_kill(self) -> None:
        """Tell the process to end."""
        if self._command is not None:
            self._command.end()


def _plain(value: Any) -> Any:
    """Return a value without the instants that only this package knows."""
    if isinstance(value, DateTime):
        return dt.datetime.combine(value.date(), value.timetz())
    if type(value) is dict:
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in {list, tuple}:
        return type(value)(_plain(item) for item in value)
    return value


class ExternalPythonOperator(_Elsewhere):
    """Calls a function by a Python that exists."""

    template_fields: Sequence[str] = ("python", "templates_dict", "op_args", "op_kwargs")

    def __init__(
        self, *, python: str, expect_pendulum: bool = True, python_callable: Callable[..., Any], **kwargs: Any
    ) -> None:
        if not python:
            raise ValueError("Python Path must be defined in ExternalPythonOperator")
        super().__init__(python_callable=python_callable, **kwargs)
        self.python, self.expect_pendulum = python, expect_pendulum

    def execute_callable(self) -> Any:
        """Call the function there."""
        path = Path(os.fspath(self.python))
        if not path.exists():
            raise ValueError(f"Python Path '{path}' must exists")
        if not path.is_file():
            raise ValueError(f"Python Path '{path}' must be a file")
        return self._call_by(str(path))


class PythonVirtualenvOperator(_Elsewhere):
    """Calls a function in an environment that is made for it, with what it requires installed."""

    template_fields: Sequence[str] = ("requirements", "index_urls", "venv_cache_path", "templates_dict",
                                      "op_args", "op_kwargs")  # fmt: skip
    template_ext = (".txt",)

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        requirements: str | Iterable[str] | None = None,
        python_version: str | None = None,
        system_site_packages: bool = True,
        pip_install_options: list[str] | None = None,
        index_urls: str | Collection[str] | None = None,
        index_urls_from_connection_ids: str | Collection[str] | None = None,
        venv_cache_path: str | os.PathLike[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(python_callable=python_callable, **kwargs)
        if python_version is not None and not isinstance(python_version, str):
            raise AirflowException(
                "Passing non-string types (e.g. int or float) as python_version not supported"
            )
        single = isinstance(requirements, str)
        self.requirements: Any = [requirements] if single else list(requirements or ())
        self.python_version, self.system_site_packages = python_version, system_site_packages
        self.pip_install_options = pip_install_options
        self.index_urls: Any = [index_urls] if isinstance(index_urls, str) else index_urls
        self.venv_cache_path = venv_cache_path
        if index_urls_from_connection_ids:
            self._refuse("index_urls_from_connection_ids is")

    def execute_callable(self) -> Any:
        """Make the environment, or take one that was made for the same, and call the function there."""
        import tempfile

        from dagbok.operators.environments import Recipe

        requirements = [str(one) for one in self.requirements]
        if self.serializer != "pickle" and not self.system_site_packages:
            requirements.append(self.serializer)
        recipe = Recipe(
            sorted(requirements),
            self.python_version,
            self.system_site_packages,
            list(self.pip_install_options or ()),
            list(self.index_urls or ()),
        )
        self._command = Command(self.log)
        if self.venv_cache_path:
            return self._call_by(recipe.kept_in(Path(self.venv_cache_path), self._command))
        with tempfile.TemporaryDirectory(prefix="dagbok-venv-") as folder:
            return self._call_by(recipe.make(Path(folder), self._command))


class BranchExternalPythonOperator(ExternalPythonOperator, BranchMixIn):
    """Follows what a function chooses in a Python that exists."""

    inherits_from_skipmixin = True

    def execute(self, context: Any) -> Any:
        """Choose, and skip the rest."""
        return self.do_branch(context, super().execute(context))


class BranchPythonVirtualenvOperator(PythonVirtualenvOperator, BranchMixIn):
    """Follows what a function chooses in an environment that is made for it."""

    inherits_from_skipmixin = True

    def execute(self, context: Any) -> Any:
        """Choose, and skip the rest."""
        return self.do_branch(context, super().execute(context))


class _OneCall(_Elsewhere):
    """Base of what `@task.<kind>` makes: a function with the arguments of one call."""

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        task_id: str,
        op_args: Any = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        dag = kwargs.get("dag") or session.current_dag()
        group = kwargs.get("task_group") or session.current_group()
        super().__init__(
            task_id=unique_task_id(task_id, dag, group),
            python_callable=python_callable,
            op_args=list(op_args or ()),
            op_kwargs=dict(op_kwargs or {}),
            **kwargs,
        )
        try:
            with_context_defaults(python_callable).bind(*self.op_args, **self.op_kwargs)
        except TypeError as error:
            raise TypeError(
                f"task `{self.task_id}`: {python_callable.__name__}() was called wrongly: {error}"
            ) from None


class _PythonVirtualenvDecoratedOperator(_OneCall, PythonVirtualenvOperator):
    """A function with @task.virtualenv."""

    custom_operator_name = "@task.virtualenv"


class _PythonExternalDecoratedOperator(_OneCall, ExternalPythonOperator):
    """A function with @task.external_python."""

    custom_operator_name = "@task.external_python"


class _BranchPythonVirtualenvDecoratedOperator(_OneCall, BranchPythonVirtualenvOperator):
    """A function with @task.branch_virtualenv."""

    custom_operator_name = "@task.branch_virtualenv"


class _BranchExternalPythonDecoratedOperator(_OneCall, BranchExternalPythonOperator):
    """A function with @task.branch_external_python."""

    custom_operator_name = "@task.branch_external_python"


DECORATED: dict[str, Any] = {
    "virtualenv": _PythonVirtualenvDecoratedOperator,
    "external_python": _PythonExternalDecoratedOperator,
    "branch_virtualenv": _BranchPythonVirtualenvDecoratedOperator,
    "branch_external_python": _BranchExternalPythonDecoratedOperator,
}
