"""Ratings of one day: who gave how many stars to what. A day's are always the same."""

import csv
import io
import random
from pathlib import Path

from recommender.store import folder, write

USERS, ITEMS, TASTES, PER_USER = 150, 80, 3, 40


def collect(day: str) -> tuple[Path, int]:
    """Generate the ratings of a day; return their file and how many there are."""
    chance = random.Random(f"ratings of {day}")
    likes = [[chance.gauss(0, 0.6) for _ in range(TASTES)] for _ in range(USERS)]
    traits = [[chance.gauss(0, 0.9) for _ in range(TASTES)] for _ in range(ITEMS)]
    fame = [chance.gauss(0, 0.35) for _ in range(ITEMS)]
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(["user", "item", "stars"])
    count = 0
    for user in range(USERS):
        for item in chance.sample(range(ITEMS), PER_USER):
            taste = sum(a * b for a, b in zip(likes[user], traits[item]))
            stars = 3 + fame[item] + taste + chance.gauss(0, 0.4)
            table.writerow([user, item, f"{min(5.0, max(1.0, stars)):.2f}"])
            count += 1
    return write(folder() / f"ratings-{day}.csv", out.getvalue()), count


def read(path: str) -> list[tuple[int, int, float]]:
    """Return the rows of a file."""
    with open(path, newline="") as file:
        return [(int(row["user"]), int(row["item"]), float(row["stars"])) for row in csv.DictReader(file)]


def check(path: str) -> dict:
    """Say how much there is, and what is wrong with it."""
    rows = read(path)
    problems = []
    if len(rows) < 1000:
        problems.append(f"only {len(rows)} ratings, too few to learn from")
    outside = sum(not 1 <= stars <= 5 for _, _, stars in rows)
    if outside:
        problems.append(f"{outside} ratings are not between 1 and 5 stars")
    if len({(user, item) for user, item, _ in rows}) < len(rows):
        problems.append("somebody rated the same item twice")
    return {
        "rows": len(rows),
        "users": len({user for user, _, _ in rows}),
        "items": len({item for _, item, _ in rows}),
        "problems": problems,
    }
