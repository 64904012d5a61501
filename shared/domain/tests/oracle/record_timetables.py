"""Ask a real Airflow when it would run, and write its answers down.

    python -m venv /tmp/af2 && /tmp/af2/bin/pip install apache-airflow==2.11.2
    python -m venv /tmp/af3 && /tmp/af3/bin/pip install apache-airflow==3.3.2
    /tmp/af3/bin/python record_timetables.py
    /tmp/af2/bin/python record_timetables.py

Airflow 3 comes first. It writes ``timetables-3.json`` beside this file, every answer, and
``croniter.json``: what its cron library makes of 2,500 expressions. Airflow 2 is asked the same
and writes ``timetables-2.json``: only what it answers otherwise. The questions are drawn from a fixed
seed, so that a second recording differs only where Airflow does. Nothing is started: no scheduler, no
database, only the timetable classes, with their clock replaced.

Instants are seconds since 1970, with a fraction only where there is one. An interval is
``[start, end]``. Where Airflow raises, its scheduler logs that and plans nothing; such answers are
the exception's name in text.
"""

from __future__ import annotations

import calendar
import datetime as dt
import importlib.metadata
import json
import os
import pathlib
import random
import tempfile
import types
from typing import Any

if "AIRFLOW_HOME" not in os.environ:  # each process of its own imports this too
    os.environ["AIRFLOW_HOME"] = tempfile.mkdtemp(prefix="timetables-")
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "True"

import pendulum
from airflow.timetables import events, interval, simple, trigger
from airflow.timetables.base import DataInterval, TimeRestriction
from croniter import CroniterError, croniter
from dateutil.relativedelta import relativedelta

HERE = pathlib.Path(__file__).parent
SEED = 20_240_331
NEWER = importlib.metadata.version("apache-airflow").startswith("3.")

# ------------------------------------------------------------------ time


def seconds(at: dt.datetime) -> float | int:
    """Give an instant as the fixture holds it."""
    whole = calendar.timegm(at.utctimetuple())
    return whole + at.microsecond / 1_000_000 if at.microsecond else whole


