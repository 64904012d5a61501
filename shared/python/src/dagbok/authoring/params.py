"""Params: a DAG's typed settings, which a run's conf lies over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, MutableMapping
from datetime import date
from typing import Any

from dagbok.exceptions import ParamValidationError

_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list, tuple),
    "object": (dict,),
    "null": (type(None),),
}


class _NotSet:
    """Tells a param without a default from one whose default is None."""

    def __repr__(self) -> str:
        return "NOTSET"


NOTSET = _NotSet()


class Param:
    """A default value with a JSON schema that values are held against."""

    def __init__(
        self, default: Any = NOTSET, description: str | None = None, source: str | None = None, **kwargs: Any
    ) -> None:
        self.value, self.description = default, description
        self.schema: dict[str, Any] = kwargs.pop("schema", kwargs)

    @property
    def has_value(self) -> bool:
        """Whether there is a default."""
        return self.value is not NOTSET

    def resolve(self, value: Any = NOTSET, suppress_exception: bool = False) -> Any:
        """Return the value, or the default, if it keeps to the schema."""
        final = self.value if value is NOTSET else value
        if final is NOTSET:
            if suppress_exception:
                return None
            raise ParamValidationError("it has no default, and no value was given")
        try:
            validate(final, self.schema)
        except ParamValidationError:
            if suppress_exception:
                return None
            raise
        return final

    def dump(self) -> dict[str, Any]:
        """Return it as a dict."""
        return {
            "value": None if self.value is NOTSET else self.value,
            "description": self.description,
            "schema": self.schema,
        }


class DagParam:
    """A reference to a param of the DAG, resolved when a task runs."""

    def __init__(self, current_dag: Any, name: str, default: Any = NOTSET) -> None:
        if default is not NOTSET:
            current_dag.params[name] = default
        self._name, self._default = name, default

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Return the run's value."""
        params = context["params"]
        if self._name in params:
            return params[self._name]
        if self._default is NOTSET:
            raise ParamValidationError(f"no value for the DAG's param `{self._name}`")
        return self._default


class ParamsDict(MutableMapping[str, Any]):
    """Params by name; reading one gives its value."""

    def __init__(self, params: Mapping[str, Any] | None = None, suppress_exception: bool = False) -> None:
        self._params: dict[str, Param] = {}
        self._suppress = suppress_exception
        if isinstance(params, ParamsDict):
            self._params.update(params._params)
        else:
            for name, value in (params or {}).items():
                self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        if isinstance(value, Param):
            self._params[name] = value
        elif name in self._params:
            old = self._params[name]
            self._params[name] = Param(value, old.description, schema=old.schema)
        else:
            self._params[name] = Param(value)

    def __getitem__(self, name: str) -> Any:
        try:
            return self._params[name].resolve(suppress_exception=self._suppress)
        except ParamValidationError as error:
            raise ParamValidationError(f"param `{name}`: {error}") from None

    def __delitem__(self, name: str) -> None:
        del self._params[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._params)

    def __len__(self) -> int:
        return len(self._params)

    def get_param(self, name: str) -> Param:
        """Return the param itself, with its schema."""
        return self._params[name]

    def items(self) -> Any:
        """Return names and params themselves, as Airflow does."""
        return self._params.items()

    def overlaid(self, upper: Mapping[str, Any] | None) -> ParamsDict:
        """Return these with others, or plain values, laid over them; schemas stay."""
        merged = ParamsDict(self, self._suppress)
        for name, value in (upper or {}).items():
            merged[name] = value
        return merged

    def dump(self) -> dict[str, Any]:
        """Return names and values; those without a default are left out."""
        return {name: param.resolve() for name, param in self._params.items() if param.has_value}

    def validate(self) -> dict[str, Any]:
        """Return names and values, every one held against its schema."""
        return {name: self[name] for name in self}

    def __repr__(self) -> str:
        return repr({name: param.value for name, param in self._params.items()})


def _is_of(value: Any, name: str) -> bool:
    kinds = _TYPES.get(name)
    if kinds is None:
        raise ParamValidationError(f"its schema names the type {name!r}, which JSON schema does not have")
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, kinds) or (name == "integer" and isinstance(value, float) and value.is_integer())


_BOUNDS: dict[str, Any] = {
    "minimum": lambda value, bound: value >= bound,
    "maximum": lambda value, bound: value <= bound,
    "exclusiveMinimum": lambda value, bound: value > bound,
    "exclusiveMaximum": lambda value, bound: value < bound,
    "minLength": lambda value, bound: len(value) >= bound,
    "maxLength": lambda value, bound: len(value) <= bound,
    "minItems": lambda value, bound: len(value) >= bound,
    "maxItems": lambda value, bound: len(value) <= bound,
    "pattern": lambda value, bound: re.search(bound, value) is not None,
}
_BOUNDS_FOR: dict[str, Any] = {"Length": str, "Items": (list, tuple), "imum": (int, float), "pattern": str}


# Words that are checked here, and those that hold nothing against a value.
_KNOWN = {"type", "enum", "const", *_BOUNDS} | {
    "title", "description", "description_md", "default", "examples", "section", "values_display",
    "suggested_values", "source", "$schema", "$id", "$comment", "readOnly", "deprecated",
}  # fmt: skip


def validate(value: Any, schema: Mapping[str, Any]) -> None:
    """Hold a value against a JSON schema: the common words here, the others by jsonschema."""
    try:
        json.dumps(value)
    except (TypeError, ValueError) as error:
        raise ParamValidationError(f"{value!r} has no JSON form: {error}") from None
    kinds = schema.get("type")
    if kinds is not None:
        names = [kinds] if isinstance(kinds, str) else list(kinds)
        if not any(_is_of(value, name) for name in names):
            raise ParamValidationError(f"{value!r} is not of type {' or '.join(names)}")
    if "enum" in schema and value not in schema["enum"]:
        raise ParamValidationError(f"{value!r} is not one of {schema['enum']!r}")
    if "const" in schema and value != schema["const"]:
        raise ParamValidationError(f"{value!r} is not {schema['const']!r}")
    for word, holds in _BOUNDS.items():
        applies = next(kind for end, kind in _BOUNDS_FOR.items() if word.endswith(end))
        if word in schema and isinstance(value, applies) and not holds(value, schema[word]):
            raise ParamValidationError(f"{value!r} breaks {word} {schema[word]!r}")
    if schema.keys() - _KNOWN:
        _validate_wholly(value, schema)


def _validate_wholly(value: Any, schema: Mapping[str, Any]) -> None:
    try:
        import jsonschema
    except ImportError:
        raise ParamValidationError(
            "its schema needs the package jsonschema, which comes with dagbok and is missing in this Python: "
            "pip install jsonschema rfc3339-validator"
        ) from None
    try:
        formats = jsonschema.FormatChecker()
        formats.checks("date-time")(_is_date_time)
        jsonschema.validate(value, schema, format_checker=formats)
    except jsonschema.ValidationError as error:
        raise ParamValidationError(error.message) from None
    except jsonschema.SchemaError as error:
        raise ParamValidationError(f"its schema is none: {error.message}") from None


DATE_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.,]\d+)?)?"
    r"([Zz]|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)?",
    re.ASCII,
)


def _is_date_time(value: Any) -> bool:
    """Whether text is a date and a time; one without an offset too, which the older era takes for a param.

    The API holds a run's conf to the same (`is_instant` in its `params/format.rs`).
    """
    if not isinstance(value, str):
        return True  # formats are of texts
    found = DATE_TIME.fullmatch(value)
    try:
        return found is not None and date.fromisoformat(found[1]) is not None
    except ValueError:
        return False
