"""Calls what a DAG author wrote, whatever kind of function it is, and sees its body through.

An async function is awaited. A generator function is run to its end, and what it *returns* is the result,
as in Airflow; of what it yields only metadata of its outlets counts. What can't be seen through is
refused: a task whose body never ran must not succeed.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from typing import Any

from dagbok.runtime import current, interrupts

# Of what most calls return it is known without asking the abstract classes, which costs a fresh process.
_PLAIN = (bool, int, float, str, bytes, list, tuple, dict)


def call(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
    """Call a function and return its result once all of it has run."""
    return finish(function, function(*args, **kwargs))


def finish(function: Callable[..., Any], result: Any) -> Any:
    """Return a call's result, its body run to the end first where the call only began it."""
    if result is None or isinstance(result, _PLAIN):
        return result
    if isinstance(result, Coroutine):
        return finish(function, _awaited(result))
    if isinstance(result, AsyncGenerator):
        raise TypeError(
            f"{_name(function)} is an async generator, which no task can be: make it an async function "
            "that returns what it has found"
        )
    if isinstance(result, Generator):
        if _is_generator_function(function):
            return _returned(result)
        result.close()
        raise TypeError(
            f"{_name(function)} returned a generator, whose body nobody has run: return a list of it "
            "(`list(…)`), or write `yield from` in the function itself"
        )
    return result


def _returned(generator: Generator[Any, Any, Any]) -> Any:
    while True:
        try:
            yielded = next(generator)
        except StopIteration as end:
            return end.value
        if (context := current.context_or_none()) is not None:
            context["outlet_events"].take(yielded)


def _awaited(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine on a loop of its own. A signal cancels it, so that it can clean up, and is raised."""
    import asyncio

    async def awaited() -> Any:
        return await coroutine

    seen: list[BaseException] = []
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(awaited())

        def interrupted(error: BaseException) -> None:
            # Raised inside a callback of the loop it would be swallowed there.
            seen.append(error)
            loop.call_soon_threadsafe(task.cancel)

        interrupts.listen(interrupted)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            if not seen:
                raise
            raise seen[0] from None
        finally:
            interrupts.listen(None)


def _is_generator_function(function: Any) -> bool:
    """Look through partials, decorators that say whom they wrap, and objects that are called."""
    for _ in range(100):
        if inspect.isgeneratorfunction(function):
            return True
        if isinstance(function, functools.partial):
            function = function.func
        elif hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif inspect.isroutine(function) or inspect.isclass(function) or not callable(function):
            return False
        else:
            function = type(function).__call__
    return False


def _name(function: Any) -> str:
    name = getattr(function, "__name__", None)
    return f"`{name}`" if isinstance(name, str) else f"a {type(function).__name__}"
