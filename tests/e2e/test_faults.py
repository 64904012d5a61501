"""Services killed, frozen and cut off while they work: a short round of `chaos.py`'s scenes."""

from pathlib import Path

import broker_scenes
import pytest
import scenes


@pytest.mark.parametrize("seed", [1, 2])
def test_standalone_killed_while_it_works(tmp_path: Path, seed: int) -> None:
    scenes.standalone_killed(tmp_path, seed, kills=3)


@pytest.mark.alone
def test_work_goes_on_within_two_seconds_of_a_restart(tmp_path: Path) -> None:
    scenes.restart_is_quick(tmp_path)


def test_nothing_outlives_a_killed_standalone(tmp_path: Path) -> None:
    scenes.no_orphans(tmp_path)


def test_services_apart_killed_while_they_work(tmp_path: Path) -> None:
    scenes.services_killed(tmp_path, seed=3, kills=4)


@pytest.mark.alone
def test_a_killed_scheduler_is_replaced_within_ten_seconds(tmp_path: Path) -> None:
    scenes.scheduler_replaced(tmp_path)


@pytest.mark.alone
def test_a_killed_executor_is_made_up_for_within_a_lease_and_five_seconds(tmp_path: Path) -> None:
    scenes.executor_replaced(tmp_path)


def test_a_long_task_is_left_alone(tmp_path: Path) -> None:
    scenes.long_task_is_left_alone(tmp_path)


def test_a_frozen_executor_does_no_harm_when_it_wakes(tmp_path: Path) -> None:
    scenes.executor_frozen(tmp_path)


def test_the_broker_may_be_away(tmp_path: Path) -> None:
    scenes.broker_away(tmp_path, seconds=8.0)


@pytest.mark.parametrize("seed", [1, 2])
def test_what_is_sent_twice_runs_once(tmp_path: Path, seed: int) -> None:
    broker_scenes.network_lies(tmp_path, seed, seconds=12.0)


def test_streams_that_are_broken_heal(tmp_path: Path) -> None:
    broker_scenes.streams_broken(tmp_path, seed=1)


def test_garbage_on_the_log_is_passed_over_once_a_record_says_so(tmp_path: Path) -> None:
    broker_scenes.log_garbage(tmp_path)


def test_a_log_that_is_deleted_is_never_begun_anew(tmp_path: Path) -> None:
    broker_scenes.log_deleted(tmp_path)


def test_a_log_that_is_purged_is_built_on_by_nobody(tmp_path: Path) -> None:
    broker_scenes.log_purged(tmp_path)


def test_two_schedulers_at_once_do_no_harm(tmp_path: Path) -> None:
    scenes.two_schedulers(tmp_path, seed=5)


def test_a_full_disk_stops_work_and_loses_nothing(tmp_path: Path) -> None:
    try:
        scenes.disk_full(tmp_path)
    except scenes.MayNotMount as error:
        pytest.skip(f"filling a disk takes the right to mount one: {error}")
