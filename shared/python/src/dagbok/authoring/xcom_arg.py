"""References to what another task will have returned, given as arguments."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from dagbok.authoring.edges import DependencyMixin

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

XCOM_RETURN_KEY = "return_value"


class XComArg(DependencyMixin):
    """The value that `operator` will push under `key`."""

    def __init__(self, operator: BaseOperator, key: str = XCOM_RETURN_KEY) -> None:
        self.operator = operator
        self.key = key

    @property
    def roots(self) -> Sequence[DependencyMixin]:
        """Its operator."""
        return [self.operator]

    @property
    def leaves(self) -> Sequence[DependencyMixin]:
        """Its operator."""
        return [self.operator]

    def as_setup(self) -> XComArg:
        """Mark its operator as a setup."""
        self.operator.as_setup()
        return self

    def as_teardown(self, *, setups: Any = None, on_failure_fail_dagrun: bool | None = None) -> XComArg:
        """Mark its operator as a teardown."""
        self.operator.as_teardown(setups=setups, on_failure_fail_dagrun=on_failure_fail_dagrun)
        return self

    def __enter__(self) -> Any:
        return self.operator.__enter__()

    def __exit__(self, *exception: object) -> None:
        self.operator.__exit__(*exception)

    def __getitem__(self, key: str) -> XComArg:
        """Return the value of another key of the same task."""
        if not isinstance(key, str):
            raise ValueError(f"an XCom's key is text, not {type(key).__name__}: {key!r}")
        return XComArg(self.operator, key)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            f"what task `{self.operator.task_id}` returns is not known while the file is read, "
            "so it can't be looped over here; loop over it inside a task"
        )

    def __bool__(self) -> bool:
        return True

    def __eq__(self, other: object) -> bool:
        return isinstance(other, XComArg) and (self.operator, self.key) == (other.operator, other.key)

    def __hash__(self) -> int:
        return hash((id(self.operator), self.key))

    def __repr__(self) -> str:
        return f"XComArg({self.operator.task_id}[{self.key!r}])"

    def __str__(self) -> str:
        """Return a template that pulls the value, so that it can stand inside text."""
        dag = self.operator.dag_or_none
        of_dag = f", dag_id={dag.dag_id!r}" if dag is not None else ""
        return (
            f"{{{{ task_instance.xcom_pull(task_ids={self.operator.task_id!r}{of_dag}, key={self.key!r}) }}}}"
        )

    def map(self, f: Any) -> NoReturn:
        """Refused: values that are made from results come in a later version."""
        self._no_mapping("map")

    def zip(self, *others: Any, fillvalue: Any = None) -> NoReturn:
        """Refused: values that are made from results come in a later version."""
        self._no_mapping("zip")

    def concat(self, *others: Any) -> NoReturn:
        """Refused: values that are made from results come in a later version."""
        self._no_mapping("concat")

    def _no_mapping(self, what: str) -> NoReturn:
        from dagbok.exceptions import NotSupportedYet

        raise NotSupportedYet(
            f"`.{what}()` on what task `{self.operator.task_id}` returns is not supported yet; "
            "do it inside a task"
        )

    def resolve(self, context: Mapping[str, Any]) -> Any:
        """Pull the value for the run of `context`; the return value must be there."""
        ti = context["ti"]
        if self.operator.is_mapped and ti.task.dag.era == 3:
            return ti.copies_of(self.operator.task_id, self.key)
        value = ti.xcom_pull(task_ids=self.operator.task_id, key=self.key, default=_ABSENT)
        if value is not _ABSENT:
            return value
        if self.key == XCOM_RETURN_KEY:
            return None
        from dagbok.exceptions import XComNotFound

        raise XComNotFound(
            f"task `{self.operator.task_id}` pushed no XCom `{self.key}` in run `{ti.run_id}`; "
            "with multiple_outputs every key of the returned dict is one"
        )


class _Absent:
    """Tells "nothing was pushed" from a pushed None."""


_ABSENT = _Absent()


def operators_in(value: Any) -> Iterator[BaseOperator]:
    """Yield the operators whose results stand anywhere inside a value."""
    if isinstance(value, XComArg):
        yield value.operator
    elif isinstance(value, str | bytes | int | float):
        return
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from operators_in(item)
    elif isinstance(value, list | tuple | set | frozenset):
        for item in value:
            yield from operators_in(item)
    elif hasattr(type(value), "template_fields") and not isinstance(value, DependencyMixin):
        for name in value.template_fields:
            yield from operators_in(getattr(value, name, None))
