"""What templates reach as `macros`."""

from __future__ import annotations

import datetime as _datetime
import random as _random
import time as _time
from datetime import datetime, timedelta
from typing import Any

random = _random.random
time = _time
__all__ = [
    "datetime",
    "datetime_diff_for_humans",
    "ds_add",
    "ds_format",
    "ds_format_locale",
    "random",
    "time",
    "timedelta",
]


def ds_add(ds: str, days: int) -> str:
    """Return a date so many days later."""
    moved = datetime.strptime(str(ds), "%Y-%m-%d") + timedelta(days=days)
    return moved.strftime("%Y-%m-%d")


def ds_format(ds: str, input_format: str, output_format: str) -> str:
    """Return a date in another format."""
    return datetime.strptime(str(ds), input_format).strftime(output_format)


def ds_format_locale(ds: str, input_format: str, output_format: str, locale: Any = None) -> str:
    """Return a date in a locale's words, by a pattern of Unicode (`d MMM`); needs Babel."""
    try:
        from babel import Locale
        from babel.dates import LC_TIME, format_datetime
    except ImportError:
        raise ImportError("macros.ds_format_locale needs the package Babel: pip install babel") from None
    chosen = locale or LC_TIME or Locale("en_US")
    return str(format_datetime(datetime.strptime(str(ds), input_format), format=output_format, locale=chosen))


def datetime_diff_for_humans(dt: _datetime.datetime, since: _datetime.datetime | None = None) -> str:
    """Return how long ago an instant is, in words; needs pendulum."""
    import pendulum

    return str(pendulum.instance(dt).diff_for_humans(pendulum.instance(since) if since else None))


def __getattr__(name: str) -> Any:
    if name in {"uuid", "dateutil", "json", "math", "yaml"}:
        import importlib

        return importlib.import_module(name)
    if name.startswith("_"):
        raise AttributeError(name)
    from dagbok.surface.plugins import shown

    try:
        return shown("airflow.macros", name)
    except AttributeError as error:
        raise AttributeError(f"there is no macro `{name}`: {error}") from None
