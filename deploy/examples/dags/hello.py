"""The smallest DAG: one task, by hand. Trigger it with `dagbok dags trigger hello`."""

from airflow.decorators import dag, task


@dag(schedule=None, tags=["example"])
def hello():
    @task
    def greet(name: str = "world") -> str:
        greeting = f"Hello, {name}!"
        print(greeting)
        return greeting

    greet()


hello()
