"""What a partition is made of, and how much of that is enough."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import Enum
from typing import Any, ClassVar

from dagbok.exceptions import AirflowTimetableInvalid

# More than any window holds, and than any event makes of one key.
MOST = 1_000_000
OWN = ("dagbok.authoring.partitions", "dagbok.authoring.partition_windows")


def spec_form(one: Any, what: str) -> Any:
    """Return the form of a mapper, window or policy; a class of the file's own is refused."""
    if type(one).__module__ not in OWN:
        raise AirflowTimetableInvalid(
            f"{type(one).__name__} is a {what} of the file's own, which the scheduler can't run: "
            "put it together of Airflow's own (ChainMapper, ProductMapper, FanOutMapper, RollupMapper …)"
        )
    return one.form()


class Window:
    """What one partition is made of."""

    class Direction(str, Enum):  # noqa: UP042 - as there, where its text is the value
        """Which way a window lies from where its partition begins."""

        BACKWARD = "backward"
        FORWARD = "forward"

    expected_decoded_type: ClassVar[type] = str
    period: ClassVar[str] = ""

    def __init__(self, *, direction: Any = "forward") -> None:
        self.direction = Window.Direction(direction)

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        if not self.period:
            raise AirflowTimetableInvalid("Window says nothing of what it holds: take one of its kinds")
        form: dict[str, Any] = {"period": self.period}
        if self.direction is Window.Direction.BACKWARD:
            form["backward"] = True
        return {"Of": form}


class _Period(Window):
    expected_decoded_type = datetime


class HourWindow(_Period):
    """The minutes of an hour."""

    period = "hour"


class DayWindow(_Period):
    """The hours of a day."""

    period = "day"


class WeekWindow(_Period):
    """The days of a week."""

    period = "week"


class MonthWindow(_Period):
    """The days of a month."""

    period = "month"


class QuarterWindow(_Period):
    """The months of a quarter."""

    period = "quarter"


class YearWindow(_Period):
    """The months of a year."""

    period = "year"


class SegmentWindow(Window):
    """A fixed set of keys."""

    def __init__(self, segments: Iterable[str]) -> None:
        super().__init__()
        said = list(segments)
        for index, one in enumerate(said):
            if not isinstance(one, str) or not one:
                raise ValueError(
                    f"SegmentWindow segment keys must be non-empty str; got {one!r} at index {index}."
                )
        if not said:
            raise ValueError("SegmentWindow requires at least one segment key; got an empty iterable.")
        self._segments = frozenset(said)

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        return {"Segments": {"segments": sorted(self._segments)}}


class WaitPolicy:
    """When a partition that is made of others has enough of them."""

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        raise AirflowTimetableInvalid(f"{type(self).__name__} is no wait policy that is known here")


class WaitForAll(WaitPolicy):
    """Once all are there."""

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        return "All"


class MinimumCount(WaitPolicy):
    """Once so many are there; below 0: once no more than so many are missing."""

    def __init__(self, n: int) -> None:
        if not isinstance(n, int) or n == 0:
            raise ValueError(
                f"MinimumCount({n!r}) is degenerate: use WaitForAll() to require every key, or "
                "MinimumCount(n) with n != 0."
            )
        if abs(n) > MOST:
            raise ValueError(f"MinimumCount({n!r}) counts further than {MOST}, which no window holds.")
        self.n = n

    def form(self) -> Any:
        """Return the form of the DAG spec."""
        return {"MinimumCount": {"n": self.n}}
