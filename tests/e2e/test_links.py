"""Executors on other machines: behind a slow link that loses packets and is cut, and with clocks that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from link_scenes import play


def test_an_executor_far_away_loses_nothing_and_runs_nothing_twice(tmp_path: Path) -> None:
    """Over 200 ms and 5 % of packets lost, and with a cut of three leases."""
    try:
        play("far_away", tmp_path, 7, 15.0)
    except OSError as error:
        pytest.skip(str(error))


def test_clocks_of_executors_change_nothing(tmp_path: Path) -> None:
    """Seven minutes ahead, and seven behind."""
    try:
        play("clocks_are_wrong", tmp_path, 7 * 60)
    except OSError as error:
        pytest.skip(str(error))
