"""Asks a real Airflow how much the tasks of drawn graphs weigh, and writes down what it says.

Never needed by the tests. Run it with the Python of an environment that has Airflow, as `record.py` beside it. It
writes `weights-2.json` or `weights-3.json`: graphs, each a list of tasks `[upstreams, priority_weight, rule]`, and
their weights. The rule `heavy` is a class of the file's own, `null` no rule at all.
"""

import json
import os
import random
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
SEED, GRAPHS = 20_261_128, 120
RULES = ["downstream", "downstream", "upstream", "absolute", "heavy", None]
PLUGIN = """
from airflow.plugins_manager import AirflowPlugin
from airflow.task.priority_strategy import PriorityWeightStrategy


class Heavy(PriorityWeightStrategy):
    def get_weight(self, ti):
        return ti.task.priority_weight * 10 + len(ti.task.upstream_task_ids) - ti.try_number


class Registered(AirflowPlugin):
    name = "registered"
    priority_weight_strategies = [Heavy]
"""


def drawn(rng):
    """Draw a graph, upstreams before downstreams."""
    tasks = []
    for place in range(rng.randint(1, 12)):
        upstream = sorted(rng.sample(range(place), min(place, rng.choice([0, 1, 1, 2, 3]))))
        weight = rng.choice([1, 1, 1, 0, 2, 5, 100, -3, 2**30])
        tasks.append([upstream, weight, rng.choice(RULES)])
    return tasks


def main():
    """Ask about each graph."""
    home = Path(tempfile.mkdtemp(prefix="airflow-weights-"))
    os.environ.update(AIRFLOW_HOME=str(home), AIRFLOW__CORE__LOAD_EXAMPLES="False")
    (home / "plugins").mkdir()
    (home / "plugins" / "heavy.py").write_text(PLUGIN)
    sys.path.insert(0, str(home / "plugins"))
    from airflow import __version__

    era = int(__version__.split(".")[0])
    if era == 2:
        from airflow import DAG
        from airflow.operators.empty import EmptyOperator
        from airflow.utils.weight_rule import db_safe_priority as safe
    else:
        from airflow.providers.standard.operators.empty import EmptyOperator
        from airflow.sdk import DAG

        def safe(weight):
            return max(-(2**31), min(2**31 - 1, weight))

    from airflow.task.priority_strategy import validate_and_load_priority_weight_strategy as load
    from heavy import Heavy

    rng, answers = random.Random(SEED), []
    for number in range(GRAPHS):
        tasks = drawn(rng)
        with DAG(f"d{number}", schedule=None):
            made = []
            for place, (upstream, weight, rule) in enumerate(tasks):
                how = Heavy() if rule == "heavy" else rule
                task = EmptyOperator(task_id=f"t{place}", priority_weight=weight, weight_rule=how)
                made.append(task)
                for above in upstream:
                    made[above] >> task
        weights = []
        for task in made:
            rule = task.weight_rule if hasattr(task.weight_rule, "get_weight") else load(task.weight_rule)
            weights.append(safe(rule.get_weight(SimpleNamespace(task=task, try_number=0))))
        answers.append([tasks, weights])
    lines = ",\n".join(json.dumps(answer, separators=(",", ":")) for answer in answers)
    (HERE / f"weights-{era}.json").write_text(f"[\n{lines}\n]\n")


main()
