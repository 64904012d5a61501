"""What stands where Airflow hands out sessions of its database.

A function that asks for one can be defined and decorated; the line that queries it is told what to use
instead.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, TypeVar

from dagbok.exceptions import NotSupportedYet

__all__ = ["NEW_SESSION", "NoSession", "Session", "create_session", "provide_session"]

F = TypeVar("F", bound=Callable[..., Any])
NEW_SESSION: Any = None


class NoSession:
    """A session of no database: whatever it is asked for, it says what to use instead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        raise NotSupportedYet(
            f"session.{name} can't be used: tasks have no database session; use the REST API under /api/v2, "
            "or Variable, Connection, ti.xcom_pull and DagRun.find"
        )


Session = NoSession


@contextlib.contextmanager
def create_session(scoped: bool = True) -> Iterator[NoSession]:
    """Open a block with a session that can do nothing."""
    yield NoSession()


def provide_session(func: F) -> F:
    """Give a function a session where the caller gives none."""
    try:
        place = list(inspect.signature(func).parameters).index("session")
    except ValueError:
        raise ValueError(f"Function {func.__qualname__} has no `session` argument") from None

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        if "session" in kwargs or len(args) > place:
            return func(*args, **kwargs)
        return func(*args, session=NoSession(), **kwargs)

    return wrapper  # type: ignore[return-value]
