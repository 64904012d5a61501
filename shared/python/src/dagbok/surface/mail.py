"""Mail from a task, as `airflow.utils.email` sends it: by SMTP, with the options of section [smtp].

A connection, `smtp_default` unless another is named, may give login and password, and overrides nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from email.message import EmailMessage
from typing import Any

from dagbok.exceptions import AirflowConfigException, AirflowException, AirflowNotFoundException
from dagbok.models.configuration import conf

__all__ = ["build_mime_message", "get_email_address_list", "send_email", "send_email_smtp", "send_mime_email"]

DEFAULT_CONNECTION = "smtp_default"


def get_email_address_list(addresses: str | Iterable[str]) -> list[str]:
    """Return single addresses of a text with `,` or `;` between them, or of a list of such."""
    if isinstance(addresses, str):
        return [part.strip() for part in addresses.replace(";", ",").split(",") if part.strip()]
    found: list[str] = []
    for one in addresses:
        if not isinstance(one, str):
            raise TypeError(f"an e-mail address is text, not {type(one).__name__}: {one!r}")
        found += get_email_address_list(one)
    return found


def send_email(
    to: str | Iterable[str],
    subject: str,
    html_content: str,
    files: list[str] | None = None,
    dryrun: bool = False,
    cc: str | Iterable[str] | None = None,
    bcc: str | Iterable[str] | None = None,
    mime_subtype: str = "mixed",
    mime_charset: str = "utf-8",
    conn_id: str | None = None,
    custom_headers: dict[str, Any] | None = None,
    **kwargs: Any,
) -> None:
    """Send a mail; `files` are attached. Raises what smtplib raises where the server does not take it."""
    sender = kwargs.get("from_email") or conf.get("smtp", "smtp_mail_from")
    message, recipients = build_mime_message(
        sender, to, subject, html_content, files, cc, bcc, mime_subtype, mime_charset, custom_headers
    )
    send_mime_email(sender, recipients, message, conn_id or DEFAULT_CONNECTION, dryrun)


send_email_smtp = send_email


def build_mime_message(
    mail_from: str | None,
    to: str | Iterable[str],
    subject: str,
    html_content: str,
    files: list[str] | None = None,
    cc: str | Iterable[str] | None = None,
    bcc: str | Iterable[str] | None = None,
    mime_subtype: str = "mixed",
    mime_charset: str = "utf-8",
    custom_headers: dict[str, Any] | None = None,
) -> tuple[EmailMessage, list[str]]:
    """Return the mail, and the addresses that it goes to."""
    recipients = get_email_address_list(to)
    message = EmailMessage()
    message["Subject"], message["From"], message["To"] = subject, mail_from or "", ", ".join(recipients)
    if cc:
        copied = get_email_address_list(cc)
        message["CC"] = ", ".join(copied)
        recipients += copied
    if bcc:
        recipients += get_email_address_list(bcc)
    for name, value in (custom_headers or {}).items():
        message[name] = str(value)
    message.set_content(html_content, subtype="html", charset=mime_charset)
    for path in files or ():
        with open(path, "rb") as file:
            name = os.path.basename(path)
            message.add_attachment(file.read(), maintype="application", subtype="octet-stream", filename=name)
    return message, recipients


def send_mime_email(
    e_from: str, e_to: str | list[str], mime_msg: Any, conn_id: str = DEFAULT_CONNECTION, dryrun: bool = False
) -> None:
    """Hand a mail to the server of section [smtp]."""
    import smtplib

    if dryrun:
        return
    host, port = conf.get("smtp", "smtp_host"), conf.getint("smtp", "smtp_port")
    wait = conf.getfloat("smtp", "smtp_timeout")
    user, password = _login(conn_id)
    kind = smtplib.SMTP_SSL if conf.getboolean("smtp", "smtp_ssl") else smtplib.SMTP
    with kind(host, port, timeout=wait) as server:
        if kind is smtplib.SMTP and conf.getboolean("smtp", "smtp_starttls"):
            server.starttls()
        if user and password:
            server.login(user, password)
        server.sendmail(e_from, e_to, mime_msg.as_string())


def _login(conn_id: str) -> tuple[str | None, str | None]:
    from dagbok.models.connection import get_connection

    try:
        found = get_connection(conn_id)
    except AirflowNotFoundException:
        if conn_id != DEFAULT_CONNECTION:
            raise
        found = None
    except AirflowException as error:
        raise AirflowConfigException(f"no mail can be sent: {error}") from error
    user = (found and found.login) or conf.get("smtp", "smtp_user", fallback=None)
    return user, (found and found.password) or conf.get("smtp", "smtp_password", fallback=None)
