"""TaskFlow: values passed between tasks, a fan-out of three and a fan-in, a template in an argument.

Counts the words of three short texts side by side, and prints the commonest of all.
"""

from collections import Counter
from datetime import datetime, timedelta

from airflow.decorators import dag, task
from airflow.utils.task_group import TaskGroup

TEXTS = {
    "river": "the river takes the stone and the stone keeps the river",
    "winter": "winter keeps its own diary and writes every night in snow",
    "harbour": "the harbour counts the boats and the boats count the days",
}


@dag(
    schedule="@daily",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5)},
    tags=["example"],
)
def taskflow_wordcount():
    @task
    def count(text: str) -> dict:
        return dict(Counter(text.split()))

    @task
    def merge(counts: list) -> list:
        total = Counter()
        for one in counts:
            total.update(one)
        return total.most_common(3)

    @task
    def report(day: str, commonest: list) -> str:
        line = f"{day}: " + ", ".join(f"{word} ({times})" for word, times in commonest)
        print(line)
        return line

    with TaskGroup("count_each"):
        counts = [count.override(task_id=f"count_{name}")(text) for name, text in TEXTS.items()]
    report("{{ ds }}", merge(counts))


taskflow_wordcount()
