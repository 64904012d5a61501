"""What a model learns from: ratings as distances from the mean, a fifth of them held out."""

import json
import random
from pathlib import Path

from recommender.ratings import read
from recommender.store import write


def build(path: str) -> tuple[Path, dict[str, int]]:
    """Split a day's ratings; return the file and the sizes of its parts."""
    rows = read(path)
    random.Random(len(rows)).shuffle(rows)
    cut = len(rows) // 5
    holdout, train = rows[:cut], rows[cut:]
    mean = sum(stars for _, _, stars in train) / len(train)
    features = {
        "mean": mean,
        "train": [[user, item, stars - mean] for user, item, stars in train],
        "holdout": [[user, item, stars - mean] for user, item, stars in holdout],
    }
    target = Path(path.replace("ratings-", "features-").replace(".csv", ".json"))
    return write(target, json.dumps(features)), {"train": len(train), "holdout": len(holdout)}
