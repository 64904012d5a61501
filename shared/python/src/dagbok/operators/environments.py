"""Virtual environments for single tasks: made for one call, or kept for all that ask for the same."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

from dagbok.exceptions import AirflowException
from dagbok.operators.subprocesses import Command

READY = "dagbok-ready"


class Recipe(NamedTuple):
    """What an environment is made of."""

    requirements: list[str]
    python_version: str | None
    system_site_packages: bool
    pip_options: list[str]
    index_urls: list[str]

    def make(self, folder: Path, command: Command) -> str:
        """Make it in a folder; return the path of its Python."""
        argv = [self._base(), "-m", "venv"]
        if self.system_site_packages:
            argv.append("--system-site-packages")
        if not self.requirements:
            argv.append("--without-pip")
        self._run(command, [*argv, str(folder)], "be made")
        python = folder / "bin" / "python"
        self._see_the_tasks_own(folder)
        if self.requirements:
            listed = folder / "requirements.txt"
            listed.write_text("\n".join(self.requirements) + "\n")
            install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", *self.pip_options]
            self._run(command, [*install, "-r", str(listed)], "get what it requires")
        return str(python)

    def kept_in(self, cache: Path, command: Command) -> str:
        """Return the Python of one that is kept in a folder; it is made where there is none yet."""
        name = hashlib.sha256(json.dumps([*self, sys.version]).encode()).hexdigest()[:16]
        folder = cache / f"venv-{name}"
        cache.mkdir(parents=True, exist_ok=True)
        with open(cache / f"venv-{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # of several tasks one makes it
            if not (folder / READY).exists():
                shutil.rmtree(folder, ignore_errors=True)
                self.make(folder, command)
                (folder / READY).touch()
        return str(folder / "bin" / "python")

    def _base(self) -> str:
        if not self.python_version:
            return sys.executable
        found = shutil.which(f"python{self.python_version}")
        if found is None:
            raise AirflowException(f"there is no python{self.python_version} on this executor's PATH")
        return found

    def _see_the_tasks_own(self, folder: Path) -> None:
        """Where this Python is an environment itself, "the system's packages" are that one's."""
        if not self.system_site_packages or self.python_version or sys.prefix == sys.base_prefix:
            return
        import site

        own = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        # By `site`, so that what is installed for development there is seen as well.
        lines = [f"import site; site.addsitedir({path!r})" for path in site.getsitepackages()]
        own.joinpath("_dagbok_system.pth").write_text("\n".join(lines) + "\n")

    def _run(self, command: Command, argv: list[str], what: str) -> None:
        env = dict(os.environ)
        env.pop("PYTHONPATH", None)
        if self.index_urls:
            env["PIP_INDEX_URL"] = self.index_urls[0]
            env["PIP_EXTRA_INDEX_URL"] = " ".join(self.index_urls[1:])
        code, last = command.run(argv, env)
        if code != 0:
            raise AirflowException(f"the environment could not {what} (exit code {code}): {last}")
