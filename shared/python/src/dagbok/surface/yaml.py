"""What `airflow.utils.yaml` has: PyYAML, with its C parts where they are built."""

from __future__ import annotations

from typing import Any

__all__ = ["dump", "safe_load"]


def safe_load(stream: Any) -> Any:
    """Read plain values."""
    import yaml

    return yaml.load(stream, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def dump(data: Any, **kwargs: Any) -> Any:
    """Write plain values."""
    import yaml

    return yaml.dump(data, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper), **kwargs)


def __getattr__(name: str) -> Any:
    import yaml

    if name == "FullLoader":
        return getattr(yaml, "CFullLoader", yaml.FullLoader)
    return getattr(yaml, name)