def instant(at: float | None) -> pendulum.DateTime | None:
    """Read an instant of the fixture."""
    if at is None:
        return None
    return pendulum.datetime(1970, 1, 1).add(seconds=int(at // 1), microseconds=round(at % 1 * 1_000_000))


class Clock:
    """Stands in for ``utcnow`` wherever a timetable reads it."""

    now: pendulum.DateTime

    def __call__(self) -> pendulum.DateTime:
        """Tell the time that was set."""
        return self.now

    def install(self) -> None:
        """Replace the clock of every module that has one."""
        for module in (interval, trigger):
            module.utcnow = self  # type: ignore[attr-defined]
        for module in (simple, events):
            module.timezone.utcnow = self  # type: ignore[attr-defined]
        if NEWER:
            trigger.time = types.SimpleNamespace(time=lambda: self.now.timestamp())


CLOCK = Clock()
CLOCK.install()

# ------------------------------------------------------------- timetables


def timetable(rule: list[Any], zone: str) -> Any:
    """Build the timetable that a rule names. A delta is ``[seconds, months]``."""
    kind, *arguments = rule
    if kind in ("cron_interval", "cron_trigger"):
        place = pendulum.timezone(zone) if not zone.startswith(("+", "-")) else offset(zone)
        if kind == "cron_interval":
            return interval.CronDataIntervalTimetable(arguments[0], place)
        return trigger.CronTriggerTimetable(arguments[0], timezone=place)
    if kind in ("delta_interval", "delta_trigger"):
        every, months = arguments
        delta = relativedelta(months=months, seconds=every) if months else dt.timedelta(seconds=every)
        if kind == "delta_interval":
            return interval.DeltaDataIntervalTimetable(delta)
        return trigger.DeltaTriggerTimetable(delta)
    if kind == "events":
        return events.EventsTimetable([instant(at) for at in arguments[0]])
    if kind == "events_only":
        return events.EventsTimetable([instant(at) for at in arguments[0]], restrict_to_events=True)
    if kind == "triggers":
        return triggers(*arguments, zone)
    if kind == "delta_triggers":
        return trigger.DeltaTriggerTimetable(length(*arguments[0]), interval=length(*arguments[1]))
    return {
        "manual": simple.NullTimetable,
        "once": simple.OnceTimetable,
        "continuous": simple.ContinuousTimetable,
    }[kind]()


def length(every: int, months: int) -> dt.timedelta | relativedelta:
    """Build a delta of seconds and months."""
    return relativedelta(months=months, seconds=every) if months else dt.timedelta(seconds=every)


def triggers(crons: list[str], before: list[int], immediately: bool | int | None, zone: str) -> Any:
    """Build a trigger timetable of one cron expression or several; Airflow 2 has no `run_immediately`."""
    place = pendulum.timezone(zone) if not zone.startswith(("+", "-")) else offset(zone)
    said: dict[str, Any] = {"timezone": place, "interval": length(*before)}
    if NEWER and immediately is not None:
        at_once = immediately is True
        said["run_immediately"] = True if at_once else dt.timedelta(seconds=immediately)
    if len(crons) > 1:
        return trigger.MultipleCronTriggerTimetable(*crons, **said)
    return trigger.CronTriggerTimetable(crons[0], **said)


def offset(zone: str) -> pendulum.FixedTimezone:
    """Read a zone such as ``+02:00``."""
    hours, minutes = int(zone[1:3]), int(zone[4:6])
    return pendulum.FixedTimezone((1 if zone[0] == "+" else -1) * (hours * 3600 + minutes * 60))


def ask(case: dict[str, Any]) -> dict[str, Any]:
    """Fill in ``next``: the runs planned one after the other, the last one's interval handed on.

    The clock stands at ``now`` and moves by ``step`` after each of the ``steps``.
    """
    table = timetable(case["rule"], case["zone"])
    limits = TimeRestriction(instant(case.get("start")), instant(case.get("end")), case["catchup"])
    last = case.get("last")
    last = DataInterval(instant(last[0]), instant(last[1])) if last else None
    answers: list[Any] = []
    for n in range(case["steps"]):
        CLOCK.now = instant(case["now"]).add(seconds=n * case["step"])
        try:
            info = table.next_dagrun_info(last_automated_data_interval=last, restriction=limits)
        except Exception as problem:
            answers.append(type(problem).__name__)
            break
        if info is None:
            answers.append(None)
            break
        assert info.run_after == info.data_interval.end
        last = DataInterval(*(pendulum.instance(end).in_timezone("UTC") for end in info.data_interval))
        answers.append([seconds(last.start), seconds(last.end)])
    return {**case, "next": answers}


def ask_manual(rule: list[Any], zone: str, instants: list[float]) -> dict[str, Any]:
    """Ask what interval a manual run at each of the instants gets."""
    table = timetable(rule, zone)
    answers = []
    for at in instants:
        try:
            inferred = table.infer_manual_data_interval(run_after=instant(at))
            answers.append([at, seconds(inferred.start), seconds(inferred.end)])
        except Exception as problem:
            answers.append([at, type(problem).__name__])
    return {"rule": rule, "zone": zone, "manual": answers}


# -------------------------------------------------------------- questions

# Some days before clocks change: two an hour, one half an hour, two at midnight, one by a whole day,
# one without any, fixed offsets, and a zone that differs by the second in the past.
CHANGES = {
    "UTC": ["2024-03-09"],
    "America/New_York": ["1968-04-27", "2024-03-09", "2024-11-02", "2038-11-06"],
    "Europe/Zurich": ["2024-03-30", "2024-10-26"],
    "Europe/Dublin": ["2023-03-25", "2023-10-28"],
    "Australia/Lord_Howe": ["2024-04-06", "2024-10-05"],
    "America/Sao_Paulo": ["2018-11-03", "2018-02-17"],
    "Africa/Cairo": ["2024-04-25", "2024-10-31"],
    "Pacific/Apia": ["2011-12-29"],
    "Pacific/Chatham": ["2024-04-06", "2024-09-28"],
    "Asia/Kolkata": ["2024-03-30"],
    "+02:00": ["2024-03-30"],
    "-09:30": ["2024-12-31"],
    "Africa/Monrovia": ["1972-01-06"],
}
CRONS = [
    "0 2 * * *",
    "30 2 * * *",
    "30 1 * * *",
    "0 0 * * *",
    "0 * * * *",
    "*/15 * * * *",
    "0 */2 * * *",
    "0 0 * * 0",
    "45 0-23 * * *",
    "20 *,3 * * *",
    "*/20 1-3 * * *",
    "30 1,2,3 * * 1-6",
    "0 0 1,15 * 5",
    "15 2 L * *",
    "30 2 * * * 15",
    "0 */6 * * * */30",
    "@weekly",
    "@quarterly",
]


def day(text: str) -> int:
    """Midnight of a date, in UTC."""
    return int(pendulum.parse(text).timestamp())


def change(zone: str, text: str) -> int:
    """When the clock changes within three days of a date; the date where it doesn't."""
    place = pendulum.timezone(zone) if not zone.startswith(("+", "-")) else offset(zone)
    before = None
    for at in range(day(text), day(text) + 3 * 86400, 900):
        ahead = instant(at).in_timezone(place).utcoffset()
        if before is not None and ahead != before:
            return at
        before = ahead
    return day(text)


def around_changes() -> list[dict[str, Any]]:
    """Every expression through every change of clocks, catching up."""
    cases = []
    for zone, days in CHANGES.items():
        for text in days:
            turn = change(zone, text)
            for cron in CRONS:
                # Quick schedules begin just before the change, or they would never get to it.
                ahead, steps = {"*/15": (3600, 14), "0 *": (7200, 6), "20 ": (7200, 6), "45 ": (7200, 6)}.get(
                    cron[:4] if cron.startswith("*/15") else cron[:3], (30 * 3600, 4)
                )
                for kind in ("cron_interval", "cron_trigger"):
                    start = turn - ahead
                    case = {"rule": [kind, cron], "zone": zone, "start": start, "catchup": True}
                    cases.append(case | {"now": start, "step": 0, "steps": steps})
    return cases


def drawn_rule(draw: random.Random) -> list[Any]:
    """Draw a cron or a delta rule."""
    kind = draw.choice(
        ["cron_interval", "cron_interval", "cron_trigger", "cron_trigger", "delta_interval", "delta_trigger"]
    )
    if kind.startswith("cron"):
        return [kind, draw.choice(CRONS)]
    if draw.random() < 0.5:
        return [kind, draw.choice([1, 30, 3600, 5400, 86400, 7 * 86400, 100_000]), 0]
    return [kind, draw.choice([0, 0, 86400, -86400]), draw.choice([1, 1, 3, 12])]


def drawn_instant(draw: random.Random, near: float) -> float:
    """On the hour, near it, or anywhere, within a month of ``near``."""
    at = int(near) + draw.randrange(-30 * 86400, 30 * 86400)
    shape = draw.random()
    if shape < 0.4:
        return at - at % 3600
    if shape < 0.5:
        return at - at % 3600 - 0.000001
    if shape < 0.6:
        return at - at % 3600 + 0.000001
    if shape < 0.7:
        return at + 0.25
    return at


def drawn_cases(draw: random.Random, count: int) -> list[dict[str, Any]]:
    """Anything goes: with and without start, end, catchup and a last run, the clock moving on."""
    cases = []
    for _ in range(count):
        zone = draw.choice(list(CHANGES))
        near = day(draw.choice(CHANGES[zone]))
        now = drawn_instant(draw, near)
        case = {"rule": drawn_rule(draw), "zone": zone, "catchup": draw.random() < 0.3}
        if draw.random() < 0.8:
            case["start"] = drawn_instant(draw, near - draw.choice([0, 0, 400 * 86400, 3000 * 86400]))
        if draw.random() < 0.2:
            case["end"] = drawn_instant(draw, near)
        if draw.random() < 0.5:
            start = drawn_instant(draw, near)
            length = draw.choice([0, 3600, 86400, 7 * 86400]) if draw.random() < 0.5 else 0
            case["last"] = [start, start + length]
        case |= {"now": now, "step": draw.choice([0, 1, 60, 3600, 86400, 40 * 86400]), "steps": 3}
        cases.append(case)
    return cases


def plain_cases(draw: random.Random) -> list[dict[str, Any]]:
    """List the schedules that are no rows of ticks, and expressions that nothing matches."""
    noon = day("2024-05-01") + 43200
    dates = [noon + n * 86400 for n in (3, 1, 1, 10, 11, 40)] + [noon - 43200]
    rules = [["manual"], ["once"], ["continuous"], ["events", dates], ["events", []]]
    rules += [
        [kind, cron]
        for kind in ("cron_interval", "cron_trigger")
        for cron in ("0 0 30 2 *", "0 0 29 2 *", "0 0 31 4 * 30")
    ]
    cases = []
    for rule in rules:
        for start in (None, noon - 86400, noon + 2 * 86400, noon + 30 * 86400):
            for end in (None, noon + 5 * 86400):
                for last in (None, [noon - 90000, noon - 80000], [noon + 86400, noon + 86400]):
                    for catchup in (True, False):
                        case = {"rule": rule, "zone": "UTC", "catchup": catchup}
                        case |= {
                            key: value
                            for key, value in (("start", start), ("end", end), ("last", last))
                            if value
                        }
                        case |= {"now": noon, "step": draw.choice([60, 86400, 3 * 86400]), "steps": 3}
                        cases.append(case)
    return cases


def manual_cases(draw: random.Random) -> list[dict[str, Any]]:
    """Ask every rule for manual intervals around every change of clocks."""
    answers = []
    for zone, days in CHANGES.items():
        for cron in CRONS:
            asked = [drawn_instant(draw, day(text)) for text in days for _ in range(2)]
            asked += [day(text) + draw.randrange(0, 96) * 1800 for text in days for _ in range(3)]
            answers.append(ask_manual(["cron_interval", cron], zone, asked))
    for every, months in ((3600, 0), (86400, 0), (0, 1), (86400, 3)):
        for kind in ("delta_interval", "delta_trigger"):
            asked = [drawn_instant(draw, day("2024-03-30")) for _ in range(8)]
            answers.append(ask_manual([kind, every, months], "Europe/Zurich", asked))
    plain = [
        ["manual"],
        ["once"],
        ["continuous"],
        ["events", [day("2024-05-01")]],
        ["cron_trigger", "0 2 * * *"],
    ]
    answers += [ask_manual(rule, "Europe/Zurich", [drawn_instant(draw, day("2024-03-30"))]) for rule in plain]
    answers.append(ask_manual(["cron_interval", "0 0 30 2 *"], "UTC", [day("2024-05-01")]))
    return answers


# ------------------------------------------------------------ expressions

WORDS = {
    3: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    4: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
}
BOUNDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7), (0, 59), (1970, 2099)]

