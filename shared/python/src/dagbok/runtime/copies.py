"""Values that are fetched when they are looked at.

What the copies of a mapped task handed on, as one sequence, and what a task returned that others are mapped
over, of which a copy needs one element.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
        place = 0
        while place < len(self._fetched(place + 1)):
            yield self._values[place]
            place += 1

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or isinstance(other, str | bytes):
            return NotImplemented
        return list(self) == list(other)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"LazyXComSequence([{len(self)} items])"


class Elements:
    """A list, tuple or dict that lies elsewhere: its length, single elements, and the whole if need be."""

    def __init__(self, kind: str, length: int, first: tuple[int, Any], fetch: Any, whole: Any) -> None:
        # One element that came with the length, and where it stands; how to get others, and all.
        self.kind, self._length, self._first = kind, length, first
        self._fetch: Callable[[int], Any] = fetch
        self._read: Callable[[], Any] = whole
        self._all: Any = None

    def whole(self) -> Any:
        """Return the value itself."""
        if self._all is None:
            self._all = self._read()
        return self._all

    def one(self, place: int) -> Any:
        """Return one element; of a dict the pair of key and value."""
        if not 0 <= place < self._length:
            raise IndexError(f"there is no element {place} of {self._length}")
        return self._first[1] if place == self._first[0] else self._fetch(place)

    def __len__(self) -> int:
        return self._length

    def __repr__(self) -> str:
        return repr(self.whole())


class ElementsOfList(Elements, Sequence[Any]):
    """A list or tuple that lies elsewhere."""

    @overload
    def __getitem__(self, place: int) -> Any: ...
    @overload
    def __getitem__(self, place: slice) -> Any: ...
    def __getitem__(self, place: int | slice) -> Any:
        if isinstance(place, slice):
            return self.whole()[place]
        return self.one(place + len(self) if place < 0 else place)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.whole())


class ElementsOfDict(Elements, Mapping[Any, Any]):
    """A dict that lies elsewhere."""

    def __getitem__(self, key: Any) -> Any:
        return self.whole()[key]

    def __iter__(self) -> Iterator[Any]:
        return iter(self.whole())
