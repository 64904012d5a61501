"""EmptyOperator: a point in the graph."""

from __future__ import annotations

from typing import Any

from dagbok.authoring.operator import BaseOperator


class EmptyOperator(BaseOperator):
    """Does nothing."""

    ui_color = "#e8f7e4"

    def execute(self, context: Any) -> None:
        """Do nothing."""


DummyOperator = EmptyOperator