# What people write, what they get wrong, and the corners of the dialect.
CURATED = """\
@midnight|@hourly|@daily|@weekly|@monthly|@yearly|@annually|@Daily|@nonsense|@reboot|* * * * *
*/5 * * * *|5/15 * * * *|59/15 * * * *|0 22-2 * * *|0 22-6/3 * * *|0 0 * * fri-mon|0 0 * * 5-7
0 0 * * 7|0 0 * * 0-7|0 0 * * 1-7|0 0 * * 7-3|0 0 * * sun-sat|0 0 * * sun-sun|0 0 15 * 0-6
0 0 15 * */1|0 0 1-31 * */2|0 0 1-31 * 1|0 0 */1 * 1|0 0 * * 3-3|0 0 3-3 * *|3-3 * * * *|0 3-3 * * *
0 0 1 3-3 *|0 0 1 apr-jan/3 *|0 0 1 nov-feb *|0 0 L * *|0 0 l * *|0 0 15,L * *|0 0 15-L * *
0 0 L-5 * *|0 0 L/2 * *|0 0 L * 5|0 0 L 2 *|0 0 * * L|0 0 * * L5|0 0 * * 5L|0 0 * * L0|0 0 * * L7
0 0 * * L8|0 0 * * L1,L3|0 0 * * 1#1|0 0 * * 1#2,3#4|0 0 * * mon#5|0 0 * * 7#1|0 0 * * 1#6
0 0 * * 1#0|0 0 * * mon-wed#2|0 0 * * 1-3#2|0 0 * * mon-mon#2|0 0 * * *#2|0 0 * * 1#2,3
0 0 * * 0-6,1#2|0 0 * * *,1#2|0 0 10 * *,1#2|0 0 10 * 1#2|0 0 10 * L5|0 0 31 2 1#2|0 0 8-14 * 1#2
0 0 1 * 1#5|0 0 15W * *|0 0 W15 * *|0 0 1W * *|0 0 29W * *|0 0 30W * *|0 0 31W * *|0 0 30W 2 *
0 0 29W 1,2 *|0 0 31W 4 *|0 0 15W * 1|0 0 15W * 0|0 0 15W * 6,0|0 0 15W * 1#3|0 0 15W,20 * *
0 0 20,15W * *|0 0 LW * *|0 0 32W * *|0 0 0W * *|0 0 ? * *|0 0 * * ?|0 0 ? * ?|? * * * *|0 0 ?/2 * *
0 0 1,? * *|H * * * *|0 H * * *|H(0-29) * * * *|H/15 * * * *|0 0 H * *|60 * * * *|0 24 * * *
0 0 0 * *|0 0 32 * *|0 0 1 0 *|0 0 1 13 *|0 0 * * 8|* * * * * 60|-5 * * * *|5- * * * *|5-- * * * *
*/0 * * * *|*/61 * * * *|0-59/100 * * * *|*/x * * * *|1//2 * * * *|1/2/3 * * * *|1-2-3 * * * *
,1 * * * *|1, * * * *|1,,2 * * * *|a * * * *|0 0 * jan-foo *|0 0 * * monday|0 0 * january *
0 0 * * 1.5|٣ * * * *|* * * *|* * * * * * * *||0  0   * * *|0 0 * JAN-MAR MON|0 0 * jan/3 *
0 0 * dec/3 *|0 0 * * sat/2|0 0 * * 6/2|0 0 * * 5/1|0 0 * * 7/2|0 0 31 * *|0 0 30 2 *|0 0 31 2,4 *
0 0 31 4 1|0 0 29 2 *|0 0 29 2 1|0 0 * 2 1#5|* * * * * */15|* * * * * 5/20|0 0 * * * 0
0 0 1 1 * 0 2024|0 0 1 1 * 0 2024-2030/3|0 0 1 1 * 0 2098-1972/4|0 0 1 1 * 0 1969|0 0 1 1 * 0 2100
0 0 29 2 * 0 2025|0 12 1 1 * 30 2000,2040|0 0 1 1 * 0 *|0 0 1 1 * 0 */7|0-23 * * * *|0 0-23 * * *
0 *,3 * * *|0 */1 * * *|0 0-23/1 * * *|0 1-23,0 * * *|*,5 * * * *|0 0 *,5 * *|0 0 *,5 * 3
0 0 5 * *,3|*/7 */5 */9 */5 */3|13 1-23/7 2-30/9 1-11/4 1-5|0 4-3 * * *|50-10 * * * *
50-10/15 * * * *|58-3/2 * * * *|0 0 25-5 * *|0 0 25-5/4 * *|0 0 20-0 * *|0 0 0-0 * *|0 0 0-5 * *
0 0 1 12-0 *|0 0 1 0/3 *|0 0 1 1 * 0 2050-5|0 0 1 1 * 0 5-2050|0 0 20-0/5 * *|0 0 L1-5 * *"""


