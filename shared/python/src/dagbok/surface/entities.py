"""What `airflow.lineage.entities` has: plain records that older files give as inlets and outlets."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar

__all__ = ["Column", "File", "Table", "Tag", "User"]


@dataclass
class File:
    """A file, by its address."""

    template_fields: ClassVar[tuple[str, ...]] = ("url",)
    url: str
    type_hint: str | None = None


@dataclass
class User:
    """A person."""

    template_fields: ClassVar[tuple[str, ...]] = ("email", "first_name", "last_name")
    email: str
    first_name: str | None = None
    last_name: str | None = None


@dataclass
class Tag:
    """A tag."""

    template_fields: ClassVar[tuple[str, ...]] = ("tag_name",)
    tag_name: str


@dataclass
class Column:
    """A column of a table."""

    template_fields: ClassVar[tuple[str, ...]] = ("name", "description", "data_type", "tags")
    name: str
    description: str | None = None
    data_type: str | None = None
    tags: list[Tag] = field(default_factory=list)


@dataclass
class Table:
    """A table."""

    template_fields: ClassVar[tuple[str, ...]] = ("database", "cluster", "name", "tags", "description")
    database: str
    cluster: str
    name: str
    tags: list[Tag] = field(default_factory=list)
    description: str | None = None
    columns: list[Column] = field(default_factory=list)
    owners: list[User] = field(default_factory=list)
    extra: dict[str, Any] = field(default_factory=dict)
    type_hint: str | None = None
