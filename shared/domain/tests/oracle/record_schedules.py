"""Ask a real Airflow when schedules of every kind would run, and write its answers down.

    /tmp/af3/bin/python record_schedules.py
    /tmp/af2/bin/python record_schedules.py

Airflow 3 comes first, as with ``record_timetables.py``, whose questions these go beyond: 2,500 cron expressions
drawn at random, each in a zone, with or without start, end and catchup, some as one of several expressions or with
data intervals of their own; 100 changes of clocks in a spread of zones; deltas; events. Up to five runs each.
"""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import random
import zoneinfo
from typing import Any

from croniter import CroniterError, croniter
from record_timetables import CRONS, HERE, NEWER, ask, ask_manual, day, drawn_field, drawn_instant, write

SEED = 20_261_128
EXPRESSIONS, CLOCK_CHANGES = 2_500, 100

ZONES = """\
UTC Africa/Cairo Africa/Casablanca Africa/Johannesburg Africa/Lagos Africa/Monrovia Africa/Windhoek
America/Anchorage America/Argentina/Buenos_Aires America/Asuncion America/Bogota America/Caracas America/Chicago
America/Denver America/Godthab America/Halifax America/Havana America/Los_Angeles America/Mexico_City
America/New_York America/Phoenix America/Santiago America/Sao_Paulo America/St_Johns Antarctica/Troll
Asia/Amman Asia/Beirut Asia/Dhaka Asia/Gaza Asia/Hong_Kong Asia/Jerusalem Asia/Kathmandu Asia/Kolkata Asia/Pyongyang
Asia/Tehran Asia/Tokyo Asia/Ulaanbaatar Atlantic/Azores Atlantic/Reykjavik Australia/Adelaide Australia/Brisbane
Australia/Eucla Australia/Lord_Howe Australia/Sydney Europe/Berlin Europe/Chisinau Europe/Dublin Europe/Istanbul
Europe/Lisbon Europe/London Europe/Madrid Europe/Moscow Europe/Zurich Pacific/Apia Pacific/Auckland Pacific/Chatham
Pacific/Easter Pacific/Fiji Pacific/Honolulu Pacific/Kiritimati Pacific/Norfolk +02:00 -09:30""".split()


def drawn_expression(draw: random.Random) -> str:
    """Draw an expression that croniter takes."""
    while True:
        fields = draw.choice([5] * 9 + [6])
        text = " ".join(drawn_field(draw, place) for place in range(fields))
        try:
            croniter(text)
        except (CroniterError, ValueError):
            continue
        return text


def limited(draw: random.Random, case: dict[str, Any], near: float) -> dict[str, Any]:
    """Draw start, end, catchup and the clock."""
    case["catchup"] = draw.random() < 0.5
    if draw.random() < 0.9:
        case["start"] = drawn_instant(draw, near - draw.choice([0, 0, 40, 800]) * 86400)
    if draw.random() < 0.25:
        case["end"] = drawn_instant(draw, near + draw.choice([0, 30, 400]) * 86400)
    return case | {"now": drawn_instant(draw, near), "step": draw.choice([0, 3600, 86400]), "steps": 5}


def drawn_rule(draw: random.Random, cron: str) -> list[Any]:
    """Draw how an expression becomes runs."""
    shape = draw.random()
    if shape < 0.4:
        return ["cron_interval", cron]
    if shape < 0.7:
        return ["cron_trigger", cron]
    before = draw.choice([[0, 0], [3600, 0], [86400, 0], [0, 1], [-60, 1]])
    crons = [cron, *draw.sample(CRONS, draw.choice([0, 1, 2]))]
    return ["triggers", crons, before, draw.choice([None, None, True, 600, 86400])]


def expressions(draw: random.Random) -> list[dict[str, Any]]:
    """Draw the cron expressions, each in one of the zones."""
    cases = []
    for number in range(EXPRESSIONS):
        near = draw.randrange(day("1990-01-01"), day("2036-01-01"))
        case = {"rule": drawn_rule(draw, drawn_expression(draw)), "zone": ZONES[number % len(ZONES)]}
        cases.append(limited(draw, case, near))
    return cases


