"""DAG files that the tests write into folders."""

CHAIN = '''
"""Tasks one after the other; each notes that it ran, and when."""
import os, time
from datetime import datetime
from airflow.decorators import dag, task

WITNESS = os.environ["WITNESS"]


@task(retries=0)
def step(number, before):
    time.sleep({pause})
    with open(WITNESS, "a") as out:
        out.write(f"{{os.environ.get('DAGBOK_RUN', '')}} {{number}}\\n")
    return number


@dag(dag_id="{dag_id}", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False,
     max_active_runs=100, max_active_tasks=32)
def chain():
    value = 0
    for number in range({length}):
        value = step.override(task_id=f"step_{{number}}")(number, value)


chain()
'''


def chain(dag_id: str, length: int = 4, pause: float = 0.0) -> str:
    """A chain of `length` tasks, each `pause` seconds long."""
    return CHAIN.format(dag_id=dag_id, length=length, pause=pause)


WATCHED = '''
"""A fan and a tail. Each task notes apart from Dagbok that it starts and that it ends, with its try."""
import os, time
from datetime import datetime
from airflow.decorators import dag, task

EFFECTS = os.environ["EFFECTS"]


def note(what, ti):
    line = f"{{what}} {{ti.run_id}} {{ti.task_id}} {{ti.map_index}} {{ti.try_number}}\\n"
    out = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(out, line.encode())
    os.close(out)


@task(retries=2)
def step(before, ti=None):
    note("start", ti)
    time.sleep({pause})
    note("end", ti)
    return 1


@dag(dag_id="{dag_id}", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False,
     max_active_runs=100, max_active_tasks=64)
def watched():
    first = step.override(task_id="first")(0)
    fan = [step.override(task_id=f"fan_{{number}}")(first) for number in range({width})]
    step.override(task_id="last")(fan)


watched()
'''


def watched(dag_id: str, width: int = 8, pause: float = 0.0) -> str:
    """A task, `width` tasks after it, and one after those; each leaves lines in the file `EFFECTS`."""
    return WATCHED.format(dag_id=dag_id, width=width, pause=pause)


MIXED = '''
"""A task that fails once, one that waits for a trigger, and copies. Each notes apart from Dagbok what it does."""
import os
from datetime import datetime, timedelta, timezone
from airflow.decorators import dag, task
from airflow.models import BaseOperator
from airflow.triggers.temporal import DateTimeTrigger

EFFECTS = os.environ["EFFECTS"]


def note(what, ti):
    line = f"{{what}} {{ti.run_id}} {{ti.task_id}} {{ti.map_index}} {{ti.try_number}}\\n"
    out = os.open(EFFECTS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(out, line.encode())
    os.close(out)


class Waits(BaseOperator):
    def execute(self, context):
        moment = datetime.now(timezone.utc) + timedelta(seconds=0.3)
        self.defer(trigger=DateTimeTrigger(moment), method_name="over")

    def over(self, context, event=None):
        note("start", context["ti"])
        note("end", context["ti"])
        return 3


@task(retries=3, retry_delay=timedelta(seconds=0.2))
def flaky(ti=None):
    note("start", ti)
    if ti.try_number == 1:
        raise RuntimeError("the first time")
    note("end", ti)


@task(retries=2)
def numbers(count, ti=None):
    note("start", ti)
    note("end", ti)
    return list(range(count))


@task(retries=2)
def each(number, ti=None):
    note("start", ti)
    note("end", ti)


@dag(dag_id="{dag_id}", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False,
     max_active_runs=100, max_active_tasks=64)
def mixed():
    waits = Waits(task_id="waits", retries=2)
    flaky() >> waits
    each.expand(number=numbers(waits.output))


mixed()
'''


def mixed(dag_id: str) -> str:
    """A retry, a deferral and three copies; what runs leaves lines in the file `EFFECTS`."""
    return MIXED.format(dag_id=dag_id)


SLEEPER = '''
"""One long task that spawns a child of its own, and retries never."""
import os, subprocess, time
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator


def work():
    child = subprocess.Popen(["sleep", "{seconds}"])
    print("child", child.pid, flush=True)
    time.sleep({seconds})


with DAG("{dag_id}", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False) as dag:
    PythonOperator(task_id="work", python_callable=work)
'''


def sleeper(dag_id: str, seconds: float) -> str:
    """One task that sleeps, and starts a child that does."""
    return SLEEPER.format(dag_id=dag_id, seconds=seconds)


HELLO = """
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator

with DAG("{dag_id}", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False) as dag:
    PythonOperator(task_id="hello", python_callable=lambda: print("hello from {dag_id}"))
"""


def hello(dag_id: str) -> str:
    """One task that says hello."""
    return HELLO.format(dag_id=dag_id)


FAILS = """
import os, signal, time
from datetime import datetime, timedelta
from airflow import DAG
from airflow.operators.python import PythonOperator


def raises():
    raise ValueError("as told")


def hangs():
    time.sleep(60)


def killed():
    os.kill(os.getpid(), signal.SIGKILL)


def leaves():
    os._exit(7)


def starves():
    raise MemoryError("no more")


for name, work, options in [
    ("raises", raises, {}),
    ("hangs", hangs, {"execution_timeout": timedelta(seconds=1)}),
    ("killed", killed, {}),
    ("leaves", leaves, {}),
    ("starves", starves, {}),
    ("retries", raises, {"retries": 2, "retry_delay": timedelta(seconds=0.2)}),
]:
    with DAG(f"fails_{name}", schedule=None, start_date=datetime(2024, 1, 1), is_paused_upon_creation=False) as dag:
        first = PythonOperator(task_id=name, python_callable=work, **options)
        first >> PythonOperator(task_id="after", python_callable=lambda: None)
    globals()[f"dag_{name}"] = dag
"""
