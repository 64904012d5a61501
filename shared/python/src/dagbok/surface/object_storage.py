"""ObjectStoragePath: a path in a bucket, or on the disk, as `airflow.sdk` and `airflow.io.path` give it.

Nothing is connected to before a path is used. What reaches the store is fsspec, by way of the provider that
knows the scheme, with the connection that the path names: `s3://aws_default@bucket/key`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

__all__ = ["ObjectStoragePath"]


class ObjectStoragePath:
    """A path, by its address; `/` joins, and the methods are pathlib's."""

    def __init__(
        self,
        path: Any = "",
        *more: Any,
        protocol: str | None = None,
        conn_id: str | None = None,
        **options: Any,
    ) -> None:
        if isinstance(path, ObjectStoragePath):
            protocol, conn_id = protocol or path.protocol, conn_id or path.conn_id
            container, key, options = path.container, path.path, {**path.storage_options, **options}
        else:
            parts = urlsplit(str(path))
            user, _, container = parts.netloc.rpartition("@")
            protocol, conn_id, key = protocol or parts.scheme or "file", conn_id or user or None, parts.path
        self.protocol: str = protocol
        self.conn_id: str | None = conn_id
        self.container: str = container
        self.storage_options: dict[str, Any] = options
        self.path: str = posixpath.join(
            key or ("/" if container or protocol != "file" else ""), *map(str, more)
        )
        self._fs: Any = None

    @property
    def fs(self) -> Any:
        """The file system of fsspec behind it."""
        if self._fs is None:
            from dagbok.surface.providers import filesystem_module

            module = filesystem_module(self.protocol)
            if module is not None and self.protocol != "file":
                self._fs = module.get_fs(self.conn_id, self.storage_options)
            else:
                import fsspec

                self._fs = fsspec.filesystem(self.protocol, **self.storage_options)
        return self._fs

    bucket = property(lambda self: self.container, doc="The bucket.")
    namespace = property(lambda self: f"{self.protocol}://{self.container}", doc="Scheme and bucket.")
    key = property(lambda self: self.path.lstrip("/"), doc="The path inside the bucket.")
    name = property(lambda self: posixpath.basename(self.path.rstrip("/")), doc="Its last part.")
    stem = property(lambda self: posixpath.splitext(self.name)[0], doc="Its last part, without the suffix.")
    suffix = property(lambda self: posixpath.splitext(self.name)[1], doc="The suffix, with its dot.")
    parent = property(lambda self: self._at(posixpath.dirname(self.path.rstrip("/"))), doc="What it lies in.")

    @property
    def parts(self) -> tuple[str, ...]:
        """Its parts."""
        return tuple(part for part in self.path.split("/") if part)

    def _at(self, path: str) -> ObjectStoragePath:
        found = ObjectStoragePath(self)
        found.path, found._fs = path, self._fs
        return found

    def joinpath(self, *parts: Any) -> ObjectStoragePath:
        """Return a path below."""
        return self._at(posixpath.join(self.path, *map(str, parts)))

    def __truediv__(self, part: Any) -> ObjectStoragePath:
        return self.joinpath(part)

    def with_name(self, name: str) -> ObjectStoragePath:
        """Return the path beside it of another name."""
        found: ObjectStoragePath = self.parent / name
        return found

    def _inside(self) -> str:
        return f"{self.container}{self.path}"

    def _from(self, inside: str) -> ObjectStoragePath:
        return self._at(inside[len(self.container) :] if self.container else inside)

    def open(self, mode: str = "r", **kwargs: Any) -> Any:
        """Open it as a file."""
        return self.fs.open(self._inside(), mode, **kwargs)

    def read_bytes(self) -> bytes:
        """Return what it holds."""
        with self.open("rb") as file:
            return bytes(file.read())

    def read_text(self, encoding: str = "utf-8", **kwargs: Any) -> str:
        """Return what it holds, as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, data: bytes) -> int:
        """Put something into it."""
        with self.open("wb") as file:
            return int(file.write(data))

    def write_text(self, data: str, encoding: str = "utf-8", **kwargs: Any) -> int:
        """Put text into it."""
        return self.write_bytes(data.encode(encoding))

    def exists(self) -> bool:
        """Whether it is there."""
        return bool(self.fs.exists(self._inside()))

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return bool(self.fs.isdir(self._inside()))

    def is_file(self) -> bool:
        """Whether it is a file."""
        return bool(self.fs.isfile(self._inside()))

    def iterdir(self) -> Iterator[ObjectStoragePath]:
        """Yield what lies in it."""
        for inside in self.fs.ls(self._inside(), detail=False):
            yield self._from(inside)

    def glob(self, pattern: str, **kwargs: Any) -> Iterator[ObjectStoragePath]:
        """Yield what below it matches a pattern."""
        for inside in self.fs.glob(posixpath.join(self._inside(), pattern)):
            yield self._from(inside)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make the folder."""
        self.fs.makedirs(self._inside(), exist_ok=exist_ok)

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the file."""
        if not missing_ok or self.exists():
            self.fs.rm_file(self._inside())

    def rmdir(self, recursive: bool = True) -> None:
        """Delete the folder."""
        self.fs.rm(self._inside(), recursive=recursive)

    def stat(self) -> Any:
        """Return what the store says of it."""
        return self.fs.info(self._inside())

    def size(self) -> int:
        """Return its size in bytes."""
        return int(self.fs.size(self._inside()))

    def copy(self, dst: Any, recursive: bool = False, **kwargs: Any) -> None:
        """Copy it, also to another store; into a folder that is there."""
        target = dst if isinstance(dst, ObjectStoragePath) else ObjectStoragePath(dst)
        if self.is_dir():
            for inner in self.iterdir():
                inner.copy(target / inner.name, recursive, **kwargs)
            return
        if target.is_dir():
            target = target / self.name
        with self.open("rb") as source, target.open("wb") as sink:
            while piece := source.read(1 << 20):
                sink.write(piece)

    def move(self, path: Any, recursive: bool = False, **kwargs: Any) -> None:
        """Copy it, and delete it here."""
        self.copy(path, recursive, **kwargs)
        self.fs.rm(self._inside(), recursive=recursive or self.is_dir())

    def __str__(self) -> str:
        if self.protocol == "file" and not self.container:
            return f"file://{self.path}" if self.path.startswith("/") else self.path
        user = f"{self.conn_id}@" if self.conn_id else ""
        return f"{self.protocol}://{user}{self.container}{self.path}"

    as_uri = as_posix = __str__

    def __repr__(self) -> str:
        return f"ObjectStoragePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ObjectStoragePath) and str(self) == str(other)

    def __lt__(self, other: ObjectStoragePath) -> bool:
        return str(self) < str(other)

    def __hash__(self) -> int:
        return hash(str(self))
