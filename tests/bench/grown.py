"""What lists, a look at the figures and a start cost once there is much: parts of `run.py`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

Row = Callable[[str, str, str, bool | None], None]
# Runs one measurement of the Rust side: its name, its arguments, its document.
Core = Callable[..., Any]

# Of the year: hourly DAGs, and days.
DAGS, DAYS = 1_000, 365


def slowest(lists: dict[str, dict[str, float]]) -> tuple[float, str]:
    """The largest p99 of the lists in milliseconds, and which of them has it."""
    path = max(lists, key=lambda path: lists[path]["p99_ms"])
    return lists[path]["p99_ms"], path


def pages(core: Core, row: Row) -> None:
    """Fourteen kinds of lists over ever more runs that are over, the rows on disk."""
    for runs, figure in core("lists").items():
        p50 = [one["p50_ms"] for one in figure["lists"].values()]
        p99, path = slowest(figure["lists"])
        row(
            f"lists over {int(runs):,} finished runs of 100 DAGs, {len(p50)} kinds",
            f"p50 {min(p50):.1f} to {max(p50):.1f}, p99 at most {p99:.1f} ms",
            "p99 <= 20 ms",
            p99 <= 20,
        )
        print(f"    the slowest: {path}")


def scrape(core: Core, row: Row) -> None:
    """The page of the log's figures, with many DAGs."""
    figure = core("scrape")
    row(
        f"a scrape of the log's figures with {figure['dags']:,} DAGs",
        f"{figure['ms']:.0f} ms (most {figure['ms_worst']:.0f}), {figure['bytes'] / 1e6:.1f} MB",
        "",
        None,
    )


def year(folder: Path, core: Core, row: Row) -> None:
    """A year of hourly DAGs in virtual time on real stores: a start then, and the lists. Half an hour and more."""
    home = str(folder / "home")
    core("year-fill", home, "--dags", str(DAGS), "--days", str(DAYS))
    figure = core("year-start", home)
    p99, path = slowest(figure["lists"])
    what, took = f"{DAYS} days of {DAGS:,} hourly DAGs", figure["start_s"]["all"]
    begun, after = figure["resident_mb"]["started"], figure["resident_mb"]["after_lists"]
    row(f"{what}: a start, until the rows are as far as the log", f"{took:.2f} s", "<= 3 s", took <= 3)
    row(f"{what}: memory then, and after the lists", f"{begun} MB, {after} MB", "<= 150 MB", after <= 150)
    row(f"{what}: lists", f"p99 at most {p99:.1f} ms ({path})", "<= 20 ms", p99 <= 20)
