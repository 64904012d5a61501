"""Runs the commands of a document as somebody would who follows it: block by block, line by line, in one shell's state.

A fenced block of `sh` is run, unless the line before it says otherwise, in an HTML comment that readers don't see:

    <!-- run: in the background -->      each line is a service that goes on; the next begins once it is up
    <!-- run: not here: REASON -->       it can't be run here, and why
    <!-- run: until TEXT -->             the block's last line is asked again until it prints TEXT

A line must end well; where it is to end otherwise, its own comment says so: `# ends with 3`. Somebody is at the
terminal and says yes to what is asked.
"""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

PATIENCE = 120.0
MARK = re.compile(r"^<!-- run: (.*?) -->$")
FENCE = re.compile(r"^```(\w*)$")
HERE = re.compile(r"<<-?\s*'?(\w+)'?")
ENDS = re.compile(r"#.*\bends with (\d+)\b")
SHELLS = ("sh", "bash", "console")


@dataclass
class Block:
    """A fenced block: where it begins, what is said before it, and its commands."""

    line: int
    mark: str
    commands: list[str] = field(default_factory=list)


def commands_of(lines: list[str]) -> list[str]:
    """The commands of a block: a line each, or as many as a backslash or a here document joins."""
    found: list[str] = []
    at = 0
    while at < len(lines):
        text = lines[at]
        at += 1
        while text.endswith("\\") and at < len(lines):
            text += "\n" + lines[at]
            at += 1
        if here := HERE.search(text):
            while at < len(lines):
                text += "\n" + lines[at]
                at += 1
                if lines[at - 1] == here[1]:
                    break
        if text.strip() and not text.lstrip().startswith("#"):
            found.append(text)
    return found


def blocks_of(text: str) -> list[Block]:
    """Every block of shell commands of a document."""
    found: list[Block] = []
    inside: list[str] | None = None
    is_shell, mark, begin = False, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if inside is not None:
            if line == "```":
                if is_shell:
                    found.append(Block(begin, mark, commands_of(inside)))
                inside, mark = None, ""
            else:
                inside.append(line)
        elif fence:
            inside, is_shell, begin = [], fence[1] in SHELLS, number
        elif said := MARK.match(line):
            mark = said[1]
        elif line.strip():
            mark = ""
    return found


class Walk:
    """One walk through documents: what a shell would carry from line to line, and what goes on behind it."""

    def __init__(self, folder: Path) -> None:
        """Begins in an empty home in `folder`."""
        self.folder = folder
        self.state = folder / ".state.sh"
        self.behind: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.ran = 0
        home = folder / "home"
        home.mkdir(parents=True)
        # Documents name files of the checkout that they lie in.
        (home / "deploy").symlink_to(Path(__file__).resolve().parents[2] / "deploy")
        self.state.write_text(f"export HOME={home}\ncd {home}\n")

    def script(self, command: str) -> str:
        """The command between what was carried over and what is to be."""
        keep = f"{{ export -p; printf 'cd %q\\n' \"$PWD\"; }} > {self.state}.new && mv {self.state}.new {self.state}"
        return f"source {self.state}\n{command}\nrc=$?\n{keep}\nexit $rc\n"

    def run(self, command: str) -> tuple[int, str]:
        """Runs it with somebody at the terminal who says yes; how it ended, and what it printed."""
        ours, theirs = pty.openpty()
        os.write(ours, b"y\ny\n")
        try:
            done = subprocess.run(
                ["bash", "-c", self.script(command)],
                stdin=theirs,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=PATIENCE,
                check=False,
            )
        finally:
            os.close(theirs)
            os.close(ours)
        self.ran += 1
        return done.returncode, done.stdout.decode(errors="replace")

    def start(self, place: str, command: str) -> None:
        """Starts what goes on, and waits until it says that it is up, or has gone on for a while."""
        log = self.folder / f"behind-{len(self.behind)}.log"
        with log.open("wb") as out:
            child = subprocess.Popen(
                ["bash", "-c", f"source {self.state}\n{command}\n"],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.behind.append((place, child))
        self.ran += 1
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            said = log.read_text(errors="replace")
            assert child.poll() is None, f"{place}: `{command}` ended with {child.returncode}:\n{said[-2000:]}"
            if re.search(r"is up\.|API http|Server is ready|connected|leads", said):
                return
            time.sleep(0.1)
        raise AssertionError(f"{place}: `{command}` did not come up:\n{log.read_text()[-2000:]}")

    def end(self) -> None:
        """Ends what goes on, the last first; what was ended by the document is not there any more."""
        for _, child in reversed(self.behind):
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGTERM)
        for _, child in reversed(self.behind):
            try:
                child.wait(30.0)
            except subprocess.TimeoutExpired:
                os.killpg(child.pid, signal.SIGKILL)
                child.wait()

    def follow(self, document: Path) -> None:
        """Runs every block of a document that is to be run."""
        for block in blocks_of(document.read_text()):
            place = f"{document.name}:{block.line}"
            if block.mark.startswith("not here: "):
                assert len(block.mark) > 20, f"{place}: say why it can't be run here"
                continue
            until = block.mark.removeprefix("until ") if block.mark.startswith("until ") else None
            assert until or block.mark in ("", "in the background"), f"{place}: `{block.mark}` is no mark"
            for command in block.commands:
                if block.mark:
                    print(f"{place} [{block.mark}] {command}", flush=True)
                else:
                    print(f"{place} {command}", flush=True)
                if block.mark == "in the background":
                    self.start(place, command)
                elif until and command is block.commands[-1]:
                    self.ask(place, command, until)
                else:
                    self.once(place, command)

    def once(self, place: str, command: str) -> None:
        """Runs a line that must end as it says."""
        said = ENDS.search(command)
        want = int(said[1]) if said else 0
        code, printed = self.run(command)
        assert code == want, f"{place}: `{command}` ended with {code}, not {want}:\n{printed[-3000:]}"

    def ask(self, place: str, command: str, until: str) -> None:
        """Runs a line until it prints what is awaited."""
        end = time.monotonic() + PATIENCE
        while True:
            code, printed = self.run(command)
            if code == 0 and until in printed:
                return
            assert time.monotonic() < end, f"{place}: `{command}` never printed `{until}`:\n{printed[-3000:]}"
            time.sleep(0.3)


def main() -> None:
    """`docs.py FOLDER DOCUMENT …`: walks through the documents, one after the other."""
    folder, *documents = map(Path, sys.argv[1:])
    walk = Walk(folder)
    try:
        for document in documents:
            walk.follow(document)
    finally:
        walk.end()
    print(f"{walk.ran} commands were run")


if __name__ == "__main__":
    main()
