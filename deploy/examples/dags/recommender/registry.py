"""The registry of models: one JSON file for each day, and `latest.json`."""

import json

from recommender.model import load, recommend
from recommender.store import folder, write


def add(day: str, model_path: str, report: dict) -> dict:
    """Register a day's model; doing it again changes nothing."""
    entry = {
        "name": f"recommender-{day}",
        "path": model_path,
        "rmse": report["rmse"],
        "better": 1 - report["rmse"] / report["baseline"],
        "sample": recommend(load(model_path), user=7, count=5),
    }
    text = json.dumps(entry, indent=2)
    write(folder() / f"registered-{day}.json", text)
    write(folder() / "latest.json", text)
    return entry
