"""Whom a file's known notifiers tell of failures: data that holds when whatever would have called is dead."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from dagbok.authoring.dag import DAG

if TYPE_CHECKING:
    from dagbok.authoring.operator import BaseOperator

# Modules of providers' notifiers: `airflow.providers.slack.notifications.slack`.
_PROVIDERS = "airflow.providers."
# Where one tells: the first of these that it has. A connection's id where it says nothing narrower.
_TO = ("channel", "to", "chat_id", "room_id")
_MOST = 100


def notified(dag: DAG) -> list[str]:
    """Return whom `on_failure_callback` of the DAG and its tasks tells, as `slack:#ml`, sorted."""
    found = {told for notifier in _known(dag) for told in _told(notifier)}
    return sorted(found)[:_MOST]


def mailboxes(dag: DAG) -> set[str]:
    """Return the mailboxes that notifiers by SMTP write to."""
    return {told.removeprefix("smtp:") for told in notified(dag) if told.startswith("smtp:") and "@" in told}


def _known(dag: DAG) -> Iterator[Any]:
    for owner in (dag, *dag.tasks):
        given = getattr(owner, "on_failure_callback", None)
        for callback in given if isinstance(given, list | tuple) else [given]:
            if _provider(callback):
                yield callback


def _provider(callback: object) -> str:
    """Return the provider of a notifier, empty where it is none or the file's own."""
    kind = type(callback)
    module = kind.__module__ if isinstance(kind.__module__, str) else ""
    if not (kind.__name__.endswith("Notifier") and module.startswith(_PROVIDERS)):
        return ""
    return module.removeprefix(_PROVIDERS).partition(".notifications")[0]


def _told(notifier: object) -> list[str]:
    provider = _provider(notifier)
    # By what it was given; what it makes of that when it is asked is code of somebody else.
    had = {name: value for name, value in vars(notifier).items() if value}
    to = next((had[name] for name in _TO if name in had), None)
    if to is None:
        to = next((had[name] for name in sorted(had) if name.endswith("conn_id")), "default")
    texts = to if isinstance(to, list | tuple | set) else str(to).replace(";", ",").split(",")
    # A template is rendered for a try, and this is read before there is one.
    said = [str(text).strip() for text in texts]
    return [f"{provider}:{text}" for text in said if text and "{{" not in text]


def told_of_failures(dag: DAG) -> dict[str, list[str]]:
    """Return whom the file names for failures: mailboxes, and whom its notifiers tell."""
    told = {"failure_email": _failure_email(dag), "failure_notify": [_text(name) for name in notified(dag)]}
    return {field: names for field, names in told.items() if names}


def retry_email(task: BaseOperator) -> list[str]:
    """Return the mailboxes that a task names for its retries."""
    return sorted(_text(mailbox) for mailbox in _split(task.email if task.email_on_retry else None))


def _split(given: str | Iterable[str] | None) -> set[str]:
    """Split mailboxes at commas and semicolons, as Airflow does."""
    texts = [given] if isinstance(given, str) else list(given or [])
    parts = (part.strip() for text in texts for part in str(text).replace(";", ",").split(","))
    return {part for part in parts if part}


def _failure_email(dag: DAG) -> list[str]:
    """Return the mailboxes that are named for failures."""
    named: set[str] = mailboxes(dag)
    for task in dag.tasks:
        named |= _split(task.email if task.email_on_failure else None)
    return sorted(_text(mailbox) for mailbox in named)


def _text(value: str) -> str:
    """Return text that UTF-8 can say."""
    return value.encode("utf-8", "replace").decode()
