"""DAG files that the UI is looked at with: what runs well, what fails, what waits, what is hostile."""

from datetime import UTC, datetime
from pathlib import Path

TRAINING = """
from datetime import datetime, timedelta
import logging, time
from airflow.decorators import dag, task, task_group
from airflow.models.param import Param

@dag(schedule="DAILY", start_date=datetime(2026, 1, 1), catchup=False, tags=["ml", "daily"], max_active_runs=4,
     default_args={"owner": "ml-platform", "retries": 1, "retry_delay": timedelta(seconds=1)},
     description="Trains the recommender on the day's ratings",
     params={"lr": Param(0.01, type="number", minimum=0, maximum=1, description="Learning rate"),
             "epochs": Param(3, type="integer"), "loss": Param("bpr", enum=["bpr", "warp"]), "full": False})
def reco_training():
    @task_group
    def features():
        @task
        def ingest():
            print("ratings read")
            time.sleep(0.2)
            return 12
        @task
        def user(n):
            time.sleep(0.2)
            return n
        return user(ingest())

    @task
    def train(n, params=None):
        log = logging.getLogger("train")
        for step in range(400):
            print(f"step {step} loss {1 / (step + 1):.4f}")
        if params["lr"] > 0.5:
            log.error("loss is NaN at step 412, aborting")
            raise RuntimeError("loss diverged (NaN) at step 412")
        time.sleep(0.2)
        return {"rmse": 0.61, "model": "models/reco"}

    @task
    def shards():
        return list(range(6))

    @task
    def evaluate(shard, model):
        return shard

    @task
    def register(scores):
        print("registered")

    register(evaluate.partial(model=train(features())).expand(shard=shards()))

reco_training()
"""

SOURCES = """
from datetime import datetime
import time
from airflow import DAG
from airflow.operators.bash import BashOperator
from airflow.operators.python import PythonOperator

for name in ("a", "b", "c"):
    with DAG(f"etl_source_{name}", schedule="HOURLY", start_date=datetime(2026, 1, 1), catchup=False, tags=["etl"],
             default_args={"owner": "data"}) as made:
        extract = BashOperator(task_id="extract", bash_command="echo 1,204 rows from {{ run_id }}")
        extract >> PythonOperator(task_id="load", python_callable=lambda: time.sleep(0.05))
    globals()[name] = made
"""

WAITING = """
from datetime import datetime
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("gpu_fits", schedule=None, start_date=datetime(2026, 1, 1), tags=["gpu"], default_args={"owner": "research"}):
    for number in range(3):
        BashOperator(task_id=f"fit_{number}", bash_command="sleep 86400", pool="gpu")
"""

LONG = """
from datetime import datetime
from airflow.decorators import dag, task

@dag(schedule=None, start_date=datetime(2026, 1, 1), tags=["logs"])
def long_log():
    @task
    def speak():
        for number in range(1, 7001):
            print(f"line {number} of a log that is longer than what a page keeps of it at once")
    speak()

long_log()
"""

# Names are kept to what Airflow allows; notes, params, values and lines are as bad as they come.
HOSTILE = r"""
from datetime import datetime
from airflow.decorators import dag, task

BAD = "</script><script>window.broken=1</script><img src=x onerror='window.broken=1'>"

@dag(schedule=None, start_date=datetime(2026, 1, 1), tags=["<b>bold</b>"], description=BAD, doc_md=BAD,
     default_args={"owner": "<i>eve</i>"}, params={"name": BAD})
def hostile():
    @task
    def speak():
        print(BAD)
        print("\x1b[2J\x1b[31mred\x1b[0m \u202eback \ufeff")
        print('{"l": "error", "m": "forged"}')
        return {"html": BAD}
    @task
    def raise_it(value):
        raise ValueError(BAD)
    raise_it(speak())

hostile()
"""

# On either side of the line at which dates change: at every moment it is another day in one of them than in UTC.
ZONED = """
import pendulum
from airflow import DAG
from airflow.operators.bash import BashOperator

for name, zone in (("east", "Pacific/Kiritimati"), ("west", "Pacific/Pago_Pago")):
    with DAG(f"far_{name}", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz=zone),
             is_paused_upon_creation=True, tags=["zones"]) as made:
        BashOperator(task_id="look", bash_command="true")
    globals()[name] = made
"""

WIDE = """
from datetime import datetime
from airflow import DAG
from airflow.operators.empty import EmptyOperator

with DAG("wide", schedule=None, start_date=datetime(2026, 1, 1), is_paused_upon_creation=True, tags=["wide"]):
    first = EmptyOperator(task_id="first")
    for number in range(1_000):
        first >> EmptyOperator(task_id=f"shard_{number:04}")
"""

# For people to look at alone: what asks them, what is of partitions, what needs memory for a while.
SHOWN = r"""
from datetime import datetime, timedelta
import time
from airflow.sdk import DAG, Param, PartitionedAtRuntime, task
from airflow.providers.standard.operators.hitl import ApprovalOperator, HITLOperator

with DAG("release", schedule=None, tags=["people"], default_args={"owner": "ml-platform"}):
    ApprovalOperator(task_id="approve", subject="Ship the model of November 19?",
                     body="rmse 0.61, was 0.63.\nThree shards are older than a day: s1, s4, s5.",
                     response_timeout=timedelta(hours=3))
    HITLOperator(task_id="choose", subject="Where does it go, and to how many?",
                 options=["staging", "canary", "everywhere"],
                 multiple=True, assigned_users={"id": "ana", "name": "Ana"},
                 params={"share": Param(5, type="integer", description="per cent of the traffic"), "watch": True})

with DAG("regions", schedule=PartitionedAtRuntime(), tags=["people"]):
    @task
    def see(dag_run=None):
        return dag_run.partition_key
    see()

with DAG("hungry", schedule=None, tags=["ml"]):
    @task
    def grow():
        kept = []
        for step in range(26):
            kept.append(bytearray(12_000_000))
            print(f"step {step}")
            time.sleep(1)
    grow()
"""

BROKEN = """
from os import environ
from airflow import DAG

WAREHOUSE = environ["WAREHOUSE_URL"]
"""


def write(folder: Path, *, broken: bool = False, hostile: bool = True, wide: bool = False) -> None:
    """Writes the files into a DAG folder."""
    files = {"training.py": TRAINING, "sources.py": SOURCES, "waiting.py": WAITING, "long.py": LONG, "zoned.py": ZONED}
    if hostile:
        files["hostile.py"] = HOSTILE
    if wide:
        files["wide.py"] = WIDE
    if broken:
        files["broken.py"] = BROKEN
    for name, text in files.items():
        (folder / name).write_text(timed(text))


def timed(text: str) -> str:
    """Has schedules fall due as far from now as they can: a run that comes by itself changes what tests count."""
    now = datetime.now(UTC)
    daily, hourly = f"0 {(now.hour + 12) % 24} * * *", f"{(now.minute + 30) % 60} * * * *"
    return text.replace("DAILY", daily).replace("HOURLY", hourly)