def drawn_part(draw: random.Random, place: int) -> str:
    """Draw what stands between two commas; now and then out of range."""
    low, high = BOUNDS[place]

    def value() -> str:
        if place in WORDS and draw.random() < 0.3:
            return draw.choice(WORDS[place])
        slip = 1 if draw.random() < 0.02 else 0
        return str(draw.randrange(low - slip if low else low, high + 1 + slip))

    shape = draw.random()
    if shape < 0.35:
        return value()
    if shape < 0.6:
        return f"{value()}-{value()}"
    if shape < 0.75:
        return f"{value()}-{value()}/{draw.randrange(1, 9)}"
    if shape < 0.85:
        return f"*/{draw.randrange(1, high + 3)}"
    if shape < 0.92:
        return f"{value()}/{draw.randrange(1, 20)}"
    if place == 4:
        return draw.choice([f"{value()}#{draw.randrange(1, 6)}", f"L{draw.randrange(0, 8)}", "*"])
    if place == 2:
        return draw.choice(["L", f"{draw.randrange(1, 32)}W", "*", "?"])
    return "*"


def drawn_field(draw: random.Random, place: int) -> str:
    """Draw one field."""
    chances = {2: 0.5, 3: 0.6, 4: 0.5, 6: 0.7}
    if draw.random() < chances.get(place, 0.2):
        return "*"
    return ",".join(drawn_part(draw, place) for _ in range(draw.choice([1, 1, 1, 2, 3])))


