"""Time zones by their names. Instants are told from each other elsewhere, and know of zones by this."""

from __future__ import annotations

import datetime as dt
from typing import Any


def parse_timezone(name: Any) -> dt.tzinfo:
    """Return a zone by its IANA name, its offset in seconds, or itself."""
    if isinstance(name, dt.tzinfo):
        return name
    if isinstance(name, int | float):
        return dt.timezone(dt.timedelta(seconds=name))
    if str(name).upper() == "UTC":
        return dt.UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(str(name))
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(
            f"no time zone is named {name!r}; use an IANA name such as Europe/Stockholm"
        ) from None


def zone_name(zone: dt.tzinfo | None) -> str:
    """Return a zone's IANA name, or its fixed offset as `+02:00`."""
    if zone is None:
        return "UTC"
    for attribute in ("key", "name", "zone"):  # zoneinfo, pendulum, pytz
        name = getattr(zone, attribute, None)
        if isinstance(name, str) and name:
            return name
    offset = zone.utcoffset(None)
    if offset is None:
        raise ValueError(f"the time zone {zone!r} has neither a name nor a fixed offset")
    if not offset:
        return "UTC"
    sign, rest = ("-", -offset) if offset < dt.timedelta(0) else ("+", offset)
    minutes = int(rest.total_seconds()) // 60
    return f"{sign}{minutes // 60:02}:{minutes % 60:02}"
