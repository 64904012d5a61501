"""Retry policies, as Airflow 3.3 has them: what is done about a failure, by the exception.

A policy is asked in the task's own process, once it failed; it can fail the task at once, or have the next
try wait for another time. The number of retries stays the task's.
"""

from __future__ import annotations

import abc
import importlib
import logging
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, ClassVar

log = logging.getLogger("airflow.task")
ExceptionSpec = type[BaseException] | str


class RetryAction(Enum):
    """What should happen after a failure."""

    RETRY = "retry"
    FAIL = "fail"
    DEFAULT = "default"


@dataclass(frozen=True)
class RetryDecision:
    """What a policy decided; without a delay the task's own holds."""

    action: RetryAction = RetryAction.DEFAULT
    retry_delay: timedelta | None = None
    reason: str | None = None

    @classmethod
    def fail(cls, reason: str | None = None) -> RetryDecision:
        """Fail the task at once."""
        return cls(action=RetryAction.FAIL, reason=reason)

    @classmethod
    def retry(cls, delay: timedelta | None = None, reason: str | None = None) -> RetryDecision:
        """Retry while retries are left, after another delay where one is given."""
        return cls(action=RetryAction.RETRY, retry_delay=delay, reason=reason)

    @classmethod
    def default(cls) -> RetryDecision:
        """Do as if there were no policy."""
        return cls(action=RetryAction.DEFAULT)


class RetryPolicy(abc.ABC):
    """Base of policies. AirflowFailException and AirflowSensorTimeout fail the task without asking one."""

    @abc.abstractmethod
    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Decide what is done about a failure."""

    def serialize(self) -> dict[str, Any]:
        """Describe the policy in JSON; nothing here asks for it."""
        raise NotImplementedError(f"{type(self).__name__} must implement serialize()")

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> RetryPolicy:
        """Make a policy of what `serialize` returned."""
        raise NotImplementedError


@dataclass
class RetryRule:
    """What is done about an exception, or about any of several: classes, or their dotted paths."""

    exception: ExceptionSpec | list[ExceptionSpec]
    action: RetryAction = RetryAction.RETRY
    retry_delay: timedelta | None = None
    reason: str | None = None
    match_subclasses: bool = True
    _resolved: list[type[BaseException]] | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for spec in self._specs:
            if isinstance(spec, str) and (not spec or "." not in spec):
                raise ValueError(
                    "RetryRule exception string must be a dotted import path "
                    f"(e.g. 'builtins.ValueError'), got {spec!r}"
                )

    @property
    def _specs(self) -> list[ExceptionSpec]:
        return self.exception if isinstance(self.exception, list) else [self.exception]

    @property
    def exception_path(self) -> str:
        """The dotted paths of its exceptions, with commas between them."""
        return ",".join(_path(spec) for spec in self._specs)

    def matches(self, exc: BaseException) -> bool:
        """Whether the rule is about this exception."""
        if self._resolved is None:
            found = [_class(spec) for spec in self._specs]
            self._resolved = [known for known in found if known is not None]
        if self.match_subclasses:
            return isinstance(exc, tuple(self._resolved))
        return type(exc) in self._resolved

    def serialize(self) -> dict[str, Any]:
        """Describe the rule in JSON."""
        paths = [_path(spec) for spec in self._specs]
        told: dict[str, Any] = {
            "exception": paths if len(paths) > 1 else paths[0],
            "action": self.action.value,
            "match_subclasses": self.match_subclasses,
        }
        if self.retry_delay is not None:
            told["retry_delay"] = self.retry_delay.total_seconds()
        if self.reason is not None:
            told["reason"] = self.reason
        return told

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> RetryRule:
        """Make a rule of what `serialize` returned."""
        delay = data.get("retry_delay")
        return cls(
            exception=data["exception"],
            action=RetryAction(data["action"]),
            retry_delay=None if delay is None else timedelta(seconds=delay),
            reason=data.get("reason"),
            match_subclasses=data.get("match_subclasses", True),
        )


def _path(spec: ExceptionSpec) -> str:
    return spec if isinstance(spec, str) else f"{spec.__module__}.{spec.__qualname__}"


def _class(spec: ExceptionSpec) -> type[BaseException] | None:
    if not isinstance(spec, str):
        return spec
    module, _, name = spec.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError):
        log.warning("Could not import exception class %r, it will not match", spec)
        return None
    return found if isinstance(found, type) and issubclass(found, BaseException) else None


class ExceptionRetryPolicy(RetryPolicy):
    """The first rule that is about the exception decides, or else the default."""

    kind: ClassVar[str] = "ExceptionRetryPolicy"

    def __init__(self, rules: list[RetryRule], default: RetryAction = RetryAction.DEFAULT) -> None:
        self.rules, self.default = rules, default

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Any = None
    ) -> RetryDecision:
        """Decide by the rules."""
        for rule in self.rules:
            if rule.matches(exception):
                reason = rule.reason or f"Matched rule for {type(exception).__name__}"
                return RetryDecision(rule.action, rule.retry_delay, reason)
        return RetryDecision(action=self.default)

    def serialize(self) -> dict[str, Any]:
        """Describe the policy in JSON."""
        rules = [rule.serialize() for rule in self.rules]
        return {"__type": self.kind, "rules": rules, "default": self.default.value}

    @classmethod
    def deserialize(cls, data: dict[str, Any]) -> ExceptionRetryPolicy:
        """Make a policy of what `serialize` returned."""
        rules = [RetryRule.deserialize(rule) for rule in data["rules"]]
        return cls(rules=rules, default=RetryAction(data.get("default", "default")))