def naive(at: dt.datetime) -> int:
    """Give a wall clock time as seconds, as if it were UTC."""
    return round((at - dt.datetime(1970, 1, 1)).total_seconds())


def ask_croniter(expression: str, draw: random.Random) -> dict[str, Any]:
    """Find some ticks after and before some wall clock times, or that the expression is refused."""
    try:
        croniter(expression)
    except (CroniterError, ValueError) as problem:
        return {"cron": expression, "refused": str(problem)[:80]}
    asked = []
    for _ in range(2):
        at = draw.randrange(day("1999-01-01"), day("2038-01-01"))
        at -= draw.choice([0, at % 60, at % 3600, at % 86400])
        answers: list[list[int | None]] = []
        for step in ("get_next", "get_prev"):
            walk: list[int | None] = []
            look = croniter(expression, dt.datetime(1970, 1, 1) + dt.timedelta(seconds=at))
            for _ in range(3 if step == "get_next" else 2):
                try:
                    walk.append(naive(getattr(look, step)(dt.datetime)))
                except CroniterError:
                    walk.append(None)
                    break
            answers.append(walk)
        asked.append([at, *answers])
    return {"cron": expression, "hourly": croniter(expression).expanded[1] == ["*"], "asked": asked}


def expressions(draw: random.Random) -> list[dict[str, Any]]:
    """Ask about the curated expressions, and 2,500 drawn ones."""
    asked = [ask_croniter(text, draw) for line in CURATED.splitlines() for text in line.split("|")]
    for _ in range(2500):
        fields = draw.choice([5] * 8 + [6, 7])
        asked.append(ask_croniter(" ".join(drawn_field(draw, place) for place in range(fields)), draw))
    return asked


