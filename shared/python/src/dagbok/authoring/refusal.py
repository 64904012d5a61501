"""What a DAG asks for that can't be done today: noted where it stands, told when the file is parsed.

A refusal never stops the import, so that the other DAGs of a file still come up.
"""

from __future__ import annotations


class Refusal:
    """One feature, in a person's words, with the place that asks for it."""

    def __init__(self, feature: str, task_id: str | None = None, file: str = "", line: int = 0) -> None:
        self.feature, self.task_id, self.file, self.line = feature, task_id, file, line

    def message(self) -> str:
        """Say it in a sentence."""
        where = f": task `{self.task_id}`" if self.task_id else ""
        return f"{self.feature} not supported yet{where}"
