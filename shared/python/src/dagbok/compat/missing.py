"""Functions that files import and that can't do their work here: calling them says so."""

from __future__ import annotations

from typing import Any, NoReturn

from dagbok.exceptions import NotSupportedYet


def send_email(*args: Any, **kwargs: Any) -> NoReturn:
    """Refused: Dagbok sends no mail from tasks."""
    raise NotSupportedYet("airflow.utils.email.send_email is not supported yet; use smtplib in the task")
