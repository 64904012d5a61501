"""What `airflow.plugins_manager` has: the base of plugins, whose files may stand beside DAGs."""

from __future__ import annotations

from typing import Any, ClassVar

from dagbok.surface.errors import AirflowPluginException

__all__ = ["AirflowPlugin", "AirflowPluginException", "AirflowPluginSource"]


class AirflowPluginSource:
    """Where a plugin came from."""


class AirflowPlugin:
    """A plugin of Airflow; defining one is accepted, and what it adds to the server has no effect."""

    name: str | None = None
    source: AirflowPluginSource | None = None
    macros: ClassVar[list[Any]] = []
    admin_views: ClassVar[list[Any]] = []
    flask_blueprints: ClassVar[list[Any]] = []
    fastapi_apps: ClassVar[list[Any]] = []
    fastapi_root_middlewares: ClassVar[list[Any]] = []
    external_views: ClassVar[list[Any]] = []
    react_apps: ClassVar[list[Any]] = []
    menu_links: ClassVar[list[Any]] = []
    appbuilder_views: ClassVar[list[Any]] = []
    appbuilder_menu_items: ClassVar[list[Any]] = []
    global_operator_extra_links: ClassVar[list[Any]] = []
    operator_extra_links: ClassVar[list[Any]] = []
    timetables: ClassVar[list[Any]] = []
    partition_mappers: ClassVar[list[Any]] = []
    listeners: ClassVar[list[Any]] = []
    hook_lineage_readers: ClassVar[list[Any]] = []
    priority_weight_strategies: ClassVar[list[Any]] = []

    @classmethod
    def validate(cls) -> None:
        """Raise where it has no name."""
        if not cls.name:
            raise AirflowPluginException(f"the plugin {cls.__name__} needs a name")

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Run when it is loaded."""
