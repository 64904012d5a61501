"""Environments of DAG folders: provider packages and requirements, without apache-airflow itself.

What a folder wants and what that came to are in its lock file, `dagbok.lock`. An environment is named by the
digest of that file and of the Python that it was made with, and lies with the person's other data, so that
folders with the same lock share one, and every machine makes the same one again.
"""

from __future__ import annotations

LOCK = "dagbok.lock"


class EnvironmentFailure(Exception):
    """What can't be had, and what to do instead; said to a person as it is."""
