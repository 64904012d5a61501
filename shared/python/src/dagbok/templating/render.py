"""Rendering template fields: text, and text inside lists, tuples, sets and the values of dicts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG
    from dagbok.authoring.operator import BaseOperator

_MARKS = ("{{", "{%", "{#")


def has_template(value: str) -> bool:
    """Whether text has anything for Jinja to do."""
    return any(mark in value for mark in _MARKS)


_precompiled: dict[DAG, dict[str, Any]] = {}


def precompile(dag: DAG, source: str) -> None:
    """Compile a template ahead of the tries that will render it; one that is wrong fails there."""
    known = _precompiled.setdefault(dag, {})
    if source in known:
        return
    environment = next((template.environment for template in known.values()), None)
    try:
        known[source] = (environment or dag.get_template_env()).from_string(source)
    except Exception:
        return


@cache
def _references() -> tuple[type[Any], ...]:
    """Return what stands for a value of the run. Kept, since a forked try pays for each import statement."""
    from dagbok.authoring.group import MappedArgument
    from dagbok.authoring.params import DagParam
    from dagbok.authoring.xcom_arg import XComArg

    return XComArg, DagParam, MappedArgument


class Renderer:
    """Renders values for one operator in one run; the Jinja environment is made when first needed."""

    def __init__(self, operator: BaseOperator, context: Mapping[str, Any], environment: Any = None) -> None:
        self._operator, self._context, self._environment = operator, context, environment
        dag = operator.dag_or_none
        self._native = dag is not None and dag.render_template_as_native_obj
        # Jinja may be told other marks than its own; then every text is its.
        self._plain_marks = environment is None and not (dag is not None and dag.jinja_environment_kwargs)
        self._extensions = tuple(operator.template_ext or ())
        self._seen: set[int] = set()
        # What copies of a mapped task got of other tasks: data, in which no template is looked for.
        self._data = {id(value) for value in operator.__dict__.get("_as_they_are", ())}

    @property
    def environment(self) -> Any:
        """The operator's Jinja environment."""
        if self._environment is None:
            self._environment = self._operator.get_template_env()
        return self._environment

    def render(self, value: Any) -> Any:
        """Return a value with every text inside it rendered."""
        if self._data and id(value) in self._data:
            return value
        if isinstance(value, str):
            return self._text(value)
        kind = type(value)
        if kind is list:
            return [self.render(item) for item in value]
        if isinstance(value, tuple):
            items = [self.render(item) for item in value]
            return tuple(items) if kind is tuple else kind(*items)
        if isinstance(value, dict):
            # Keys stay as they are, as in Airflow.
            return {key: self.render(item) for key, item in value.items()}
        if isinstance(value, set):
            return {self.render(item) for item in value}
        resolve = getattr(value, "resolve", None)
        if resolve is not None and callable(resolve) and hasattr(type(value), "resolve"):
            return self._resolved(value)
        self._nested(value)
        return value

    def _resolved(self, value: Any) -> Any:
        return value.resolve(self._context) if isinstance(value, _references()) else value

    def _nested(self, value: Any) -> None:
        fields = getattr(type(value), "template_fields", None)
        if not fields or id(value) in self._seen:
            return
        self._seen.add(id(value))
        for name in fields:
            inner = getattr(value, name, None)
            if inner:
                setattr(value, name, self.render(inner))

    def _text(self, value: str) -> Any:
        if self._extensions and value.endswith(self._extensions):
            template = self.environment.get_template(value)
        elif self._plain_marks and not self._native and not has_template(value) and "\r" not in value:
            return value.removesuffix("\n")  # all that Jinja would do
        else:
            template = self._compiled(value)
        return self._rendered(template)

    def _compiled(self, source: str) -> Any:
        dag = self._operator.dag_or_none
        ready = (
            _precompiled.get(dag, {}).get(source) if dag is not None and self._environment is None else None
        )
        return ready or self.environment.from_string(source)

    def _rendered(self, template: Any) -> Any:
        if not self._native:
            return template.render(self._context)
        from jinja2.nativetypes import native_concat

        environment = template.environment
        try:
            return native_concat(template.root_render_func(template.new_context(dict(self._context))))
        except Exception:
            environment.handle_exception()


def render_fields(operator: BaseOperator, context: Mapping[str, Any], environment: Any = None) -> None:
    """Render an operator's template fields in place."""
    renderer = Renderer(operator, context, environment)
    _read_files(operator, renderer)
    operator.prepare_template()
    for name in operator.template_fields:
        if not hasattr(operator, name):
            raise AttributeError(
                f"{name!r} is in the template_fields of {operator.task_type}, which has no such attribute"
            )
        value = getattr(operator, name)
        if value:
            rendered = renderer.render(value)
            if rendered is not value:
                object.__setattr__(operator, name, rendered)


def _read_files(operator: BaseOperator, renderer: Renderer) -> None:
    """Put in the place of `script.sh` and the like what the file says."""
    extensions = tuple(operator.template_ext or ())
    if not extensions:
        return
    for name in operator.template_fields:
        value = getattr(operator, name, None)
        if isinstance(value, str) and value.endswith(extensions):
            setattr(operator, name, _source(renderer.environment, value))
        elif isinstance(value, list):
            for place, item in enumerate(value):
                if isinstance(item, str) and item.endswith(extensions):
                    value[place] = _source(renderer.environment, item)


def _source(environment: Any, name: str) -> str:
    return str(environment.loader.get_source(environment, name)[0])
