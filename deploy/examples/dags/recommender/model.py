"""Matrix factorisation by alternating least squares: users' factors, then items', in turns."""

import json
import math
import random
from collections import defaultdict
from pathlib import Path

from recommender.store import write

RIDGE = 1.2


def fit(features_path: str, rank: int, rounds: int) -> tuple[Path, list[float]]:
    """Fit a model, saying how it goes; return its file and the training error after each round."""
    features = json.loads(Path(features_path).read_text())
    by_user, by_item = defaultdict(list), defaultdict(list)
    for user, item, rest in features["train"]:
        by_user[user].append((item, rest))
        by_item[item].append((user, rest))
    chance = random.Random(rank)
    # The first factor of each side is held at one, so that the other's is a bias.
    items = {item: [1.0, *(chance.gauss(0, 0.3) for _ in range(rank)), 0.0] for item in by_item}
    users: dict[int, list[float]] = {}
    history = []
    for number in range(1, rounds + 1):
        users = {user: _solve(seen, items, fixed_last=True) for user, seen in by_user.items()}
        items = {item: _solve(seen, users, fixed_last=False) for item, seen in by_item.items()}
        history.append(_error(features["train"], users, items))
        print(f"round {number}: training error {history[-1]:.4f}")
    model = {"mean": features["mean"], "users": users, "items": items, "rank": rank}
    target = Path(features_path.replace("features-", "model-"))
    return write(target, json.dumps(model)), history


def _solve(seen: list, others: dict, fixed_last: bool) -> list[float]:
    """Return the factors of one side that fit what was seen best, the other side held still.

    A user is [bias, …, 1] and an item [1, …, bias]: of each, one end is not fitted.
    """
    size = len(next(iter(others.values())))
    free = range(size - 1) if fixed_last else range(1, size)
    still = size - 1 if fixed_last else 0
    left = [[RIDGE if row == column else 0.0 for column in free] for row in free]
    right = [0.0 for _ in free]
    for other, rest in seen:
        factors = others[other]
        wanted = rest - factors[still]
        for row, a in enumerate(free):
            right[row] += factors[a] * wanted
            for column, b in enumerate(free):
                left[row][column] += factors[a] * factors[b]
    found = _gauss(left, right)
    return [*found, 1.0] if fixed_last else [1.0, *found]


def _gauss(left: list[list[float]], right: list[float]) -> list[float]:
    """Solve a small system of equations by elimination."""
    size = len(right)
    for pivot in range(size):
        best = max(range(pivot, size), key=lambda row: abs(left[row][pivot]))
        left[pivot], left[best] = left[best], left[pivot]
        right[pivot], right[best] = right[best], right[pivot]
        for row in range(pivot + 1, size):
            share = left[row][pivot] / left[pivot][pivot]
            right[row] -= share * right[pivot]
            for column in range(pivot, size):
                left[row][column] -= share * left[pivot][column]
    solved = [0.0] * size
    for row in reversed(range(size)):
        known = sum(left[row][column] * solved[column] for column in range(row + 1, size))
        solved[row] = (right[row] - known) / left[row][row]
    return solved


def _guess(user: list[float], item: list[float]) -> float:
    return sum(a * b for a, b in zip(user, item))


def _error(rows: list, users: dict, items: dict) -> float:
    nobody = {"user": None}
    total = 0.0
    for user, item, rest in rows:
        known = users.get(user, nobody), items.get(item, nobody)
        guess = _guess(*known) if nobody not in known else 0.0
        total += (rest - guess) ** 2
    return math.sqrt(total / len(rows))


def load(path: str) -> dict:
    """Return a model of a file, its users and items by number again."""
    model = json.loads(Path(path).read_text())
    for side in ("users", "items"):
        model[side] = {int(number): factors for number, factors in model[side].items()}
    return model


def score(features_path: str, model_path: str) -> dict[str, float]:
    """Return the error on the ratings held out, and that of always saying the mean; both in stars."""
    holdout = json.loads(Path(features_path).read_text())["holdout"]
    model = load(model_path)
    return {
        "rmse": _error(holdout, model["users"], model["items"]),
        "baseline": math.sqrt(sum(rest**2 for _, _, rest in holdout) / len(holdout)),
    }


def recommend(model: dict, user: int, count: int) -> list[int]:
    """Return the items that a user may like best."""
    factors = model["users"][user]
    return sorted(model["items"], key=lambda item: -_guess(factors, model["items"][item]))[:count]
