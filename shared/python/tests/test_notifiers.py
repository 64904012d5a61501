"""Known notifiers of a file become whom alerting's routes can match."""

from __future__ import annotations

from conftest import Folder

FILE = """
def made(module, name, **had):
    kind = type(name, (), {"__module__": module, "__call__": lambda self, context: None})
    notifier = kind()
    vars(notifier).update(had)
    return notifier

slack = made("airflow.providers.slack.notifications.slack", "SlackNotifier", slack_conn_id="s", channel="#ml")
pager = made("airflow.providers.pagerduty.notifications.pagerduty", "PagerdutyNotifier", pagerduty_events_conn_id="pd")
smtp = made("airflow.providers.smtp.notifications.smtp", "SmtpNotifier", to=["ml@example.org", "bo@example.org"])
later = made("airflow.providers.smtp.notifications.smtp", "SmtpNotifier", to="{{ params.who }}")
own = made("my.team", "SlackNotifier", channel="#own")

with DAG("d", schedule=None, on_failure_callback=[slack, print]):
    EmptyOperator(task_id="a", on_failure_callback=[pager, smtp, later, own])
    EmptyOperator(task_id="b", on_failure_callback=slack, email="ana@example.org")
    EmptyOperator(task_id="c", on_success_callback=own)
"""


def test_known_notifiers_are_in_the_spec_and_mail_goes_to_their_mailboxes(folder: Folder) -> None:
    spec = folder.spec(FILE)
    assert spec["failure_notify"] == [
        "pagerduty:pd",
        "slack:#ml",
        "smtp:bo@example.org",
        "smtp:ml@example.org",
    ]
    assert spec["failure_email"] == ["ana@example.org", "bo@example.org", "ml@example.org"]


def test_a_file_without_them_says_nothing(folder: Folder) -> None:
    spec = folder.spec(
        "with DAG('d', schedule=None):\n    EmptyOperator(task_id='t', on_failure_callback=print)\n"
    )
    assert "failure_notify" not in spec
    assert "failure_email" not in spec