def turns() -> list[tuple[str, int]]:
    """Find every change of clocks in the zones, to the minute."""
    found = []
    for zone in ZONES:
        if zone.startswith(("+", "-")):
            continue
        place = zoneinfo.ZoneInfo(zone)

        def ahead(at: int, place: zoneinfo.ZoneInfo = place) -> dt.timedelta | None:
            return dt.datetime.fromtimestamp(at, place).utcoffset()

        for at in range(day("1985-01-01"), day("2037-01-01"), 7 * 86400):
            low, high = at, at + 7 * 86400
            if ahead(low) == ahead(high):
                continue
            while high - low > 60:
                middle = (low + high) // 120 * 60
                low, high = (middle, high) if ahead(middle) == ahead(low) else (low, middle)
            found.append((zone, high))
    return found


def clock_changes(draw: random.Random) -> list[dict[str, Any]]:
    """Let several expressions run through each of the changes."""
    by_zone: dict[str, list[int]] = {}
    for zone, turn in turns():
        by_zone.setdefault(zone, []).append(turn)
    picked: list[tuple[str, int]] = []
    while len(picked) < CLOCK_CHANGES:
        left = [zone for zone in by_zone if by_zone[zone]]
        zone = left[len(picked) % len(left)]
        picked.append((zone, by_zone[zone].pop(draw.randrange(len(by_zone[zone])))))
    cases = []
    for zone, turn in picked:
        for cron in draw.sample(CRONS, 5):
            often = cron.startswith(("0 *", "*/15", "20 *", "45 0-23"))
            start = turn - (draw.choice([1, 2]) * 3600 if often else draw.choice([20, 30, 44]) * 3600)
            for kind in ("cron_interval", "cron_trigger"):
                case = {"rule": [kind, cron], "zone": zone, "start": start, "catchup": True}
                cases.append(case | {"now": start, "step": 0, "steps": 5})
    return cases


def lengths(draw: random.Random) -> list[dict[str, Any]]:
    """Draw deltas, with data intervals of their own too."""
    cases = []
    for _ in range(300):
        fixed = [[60, 0], [3600, 0], [5400, 0], [86400, 0], [7 * 86400, 0]]
        every = draw.choice([*fixed, [0, 1], [0, 3], [0, 12], [86400, 1]])
        kind = draw.choice(["delta_interval", "delta_trigger", "delta_triggers"])
        rule = [kind, every, draw.choice([[3600, 0], [86400, 0], [0, 1]])]
        rule = rule if kind == "delta_triggers" else [kind, *every]
        near = draw.randrange(day("1990-01-01"), day("2036-01-01"))
        cases.append(limited(draw, {"rule": rule, "zone": draw.choice(ZONES)}, near))
    return cases


def manual(draw: random.Random) -> list[dict[str, Any]]:
    """Ask for the data intervals of manual runs."""
    noon = day("2024-05-01") + 43200
    dates = [noon + n * 86400 for n in (-20, 3, 1, 10, 11, 40)]
    rules: list[list[Any]] = [["events", dates], ["events_only", dates]]
    rules += [["triggers", ["0 2 * * *"], before, None] for before in ([3600, 0], [0, 1])]
    rules += [["delta_triggers", [86400, 0], before] for before in ([3600, 0], [0, 1])]
    return [ask_manual(rule, "Europe/Zurich", [drawn_instant(draw, noon) for _ in range(8)]) for rule in rules]


def main() -> None:
    """Record everything that this Airflow can say."""
    head = {"airflow": importlib.metadata.version("apache-airflow"), "seed": SEED}
    asked = {}
    for key, draws in (("expressions", expressions), ("changes", clock_changes), ("lengths", lengths)):
        if NEWER:
            asked[key] = [ask(case) for case in draws(random.Random(SEED))]
        else:
            # The same questions, but for what this version has no word for.
            newer = json.loads((HERE / "schedules-3.json").read_text())
            bare = [{name: case[name] for name in case if name != "next"} for case in newer[key]]
            asked[key] = [ask(case) for case in bare if not is_new(case["rule"])]
    asked["manual"] = manual(random.Random(SEED))
    if NEWER:
        write("schedules-3.json", head, asked)
        return
    newer = json.loads((HERE / "schedules-3.json").read_text())
    head["asked"] = {key: len(cases) for key, cases in asked.items()}
    other = {key: [case for case in cases if case not in newer[key]] for key, cases in asked.items()}
    write("schedules-2.json", head, other)


def is_new(rule: list[Any]) -> bool:
    """Whether Airflow 2 has no such timetable: several expressions, or runs at once."""
    return rule[0] == "triggers" and (len(rule[1]) > 1 or rule[3] is not None)


if __name__ == "__main__":
    main()
