"""The parser that stays: warm, forking for each file, ours in its environment, with what bytecode there is."""

from __future__ import annotations

import json
import os
import py_compile
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import Folder
from fake_supervisor import SOURCE, WAIT, alive, gone

GOOD = "with DAG('d', schedule=None): pass\n"


class Server:
    """A parser process that is asked for one file after another."""

    def __init__(self, **how: Any) -> None:
        env = {**os.environ, "PYTHONPATH": str(SOURCE), **how.pop("env", {})}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "dagbok.parsing", "--serve"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            **how,
        )

    def ask(self, folder: Path, file: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"folder": str(folder), "file": file}).encode() + b"\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            document: dict[str, Any] = json.loads(line)
            if "dags" in document:
                return document
        raise AssertionError("the parser ended")

    def parse(self, folder: Folder, file: str, text: str) -> dict[str, Any]:
        self.ask(folder.path, folder.write(file, text))
        return self.answer()

    def end(self) -> int:
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(WAIT)


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.process.kill()
    server.process.wait(WAIT)


def test_one_process_answers_for_file_after_file(folder: Folder, server: Server) -> None:
    for n in range(3):
        answer = server.parse(folder, f"f{n}.py", f"import colorsys\nwith DAG('d{n}', schedule=None): pass\n")
        assert [dag["dag_id"] for dag in answer["dags"]] == [f"d{n}"]
        ended = server.parse(folder, "ends.py", "os._exit(7)\n")
        assert ended["errors"][0]["exception"] == "ParserDied"
        killed = server.parse(folder, "killed.py", "os.kill(os.getpid(), 9)\n")
        assert "SIGKILL" in killed["errors"][0]["message"]
    # What a file imported is not there for the next one.
    left = server.parse(folder, "left.py", "assert 'colorsys' not in sys.modules\n" + GOOD)
    assert left["errors"] == []
    assert server.end() == 0


def test_a_file_can_not_read_what_else_is_asked(folder: Folder, server: Server) -> None:
    folder.write("reads.py", "assert sys.stdin.read() == ''\nassert os.read(0, 10) == b''\n" + GOOD)
    folder.write("next.py", GOOD)
    server.ask(folder.path, "reads.py")
    server.ask(folder.path, "next.py")
    assert server.answer()["errors"] == []
    assert server.answer()["file"] == "next.py"


def test_when_whoever_asked_is_gone_so_is_what_is_being_imported(folder: Folder, server: Server) -> None:
    mark = folder.path / "pid"
    folder.write(
        "hangs.py",
        f"open({str(mark)!r} + '.new', 'w').write(str(os.getpid()))\n"
        f"os.rename({str(mark)!r} + '.new', {str(mark)!r})\nos.setsid()\ntime.sleep(600)\n",
    )
    server.ask(folder.path, "hangs.py")
    deadline = time.monotonic() + WAIT
    while not mark.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)
    assert alive(int(mark.read_text()))
    assert server.end() == 0
    assert gone(int(mark.read_text()))


def test_inherited_signals_are_undone(folder: Folder) -> None:
    def odd() -> None:
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, set(signal.Signals))

    server = Server(preexec_fn=odd)
    text = (
        "assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set()\n"
        "assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL\n"
        "assert subprocess.run(['true']).returncode == 0\nassert os.system('exit 3') == 3 << 8\n"
    )
    assert server.parse(folder, "file.py", text + GOOD)["errors"] == []
    assert "exit code 4" in server.parse(folder, "ends.py", "os._exit(4)\n")["errors"][0]["message"]
    assert server.end() == 0


class Package:
    """A module on the import path whose bytecode says another thing than its source, so that each shows."""

    def __init__(self, site: Path) -> None:
        site.mkdir()
        self.site, self.source = site, site / "heavy.py"
        self.source.write_text("FROM = 'bytecode'\n")
        self.bytecode = Path(py_compile.compile(str(self.source), doraise=True) or "")
        stat = self.source.stat()
        self.source.write_text("FROM = 'source__'\n")
        os.utime(self.source, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    def seen(self, folder: Folder, cache: Path | None, **env: str) -> str:
        """Return where an import takes the module from."""
        env = {"PYTHONPATH": f"{SOURCE}:{self.site}", **env}
        server = Server(env={**env, **({"DAGBOK_BYTECODE": str(cache)} if cache else {})})
        text = "import heavy\nwith DAG(heavy.FROM, schedule=None): pass\n"
        answer = server.parse(folder, "file.py", text)
        server.end()
        return str(answer["dags"][0]["dag_id"]) if answer["dags"] else str(answer["errors"])


@pytest.mark.parametrize(
    "env", [{}, {"PYTHONDONTWRITEBYTECODE": "1"}, {"PYTHONPYCACHEPREFIX": "/nowhere/at/all"}]
)
def test_installed_bytecode_is_used_whatever_the_environment_says(
    folder: Folder, tmp_path: Path, env: dict[str, str]
) -> None:
    package = Package(tmp_path / "site")
    for cache in (None, tmp_path / "cache"):
        assert package.seen(folder, cache, **env) == "bytecode"


def test_what_had_to_be_compiled_is_kept_in_our_folder_alone(folder: Folder, tmp_path: Path) -> None:
    package, cache = Package(tmp_path / "site"), tmp_path / "cache"
    package.bytecode.unlink()
    folder.write("lib/__init__.py", "")
    folder.write("lib/helper.py", "")
    folder.write("uses.py", "import lib.helper\n" + GOOD)
    assert package.seen(folder, cache) == "source__"
    assert not package.bytecode.exists()
    (kept,) = [path for path in cache.rglob("*.pyc") if "heavy" in path.name]
    # A second process reads that: here it says what only it can say.
    other = tmp_path / "other.py"
    other.write_text("FROM = 'kept'\n")
    header = kept.read_bytes()[:16]
    kept.write_bytes(header + Path(py_compile.compile(str(other), doraise=True) or "").read_bytes()[16:])
    assert package.seen(folder, cache, PYTHONDONTWRITEBYTECODE="1") == "kept"
    # Torn, or of another source, it counts for nothing and is written anew.
    whole = kept.read_bytes()
    for torn in (whole[:20], b"", bytes(len(whole)), header[:8] + bytes(8) + whole[16:]):
        kept.write_bytes(torn)
        assert package.seen(folder, cache) == "source__"
        assert len(kept.read_bytes()) > 20
    assert not list(folder.path.rglob("__pycache__"))


def test_a_folder_for_bytecode_that_can_not_be_used_costs_nothing_but_time(
    folder: Folder, tmp_path: Path
) -> None:
    package = Package(tmp_path / "site")
    package.bytecode.unlink()
    (tmp_path / "file").write_text("")
    assert package.seen(folder, tmp_path / "file" / "cache") == "source__"
