"""The Jinja environments of DAGs."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Any

from jinja2 import FileSystemLoader, StrictUndefined
from jinja2.nativetypes import NativeEnvironment
from jinja2.runtime import Context as JinjaContext
from jinja2.sandbox import SandboxedEnvironment, is_internal_attribute
from jinja2.utils import missing

from dagbok.runtime.later import resolved

if TYPE_CHECKING:
    from dagbok.authoring.dag import DAG


# What a run without a logical date does not have, as in Airflow 3.
_DATED = {"ds", "ds_nodash", "ts", "ts_nodash", "ts_nodash_with_tz", "logical_date"}
_DATED |= {"data_interval_start", "data_interval_end"}


class _Missing(StrictUndefined):
    """A name that a template uses and its context does not have."""

    __slots__ = ()

    @property
    def _undefined_message(self) -> str:
        said = super()._undefined_message
        if self._undefined_name not in _DATED or self._undefined_obj is not missing:
            return said
        return f"{said}: the run has no logical date; name one when you trigger it (--logical-date)"


class _Names(JinjaContext):
    """The names of a template; what is asked for only when it is looked at is asked for here."""

    def resolve_or_missing(self, key: str) -> Any:
        return resolved(super().resolve_or_missing(key))


class _Native(NativeEnvironment):
    """Renders to values instead of text."""

    context_class = _Names


class _Relaxed(SandboxedEnvironment):
    """A sandbox that keeps Python's internals away, and nothing else."""

    context_class = _Names

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        return not is_internal_attribute(obj, attr)


def _as_ds(value: dt.datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y-%m-%d")


def _as_ds_nodash(value: dt.datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y%m%d")


def _as_ts(value: dt.datetime | None) -> str | None:
    return None if value is None else value.isoformat()


def _as_ts_nodash(value: dt.datetime | None) -> str | None:
    return None if value is None else value.strftime("%Y%m%dT%H%M%S")


def _as_ts_nodash_with_tz(value: dt.datetime | None) -> str | None:
    return None if value is None else value.isoformat().replace("-", "").replace(":", "")


FILTERS: dict[str, Any] = {
    "ds": _as_ds,
    "ds_nodash": _as_ds_nodash,
    "ts": _as_ts,
    "ts_nodash": _as_ts_nodash,
    "ts_nodash_with_tz": _as_ts_nodash_with_tz,
}


def make_environment(dag: DAG | None) -> Any:
    """Return the environment of a DAG; without one, the default."""
    options: dict[str, Any] = {
        "undefined": (dag.template_undefined if dag is not None else None) or _Missing,
        "extensions": ["jinja2.ext.do"],
        "cache_size": 0,
    }
    native = False
    if dag is not None:
        options["loader"] = FileSystemLoader([dag.folder, *dag.template_searchpath])
        options.update(dag.jinja_environment_kwargs or {})
        native = dag.render_template_as_native_obj
    environment: Any = _Native(**options) if native else _Relaxed(**options)
    environment.filters.update(FILTERS)
    if dag is not None:
        environment.globals.update(dag.user_defined_macros or {})
        environment.filters.update(dag.user_defined_filters or {})
    return environment
