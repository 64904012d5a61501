"""What the copies of a mapped task handed on, as one sequence that is fetched when it is looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload


class LazyXComSequence(Sequence[Any]):
    """The values in order of the map index; copies that pushed nothing are not in it.

    Like Airflow's it is no list: `list(…)` makes one of it.
    """

    def __init__(self, count: Callable[[], int], fetch: Callable[[int, int | None], list[Any]]) -> None:
        # How many there are; some of them, from one on, and no more than so many.
        self._count, self._fetch = count, fetch
        self._length: int | None = None
        self._values: list[Any] = []
        # Further ones, from one on: who looks at one value, as a copy does that is mapped over it, gets few.
        self._from, self._some, self._most = 0, list[Any](), 1

    def __len__(self) -> int:
        if self._length is None:
            self._length = self._count()
        return self._length

    def _fetched(self, most: int) -> list[Any]:
        """Return the values there are, at least so many where there are as many."""
        most = min(most, len(self))
        while len(self._values) < most:
            values = self._fetch(len(self._values), None)
            if not values:
                break
            self._values += values
        return self._values

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> list[Any]: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return self._fetched(len(self))[place]
        wanted = place + len(self) if place < 0 else place
        if not 0 <= wanted < len(self):
            raise IndexError(f"there is no value {place}: {len(self)} copies have handed one on")
        if wanted < len(self._values):
            return self._values[wanted]
        if not 0 <= wanted - self._from < len(self._some):
            self._from, self._some = wanted, self._fetch(wanted, self._most)
            self._most *= 2
        if not self._some:
            raise IndexError(f"there is no value {place} any more")
        return self._some[wanted - self._from]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._fetched(len(self)))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"LazyXComSequence([{len(self)} items])"
