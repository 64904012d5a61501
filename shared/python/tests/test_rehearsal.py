"""A rehearsal leaves nothing behind that a try could see."""

from __future__ import annotations

import os
import sys

from conftest import Bench
from dagbok.masking import masker
from dagbok.runtime import current, interrupts, rehearsal


def test_nothing_of_a_rehearsal_is_left() -> None:
    environment, modules = dict(os.environ), set(sys.modules)
    rehearsal.rehearse()
    assert dict(os.environ) == environment
    assert current.supervisor_or_none() is None
    assert current._context is None
    assert masker.tell is None
    interrupts.check()
    assert not {name for name in set(sys.modules) - modules if name.startswith("jinja2")}


def test_a_try_sees_nothing_of_a_rehearsal(bench: Bench) -> None:
    bench.load(
        "def f():\n"
        "    print(sorted(name for name in os.environ if name.startswith('AIRFLOW_CTX')))\n"
        "with DAG('d', schedule=None) as d:\n    PythonOperator(task_id='t', python_callable=f)\n"
        "print('seen at the import:', [n for n in os.environ if n.startswith('AIRFLOW_CTX')], file=sys.stderr)\n"
    )
    result = bench.run("t")
    assert result.state == "success"
    assert "rehearsal" not in result.stdout
    assert "AIRFLOW_CTX_DAG_ID" in result.stdout


def test_streams_of_a_try_are_masked_and_know_their_pipe(bench: Bench) -> None:
    bench.load(
        "def f():\n"
        "    from dagbok.masking import mask_secret\n"
        "    mask_secret('hunter22!')\n"
        "    print('it is hunter22!', sys.stdout.seekable(), sys.stdout.buffer.seekable(), type(sys.stdout).__name__)\n"
        "with DAG('d', schedule=None) as d:\n    PythonOperator(task_id='t', python_callable=f)\n"
    )
    result = bench.run("t")
    assert result.stdout == "it is *** False False MaskedText\n", (
        result.stdout,
        result.stderr,
        result.requests,
    )