# ------------------------------------------------------------------ files


def write(name: str, head: dict[str, Any], lists: dict[str, list[Any]]) -> None:
    """One line a case, so that a second recording can be compared."""
    parts = [json.dumps(head)[1:-1]]
    for key, cases in lists.items():
        lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
        parts.append(f'"{key}": [\n{lines}\n]')
    (HERE / name).write_text("{" + ",\n".join(parts) + "}\n")


def main() -> None:
    """Record everything that this Airflow can say."""
    version = importlib.metadata.version("apache-airflow")
    head = {"airflow": version, "croniter": importlib.metadata.version("croniter"), "seed": SEED}
    draw = random.Random(SEED)
    cases = around_changes() + drawn_cases(draw, 900) + plain_cases(draw)
    asked = {"planned": [ask(case) for case in cases], "manual": manual_cases(draw)}
    if version.startswith("3."):
        write("timetables-3.json", head, asked)
        write("croniter.json", head, {"expressions": expressions(random.Random(SEED))})
        return
    newer = json.loads((HERE / "timetables-3.json").read_text())
    head["same"] = {key: sum(case in newer[key] for case in asked[key]) for key in asked}
    write(
        "timetables-2.json",
        head,
        {key: [case for case in asked[key] if case not in newer[key]] for key in asked},
    )


if __name__ == "__main__":
    main()
