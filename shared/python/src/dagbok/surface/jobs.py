"""What `airflow.sdk` has for operators that wait for a job elsewhere."""

from __future__ import annotations

from typing import Any

__all__ = ["ResumableJobMixin", "poke_mode_only"]


class ResumableJobMixin:
    """Submits a job and waits for it; each try submits its own, since no state is kept between tries."""

    external_id_key = "remote_job_id"

    def __init__(self, *, durable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.durable = False

    def execute_resumable(self, context: Any) -> Any:
        """Submit the job, wait for it, and return what it gave."""
        job: Any = self
        external_id = job.submit_job(context)
        job.poll_until_complete(external_id, context)
        return job.get_job_result(external_id, context)


def poke_mode_only(cls: Any) -> Any:
    """Keep a sensor that remembers what it saw in mode `poke`: a leg of another try would have forgotten."""
    init = cls.__init__

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        if kwargs.get("mode", "poke") != "poke":
            raise ValueError(f"{cls.__name__} works in mode `poke` only, not in `{kwargs['mode']}`")
        init(self, *args, **kwargs)

    __init__.__wrapped__ = init  # type: ignore[attr-defined]
    cls.__init__ = __init__
    return cls
