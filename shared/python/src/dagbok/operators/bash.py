"""BashOperator: a command in a process group of its own; its last line of output is the result."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from typing import Any

from dagbok.authoring import session
from dagbok.authoring.decorated import DecoratedOperator
from dagbok.authoring.operator import BaseOperator
from dagbok.exceptions import AirflowException, AirflowSkipException

# How long output may still come from elsewhere when bash itself has ended, in seconds.
LAST_WORDS = 1.0
# Linux takes 128 KiB in one argument, in bytes.
LONGEST = 100_000


class BashOperator(BaseOperator):
    """Runs a command or a script by bash. An exit code in `skip_on_exit_code` ends the try as skipped."""

    template_fields: Sequence[str] = ("bash_command", "env", "cwd")
    template_ext = (".sh", ".bash")
    template_fields_renderers = {"bash_command": "bash", "env": "json"}  # noqa: RUF012
    ui_color = "#f0ede4"

    def __init__(
        self,
        *,
        bash_command: Any,
        env: dict[str, str] | None = None,
        append_env: bool = False,
        output_encoding: str = "utf-8",
        skip_exit_code: int | None = None,
        skip_on_exit_code: int | list[int] | None = 99,
        cwd: str | None = None,
        output_processor: Callable[[str], Any] = lambda result: result,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bash_command, self.env, self.append_env, self.cwd = bash_command, env, append_env, cwd
        self.output_encoding, self.output_processor = output_encoding, output_processor
        skips = skip_on_exit_code if skip_exit_code is None else skip_exit_code
        self.skip_on_exit_code = [skips] if isinstance(skips, int) else list(skips or [])
        self._is_script = isinstance(bash_command, str) and bash_command.endswith(tuple(self.template_ext))
        self._process: Any = None

    def execute(self, context: Any) -> Any:
        """Run the command, its output line by line to the log."""
        import shutil
        import subprocess
        import tempfile

        from dagbok.runtime.context import environment
        from dagbok.runtime.interrupts import held

        bash = shutil.which("bash") or "bash"
        if self.cwd is not None and not os.path.isdir(self.cwd):
            raise AirflowException(f"the cwd of task `{self.task_id}` is no folder: {self.cwd}")
        env = {**os.environ, **(self.env or {})} if self.append_env or self.env is None else dict(self.env)
        env.update(environment(context))
        with tempfile.TemporaryDirectory(prefix="dagbok-bash-") as scratch:
            with held:  # told to end between the start and the assignment, on_kill would miss it
                self._process = subprocess.Popen(
                    [bash, *self._arguments(scratch)],
                    cwd=self.cwd or scratch,
                    env=env,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
            last = self._log_output()
            code = self._process.wait()
        if code in self.skip_on_exit_code:
            raise AirflowSkipException(f"bash exited with {code}, which stands for skipped")
        if code != 0:
            raise AirflowException(f"bash {_how_it_ended(code)}; its last line was: {last}")
        return self.output_processor(last)

    def _arguments(self, scratch: str) -> list[str]:
        """Return what bash is told: the command, or a file of it where it came from one or is long."""
        if not self._is_script and len(self.bash_command.encode()) <= LONGEST:
            return ["-c", self.bash_command]
        path = os.path.join(scratch, f"{self.task_id}.sh".replace(os.sep, "_"))
        with open(path, "w", encoding="utf-8") as script:
            script.write(self.bash_command)
        return [path]

    def _log_output(self) -> str:
        """Log what the command prints until it closes its output; return the last line."""
        last = ""
        for raw in self._process.stdout:
            last = raw.decode(self.output_encoding, errors="backslashreplace").rstrip()
            self.log.info("%s", last)
        return last

    def on_kill(self) -> None:
        """Tell the command's process group to end, and log what it still says.

        How long its clean-up may take is the executor's to set (`executor.kill_grace`): what is left then
        is killed with the try's process.
        """
        process = self._process
        if process is None or process.poll() is not None:
            return
        import threading

        rest = threading.Thread(target=self._log_output, daemon=True)
        rest.start()
        try:
            os.killpg(process.pid, signal.SIGTERM)
        except ProcessLookupError:
            return
        process.wait()
        rest.join(LAST_WORDS)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exited with {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"


class _BashDecoratedOperator(DecoratedOperator, BashOperator):
    """Runs the command that a function returns."""

    custom_operator_name = "@task.bash"
    template_fields: Sequence[str] = ("templates_dict", "op_args", "op_kwargs", "env", "cwd")

    def __init__(self, **kwargs: Any) -> None:
        if session.era() == 2:  # where it is passed over, as what bash prints was always one text
            kwargs["multiple_outputs"] = False
        super().__init__(bash_command="", **kwargs)

    def execute(self, context: Any) -> Any:
        """Call the function, render what it returns, and run that."""
        args, kwargs = self.call_arguments(context)
        from dagbok.runtime.driving import call

        command = call(self.python_callable, *args, **kwargs)
        if not isinstance(command, str) or not command.strip():
            raise TypeError(
                f"the function of task `{self.task_id}` must return a command as text, not {command!r}"
            )
        self.bash_command = self.render_template(command, context)
        return BashOperator.execute(self, context)
