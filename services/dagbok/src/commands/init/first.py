"""A first DAG: numbers are drawn, each is squared in a task of its own, and the sum is told.

Change it while `dagbok standalone` runs: it is read again within a second.
"""

from datetime import datetime

from airflow.sdk import dag, task


@dag(schedule="@daily", start_date=datetime(2026, 1, 1), catchup=False, tags=["first"], params={"count": 3})
def first():
    @task
    def draw(params=None) -> list[int]:
        return list(range(1, params["count"] + 1))

    @task(retries=2)
    def square(number: int) -> int:
        print(f"{number} squared is {number * number}")
        return number * number

    @task
    def tell(squares: list[int]) -> int:
        total = sum(squares)
        print(f"the sum of {len(squares)} squares is {total}")
        return total

    tell(square.expand(number=draw()))


first()
