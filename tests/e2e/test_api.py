"""The API answers as its own description says, whatever it is asked."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx
from dags import chain, hello
from harness import ROOT, Standalone, write_dag
from openapi_spec_validator import OpenAPIV31SpecValidator

# Those that answer for as long as they are listened to.
STREAMS = "dagbok/events|/follow|/wait|/ui/stream"


def test_the_openapi_document_is_valid(running: Standalone) -> None:
    served = httpx.get(f"{running.api.url}/openapi.json").json()
    assert served == json.loads((ROOT / "schemas/openapi.json").read_text())
    wrong = [f"{list(error.path)}: {error.message}" for error in OpenAPIV31SpecValidator(served).iter_errors()]
    assert not wrong, "\n".join(wrong[:10])


def test_foreign_names_and_pages_are_refused(running: Standalone) -> None:
    for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Origin": "null"}):
        for path in ("/api/v2/monitor/health", "/metrics", "/"):
            assert httpx.get(running.api.url + path, headers=headers).status_code == 403, headers
    own = {"Origin": running.api.url}
    assert httpx.get(f"{running.api.url}/api/v2/monitor/health", headers=own).status_code == 200


def test_every_answer_is_one_that_the_openapi_document_names(running: Standalone, dags: Path) -> None:
    write_dag(dags, "hello.py", hello("hello"))
    write_dag(dags, "chain.py", chain("chain", 2))
    for dag_id in ("hello", "chain"):
        running.wait_dag(dag_id)
        assert running.trigger(dag_id, "r1").status_code == 200
        assert running.api.wait_run(dag_id, "r1") == "success"
    argv = [
        *[sys.executable, "-m", "schemathesis.cli", "run", str(ROOT / "schemas/openapi.json")],
        *["--url", running.api.url, "--exclude-path-regex", STREAMS, "--request-timeout", "10"],
        *["--phases", "coverage,fuzzing", "--max-examples", "8", "--seed", "1", "--no-color"],
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=240, cwd=running.home)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    cases = re.search(r"(\d+) generated", done.stdout)
    assert cases is not None, done.stdout[-2000:]
    assert int(cases.group(1)) > 500, "hardly anything was asked"
    assert "panicked" not in running.process.log.read_text()
