"""The demonstration: every day a recommender is trained on that day's ratings, and kept if it is good.

ingest → validate → featurize → train → evaluate → register

The data is generated (the same day always gives the same ratings) and the model is real: item and user
factors fitted by alternating least squares in plain Python, a second or two of work. What the tasks
hand to each other is paths and figures; files lie under $DAGBOK_EXAMPLE_STORE.
"""

from datetime import datetime, timedelta

from airflow import DAG
from airflow.operators.python import PythonOperator

MAX_RMSE = 0.75  # stars; always saying the mean is off by about one


def ingest(ds, **_):
    from recommender import ratings

    path, count = ratings.collect(ds)
    print(f"{count} ratings of {ds} in {path}")
    return str(path)


def validate(ti, **_):
    from recommender import ratings

    report = ratings.check(ti.xcom_pull(task_ids="ingest"))
    print(f"{report['rows']} rows, {report['users']} users, {report['items']} items")
    if report["problems"]:
        raise ValueError("; ".join(report["problems"]))


def featurize(ti, **_):
    from recommender import features

    path, sizes = features.build(ti.xcom_pull(task_ids="ingest"))
    print(f"{sizes['train']} ratings to learn from, {sizes['holdout']} held out, in {path}")
    return str(path)


def train(ti, params, **_):
    from recommender import model

    features = ti.xcom_pull(task_ids="featurize")
    path, history = model.fit(features, rank=params["rank"], rounds=params["rounds"])
    ti.xcom_push(key="training_error", value=history[-1])
    return str(path)


def evaluate(ti, **_):
    from recommender import model

    report = model.score(ti.xcom_pull(task_ids="featurize"), ti.xcom_pull(task_ids="train"))
    print(f"holdout error {report['rmse']:.4f} stars; saying the mean would give {report['baseline']:.4f}")
    if report["rmse"] > MAX_RMSE:
        raise ValueError(f"holdout error {report['rmse']:.3f} is above {MAX_RMSE}: not registered")
    return report


def register(ti, ds, **_):
    from recommender import registry

    entry = registry.add(ds, ti.xcom_pull(task_ids="train"), ti.xcom_pull(task_ids="evaluate"))
    better = f"{entry['better']:.0%} better than the mean"
    print(f"registered {entry['name']}: error {entry['rmse']:.4f} stars, {better}")
    print(f"user 7 may like items {', '.join(map(str, entry['sample']))}")
    print(f"model: {entry['path']}")
    return entry


with DAG(
    dag_id="recommendation_training",
    description="A day's ratings to a registered recommender",
    schedule="30 3 * * *",
    start_date=datetime(2026, 1, 1),
    catchup=False,
    max_active_runs=1,
    dagrun_timeout=timedelta(hours=1),
    params={"rank": 4, "rounds": 6},
    default_args={
        "owner": "recommendations",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "execution_timeout": timedelta(minutes=5),
    },
    tags=["example", "ml"],
    doc_md=__doc__,
) as dag:
    steps = [
        PythonOperator(task_id=step.__name__, python_callable=step)
        for step in (ingest, validate, featurize, train, evaluate, register)
    ]
    for before, after in zip(steps, steps[1:]):
        before >> after
