"""The task that this process runs, if it runs one: its supervisor and its context."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dagbok.exceptions import AirflowException

if TYPE_CHECKING:
    from dagbok.runtime.supervisor import Supervisor

_supervisor: Supervisor | None = None
_context: Any = None


def set_supervisor(supervisor: Supervisor | None) -> None:
    """Say whom requests go to."""
    global _supervisor
    _supervisor = supervisor


def set_context(context: Any) -> None:
    """Say what `get_current_context` returns."""
    global _context
    _context = context


def supervisor_or_none() -> Supervisor | None:
    """Return the supervisor, or None outside a task."""
    return _supervisor


def supervisor() -> Supervisor:
    """Return the supervisor, or say that no task is running."""
    if _supervisor is None:
        raise AirflowException("this can only be asked while a task runs, not while its file is read")
    return _supervisor


def context_or_none() -> Any:
    """Return the context of the task that is running, or None where none is."""
    return _context


def current_context() -> Any:
    """Return the context of the task that is running, or say that there is none."""
    if _context is None:
        raise AirflowException(
            "get_current_context() was called outside a running task; call it inside the task's function"
        )
    return _context
