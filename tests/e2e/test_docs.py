"""Every command of the README and of deploy's documents, run as somebody would who follows them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from docs import blocks_of
from harness import BIN, NATS_DIR, NATS_VERSION, ROOT

DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "deploy").glob("**/README.md")])
# Walks: documents that are followed one after the other in one home.
WALKS = {
    "readme": [ROOT / "README.md"],
    "running": [ROOT / "deploy/README.md"],
    "nats": [ROOT / "deploy/nats/README.md"],
    "alerting": [ROOT / "deploy/alerting/README.md"],
    "fleet": [ROOT / "deploy/fleet/README.md", ROOT / "deploy/kubernetes/README.md"],
}


def test_every_document_with_commands_is_followed() -> None:
    """One that nobody follows goes stale."""
    followed = {document for walk in WALKS.values() for document in walk}
    for document in DOCUMENTS:
        if blocks_of(document.read_text()):
            assert document in followed, document
    # What is passed over has a reason, and is the least part.
    blocks = [block for document in followed for block in blocks_of(document.read_text())]
    passed = [block for block in blocks if block.mark.startswith("not here: ")]
    assert len(passed) * 4 <= len(blocks), [block.commands for block in passed]


@pytest.mark.parametrize("walk", WALKS)
def test_the_commands_of_a_document_do_what_it_says(walk: str, tmp_path: Path) -> None:
    """In a home of its own and a network of its own, so that ports are those of the text."""
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "dagbok").symlink_to(BIN)
    (tools / "nats-server").symlink_to(NATS_DIR / f"nats-server-{NATS_VERSION}")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAGBOK_")}
    environment["PATH"] = f"{tools}:{os.environ['PATH']}"
    environment["DAGBOK_PYTHON"] = os.environ.get("DAGBOK_PYTHON", sys.executable)
    documents = [str(document) for document in WALKS[walk]]
    follow = [sys.executable, str(Path(__file__).with_name("docs.py")), str(tmp_path / "walk"), *documents]
    # With mounts of its own it may have networks within.
    up = 'ip link set lo up && mount -t tmpfs none /run && exec "$@"'
    alone = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c", up, "sh"]
    # Where this user may have no network of its own, the machine's must have the ports free.
    may = subprocess.run([*alone, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0
    done = subprocess.run(
        [*alone, *follow] if may else follow,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=900,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-8000:]
    assert "commands were run" in done.stdout
    # Whoever follows the configuration that is shipped is denied nothing.
    for log in (tmp_path / "walk").glob("behind-*.log"):
        assert "Permissions Violation" not in log.read_text(errors="replace"), log
