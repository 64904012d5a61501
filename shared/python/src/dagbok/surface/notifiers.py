"""What `airflow.notifications.basenotifier` has: the base of callbacks that tell somebody of something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from dagbok.models.hook import LoggingMixin

__all__ = ["BaseNotifier"]


class BaseNotifier(LoggingMixin):
    """A callback with fields that are rendered before `notify(context)` is called."""

    template_fields: Sequence[str] = ()
    template_ext: Sequence[str] = ()

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()

    def notify(self, context: Any) -> None:
        """Tell it."""
        raise NotImplementedError(f"{type(self).__name__} defines no notify(context)")

    async def async_notify(self, context: Any) -> None:
        """Tell it, where a triggerer asks."""
        self.notify(context)

    def render_template_fields(self, context: Any, jinja_env: Any = None) -> None:
        """Render its fields in place."""
        for name in self.template_fields:
            value = getattr(self, name, None)
            setattr(self, name, context["task"].render_template(value, context, jinja_env))

    def __call__(self, *args: Any) -> None:
        """Render its fields and tell it; never raises, so that a callback does no harm."""
        context = args[0] if len(args) == 1 and isinstance(args[0], Mapping) else {"message": args}
        if "task" in context:
            try:
                self.render_template_fields(context)
            except Exception:
                self.log.exception("the fields of %s can't be rendered", type(self).__name__)
        try:
            self.notify(context)
        except Exception:
            self.log.exception("%s failed to notify", type(self).__name__)
