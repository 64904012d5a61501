"""One try through a real zygote: results, XComs, templates, logs, failures."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import Bench
from fake_supervisor import NOW, Result

Body = Callable[..., Result]


def test_success_with_its_return_value_output_and_log(task_body: Body) -> None:
    result = task_body(
        """
        import logging
        logging.getLogger("mine").warning("look at %s", "this")
        print("to stdout")
        print("to stderr", file=sys.stderr)
        return {"a": [1, 2.5, None, True, "ö"]}
        """
    )
    assert result.state == "success"
    assert result.exited["exit_code"] == 0
    assert result.exited["signal"] is None
    assert result.exited["leftovers"] == 0
    assert result.exited["max_rss_bytes"] > 1_000_000
    (push,) = result.of("SetXCom")
    assert (push["key"], push["value"], push["task_id"]) == (
        "return_value",
        {"a": [1, 2.5, None, True, "ö"]},
        "t",
    )
    assert result.stdout == "to stdout\n"
    assert result.stderr == "to stderr\n"
    (line,) = result.logs
    assert line["level"] == "warning"
    assert line["logger"] == "mine"
    assert line["event"] == "look at this"
    assert line["filename"] == "file.py"
    assert dt.datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    # The result's XCom is safe before the success is told.
    assert [r["type"] for r in result.requests] == ["SetXCom", "SucceedTask"]


def test_nothing_is_pushed_for_none(task_body: Body) -> None:
    assert task_body("return None").of("SetXCom") == []


def test_an_exception_tells_kind_message_place_and_only_the_users_frames(task_body: Body) -> None:
    result = task_body("raise ValueError('bad value')")
    assert result.state == "failed"
    assert result.exited["exit_code"] == 0
    error = result.error
    assert error["kind"] == "exception"
    assert error["exception"] == "ValueError"
    assert error["message"] == "bad value"
    assert error["file"] == "file.py"
    assert error["line"] == 12
    assert "raise ValueError" in error["traceback"]
    assert "dagbok/runtime" not in error["traceback"]
    assert [r["type"] for r in result.requests] == ["TaskError", "TaskState"]
    assert "bad value" in result.logs[-1]["exception"]


def test_a_cause_is_part_of_the_traceback(task_body: Body) -> None:
    result = task_body(
        """
        try:
            1 / 0
        except ZeroDivisionError as error:
            raise RuntimeError("wrapped") from error
        """
    )
    assert "ZeroDivisionError" in result.error["traceback"]
    assert "direct cause" in result.error["traceback"]


def test_a_failure_that_will_be_retried_says_retry(task_body: Body) -> None:
    result = task_body("raise ValueError('again')", should_retry=True)
    assert result.state == "up_for_retry"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("raise AirflowFailException('no use')", "fail_without_retry"),
        (
            "from airflow.exceptions import AirflowSensorTimeout; raise AirflowSensorTimeout('x')",
            "fail_without_retry",
        ),
    ],
)
def test_fail_without_retry(task_body: Body, body: str, kind: str) -> None:
    result = task_body(body, should_retry=True)
    assert result.state == "failed"
    assert result.error["kind"] == kind


def test_skip(task_body: Body) -> None:
    result = task_body("raise AirflowSkipException('not today')", should_retry=True)
    assert result.state == "skipped"
    assert result.of("TaskError") == []


@pytest.mark.parametrize("code", ["3", "'words'"])
def test_sys_exit_with_a_word_is_a_failure(task_body: Body, code: str) -> None:
    result = task_body(f"sys.exit({code})")
    assert result.state == "failed"
    assert result.error["exception"] == "SystemExit"
    assert "sys.exit" in result.error["message"]


def test_an_exception_whose_text_can_not_be_had(task_body: Body) -> None:
    result = task_body(
        """
        class Odd(Exception):
            def __str__(self):
                raise RuntimeError("no")
        raise Odd()
        """
    )
    assert result.state == "failed"
    assert "RuntimeError" in result.error["message"]


def test_a_huge_message_is_cut(task_body: Body) -> None:
    result = task_body("raise ValueError('x' * 5_000_000)")
    assert len(result.error["message"]) < 20_000
    assert "bytes cut" in result.error["message"]


def test_timeout_is_told_and_can_not_be_swallowed_by_except_exception(task_body: Body) -> None:
    result = task_body(
        """
        try:
            time.sleep(60)
        except Exception:
            pass
        """,
        timeout=0.2,
    )
    assert result.state == "failed"
    assert result.error["kind"] == "timeout"
    assert "0.2 s" in result.error["message"]


def test_no_timeout_after_the_work_is_done(task_body: Body) -> None:
    assert task_body("return 1", timeout=30).state == "success"


def test_a_value_without_json_form_names_its_type_and_place(task_body: Body) -> None:
    result = task_body("class Thing: pass\nreturn {'a': [1, Thing()]}")
    assert result.state == "failed"
    assert result.error["exception"] == "XComNotSerializable"
    assert "Thing" in result.error["message"]
    assert "['a'][1]" in result.error["message"]


def test_a_refused_xcom_fails_the_task_with_the_supervisors_words(bench: Bench) -> None:
    message = "the XCom `return_value` of task `t` has 70000 bytes; the limit is 48 KiB"
    bench.supervisor.refuse_xcom = {
        "type": "ErrorResponse", "error": "GENERIC_ERROR", "detail": {"message": message},
    }  # fmt: skip
    bench.load(
        "with DAG('d', schedule=None) as d:\n    PythonOperator(task_id='t', python_callable=lambda: 'x' * 70000)"
    )
    result = bench.run("t")
    assert result.state == "failed"
    assert result.error["message"] == message


def test_a_big_xcom_goes_over_the_frames(task_body: Body) -> None:
    result = task_body("return 'x' * 5_000_000")
    assert len(result.of("SetXCom")[0]["value"]) == 5_000_000


def test_xcoms_between_tasks_round_trip(bench: Bench) -> None:
    bench.load(
        """
        from datetime import timezone, date
        VALUE = {"t": (1, 2), "s": {1, 2}, "d": datetime(2024, 1, 1, tzinfo=timezone.utc), "day": date(2024, 1, 2)}
        def push(ti):
            ti.xcom_push(key="k", value=VALUE)
        def pull(ti):
            assert ti.xcom_pull(task_ids="push", key="k") == VALUE
            assert ti.xcom_pull(task_ids=["push", "none"], key="k") == [VALUE, None]
            assert ti.xcom_pull(task_ids="push", key="absent", default=7) == 7
            assert ti.xcom_pull(key="k") == VALUE
        with DAG("d", schedule=None) as d:
            PythonOperator(task_id="push", python_callable=push) >> PythonOperator(task_id="pull", python_callable=pull)
        """
    )
    assert bench.run("push").state == "success"
    result = bench.run("pull")
    assert result.state == "success", result


def test_taskflow_values_multiple_outputs_and_override(bench: Bench) -> None:
    bench.load(
        """
        @dag(dag_id="d", schedule=None)
        def d():
            @task(multiple_outputs=True)
            def split(text):
                return {"left": text[:1], "right": text[1:]}
            @task
            def join(left, right, *, sep="-", ds=None):
                return f"{left}{sep}{right} {ds}"
            parts = split("{{ ds_nodash }}")
            join.override(task_id="joined")(parts["left"], parts["right"], sep="+")
        d()
        """
    )
    assert bench.run("split").state == "success"
    result = bench.run("joined")
    assert result.of("SetXCom")[0]["value"] == "2+0240301 2024-03-01"


def test_a_missing_key_of_multiple_outputs_is_an_error(bench: Bench) -> None:
    bench.load(
        """
        @dag(dag_id="d", schedule=None)
        def d():
            @task
            def one(): return {"a": 1}
            @task
            def two(x): return x
            two(one()["absent"])
        d()
        """
    )
    bench.run("one")
    result = bench.run("two")
    assert result.error["exception"] == "XComNotFound"
    assert "`absent`" in result.error["message"]


def test_templates(bench: Bench) -> None:
    bench.load(
        r"""
        class Op(PythonOperator):
            template_fields = (*PythonOperator.template_fields, "deep")
            def __init__(self, deep, **kwargs):
                super().__init__(**kwargs)
                self.deep = deep
        def show(templates_dict, task):
            print(repr(task.deep))
        DEEP = {"{{ ds }}": ["{{ ds }}", ("{{ ds_nodash }}", {"x": "{{ params.p }}"})], "n": 5, "line": "a\n\n", "t": "{{ ds }}\n\n"}
        with DAG("d", schedule=None, params={"p": "q"}, user_defined_macros={"twice": lambda x: x * 2},
                 user_defined_filters={"loud": str.upper}) as d:
            Op(task_id="t", python_callable=show, deep=DEEP, templates_dict={})
            Op(task_id="macros", python_callable=show, templates_dict={},
               deep="{{ twice('a') }} {{ 'b' | loud }} {{ macros.ds_add(ds, 2) }} {{ ts_nodash }} {{ logical_date | ds }} {{ var.value.get('no', 'none') }}")
            Op(task_id="undefined", python_callable=show, deep="{{ absent }}", templates_dict={})
        """
    )
    deep = {
        "{{ ds }}": ["2024-03-01", ("20240301", {"x": "q"})], "n": 5, "line": "a\n", "t": "2024-03-01\n",
    }  # fmt: skip
    assert bench.run("t").stdout == f"{deep!r}\n"
    assert bench.run("macros").stdout == "'aa B 2024-03-03 20240301T020000 2024-03-01 none'\n"
    failed = bench.run("undefined")
    assert failed.error["exception"] == "jinja2.exceptions.UndefinedError"
    assert "absent" in failed.error["message"]


def test_native_templates(bench: Bench) -> None:
    bench.load(
        """
        def show(**context):
            print(repr(context["templates_dict"]))
        with DAG("d", schedule=None, render_template_as_native_obj=True) as d:
            PythonOperator(task_id="t", python_callable=show,
                           templates_dict={"n": "{{ ds_nodash }}", "z": "{{ '007' }}", "l": "{{ [1, 2] }}"})
        """
    )
    assert bench.run("t").stdout == repr({"n": 20240301, "z": "007", "l": [1, 2]}) + "\n"


def test_rendered_fields_are_told(bench: Bench) -> None:
    bench.load(
        "with DAG('d', schedule=None) as d:\n    BashOperator(task_id='t', bash_command='echo {{ ds }}')\n"
    )
    result = bench.run("t")
    assert result.of("SetRenderedFields")[0]["rendered_fields"] == {"bash_command": "echo 2024-03-01"}
    assert result.of("SetXCom")[0]["value"] == "2024-03-01"


def test_a_manual_run_without_a_logical_date_has_no_dates(task_body: Body) -> None:
    result = task_body(
        "print(sorted({'ds', 'ts', 'logical_date', 'data_interval_start', 'execution_date'} & context.keys()))\n"
        "print(context['run_id'], context['dag_run'].logical_date)",
        logical_date=None,
    )
    assert result.stdout == "[]\nmanual__1 None\n"


def test_a_template_that_needs_a_date_says_that_the_run_has_none(bench: Bench) -> None:
    bench.load(
        "with DAG('d', schedule=None) as d:\n    BashOperator(task_id='t', bash_command='echo {{ ds }}')\n"
    )
    failed = bench.run("t", logical_date=None)
    assert failed.error["exception"] == "jinja2.exceptions.UndefinedError"
    assert "'ds' is undefined: the run has no logical date" in failed.error["message"]


def test_the_older_eras_names(bench: Bench) -> None:
    bench.load(
        """
        def show(execution_date, prev_ds, next_ds, yesterday_ds, tomorrow_ds_nodash, **context):
            print(execution_date, prev_ds, next_ds, yesterday_ds, tomorrow_ds_nodash)
        with DAG("d", schedule="0 2 * * *", start_date=datetime(2024, 1, 1)) as d:
            PythonOperator(task_id="t", python_callable=show)
        """
    )
    day = dt.timedelta(days=1)
    result = bench.run("t", run_type="scheduled", interval=(NOW, NOW + day))
    assert result.stdout == "2024-03-01 02:00:00+00:00 2024-02-29 2024-03-02 2024-02-29 20240302\n"


def test_the_newer_era_has_none_of_them(folder: Any, bench: Bench) -> None:
    bench.folder.write(
        "new.py",
        """
        from airflow.sdk import dag, task
        @dag(schedule=None)
        def d():
            @task
            def t(**context):
                print(sorted({"execution_date", "next_ds", "prev_ds", "conf"} & context.keys()), context["ds"])
            t()
        d()
        """,
        header=False,
    )
    bench.control, bench.ready = bench.supervisor.load(bench.folder.path, "new.py")
    assert bench.run("t").stdout == "[] 2024-03-01\n"


def test_conf_lies_over_params_and_breaks_their_schema_loudly(bench: Bench) -> None:
    bench.load(
        """
        from airflow.models.param import Param
        def show(params):
            print(params["n"], params["free"])
        with DAG("d", schedule=None, params={"n": Param(1, type="integer", minimum=0), "free": "x"}) as d:
            PythonOperator(task_id="t", python_callable=show)
        """
    )
    assert bench.run("t").stdout == "1 x\n"
    assert bench.run("t", conf={"n": 5}).stdout == "5 x\n"
    wrong = bench.run("t", conf={"n": -1})
    assert wrong.error["exception"] == "ParamValidationError"
    assert "`n`" in wrong.error["message"]


def test_variables_and_connections_from_the_environment_and_the_supervisor(bench: Bench) -> None:
    bench.supervisor.variables["kept"] = '{"a": 1}'
    bench.supervisor.connections["kept"] = {
        "conn_type": "postgres", "host": "h", "schema": "s", "login": "l", "password": "p", "port": 5, "extra": '{"x": 1}',
    }  # fmt: skip
    bench.load(
        """
        from airflow.hooks.base import BaseHook
        from airflow.models import Variable
        def show():
            print(Variable.get("here"), Variable.get("kept", deserialize_json=True)["a"], Variable.get("no", default_var=9))
            c = BaseHook.get_connection("uri")
            print(c.conn_type, c.host, c.login, c.password, c.port, c.schema, c.extra_dejson)
            print(BaseHook.get_connection("kept").extra_dejson, BaseHook.get_connection("json").host)
            try:
                Variable.get("no")
            except KeyError as error:
                print(error)
            BaseHook.get_connection("no")
        with DAG("d", schedule=None) as d:
            PythonOperator(task_id="t", python_callable=show)
        """,
        env={
            "AIRFLOW_VAR_HERE": "v",
            "AIRFLOW_CONN_URI": "my-sql://u:p%40@host:1/db?k=v",
            "AIRFLOW_CONN_JSON": '{"host": "j"}',
        },
    )
    result = bench.run("t")
    lines = result.stdout.splitlines()
    assert lines[:3] == ["v 1 9", "my_sql host u p@ 1 db {'k': 'v'}", "{'x': 1} j"]
    assert "AIRFLOW_VAR_NO" in lines[3]
    assert result.error["exception"] == "AirflowNotFoundException"
    assert "AIRFLOW_CONN_NO" in result.error["message"]


def test_bash(bench: Bench) -> None:
    bench.load(
        """
        with DAG("d", schedule=None) as d:
            BashOperator(task_id="env", bash_command="echo $A $AIRFLOW_CTX_TASK_ID; echo last", env={"A": "{{ ds }}"}, append_env=True)
            BashOperator(task_id="skip", bash_command="exit 99")
            BashOperator(task_id="fail", bash_command="echo why; exit 3")
            BashOperator(task_id="reads", bash_command="cat; echo done")
            BashOperator(task_id="file", bash_command="script.sh")
        """
    )
    bench.folder.write("script.sh", "echo from a file on {{ ds }}\n", header=False)
    result = bench.run("env")
    assert [line["event"] for line in result.logs] == ["2024-03-01 env", "last"]
    assert bench.run("skip").state == "skipped"
    failed = bench.run("fail")
    assert "exited with 3" in failed.error["message"]
    assert "why" in failed.error["message"]
    # The command reads nothing: neither the frames nor the control socket is its standard input.
    assert bench.run("reads").state == "success"
    assert bench.run("file").of("SetXCom")[0]["value"] == "from a file on 2024-03-01"


def test_callbacks_run_after_the_result_is_told(bench: Bench) -> None:
    bench.load(
        """
        def noted(context):
            print("called", context["ti"].state, context.get("exception"))
        def broken(context):
            raise ValueError("broken callback")
        with DAG("d", schedule=None) as d:
            PythonOperator(task_id="ok", python_callable=lambda: None, on_success_callback=[noted, broken], on_execute_callback=noted)
            PythonOperator(task_id="bad", python_callable=lambda: 1 / 0, on_failure_callback=noted)
        """
    )
    result = bench.run("ok")
    assert result.state == "success"
    assert result.stdout == "called running None\ncalled success None\n"
    assert "broken callback" in result.logs[-1]["exception"]
    (failed,) = result.of("CallbackFailed")
    assert failed["callback"] == "on_success_callback"
    assert failed["message"] == "broken raised ValueError: broken callback"
    begun = [body["callback"] for body in result.of("CallbackBegun")]
    assert begun == ["on_execute_callback", "on_success_callback"]
    assert len(result.of("CallbackEnded")) == 2
    assert bench.run("bad").stdout == "called failed division by zero\n"


DAG_CALLBACKS = """
    import time
    class Called:
        def __call__(self, context):
            ti, run = context["ti"], context["dag_run"]
            print(context["reason"], run.state, run.run_id, ti.task_id, ti.state, ti.try_number, context["dag"].dag_id)
    def broken(context):
        raise ValueError("no")
    def slow(context):
        time.sleep(60)
    def never():
        print("never")
    with DAG("d", schedule=None, on_failure_callback=[broken, Called()], on_success_callback=slow) as d:
        PythonOperator(task_id="t", python_callable=never)
"""


def test_callbacks_of_a_dag_are_called_apart_from_tasks(bench: Bench) -> None:
    bench.load(DAG_CALLBACKS)
    call = {"callback": "on_failure_callback", "reason": "task_failure", "state": "failed"}
    result = bench.run("t", dag_callback=call, try_number=3)
    assert result.stdout == "task_failure running manual__1 t failed 3 d\n"
    assert result.state == "failed"
    assert result.error["message"] == "on_failure_callback failed (1 of 2): broken raised ValueError: no"
    assert not result.of("CallbackFailed"), "that is told of tasks"
    call = {"callback": "on_success_callback", "reason": "success", "state": "success"}
    late = bench.run("t", dag_callback=call, timeout=0.2)
    assert (late.state, late.error["exception"]) == ("failed", "AirflowTaskTimeout")


def test_a_sensor_pokes_until_it_is_true_or_its_time_is_over(bench: Bench) -> None:
    bench.load(
        """
        from airflow.sensors.python import PythonSensor
        tries = []
        def third():
            tries.append(1)
            return len(tries) >= 3
        with DAG("d", schedule=None) as d:
            PythonSensor(task_id="ok", python_callable=third, poke_interval=0.01)
            PythonSensor(task_id="never", python_callable=lambda: False, poke_interval=0.01, timeout=0.05)
            PythonSensor(task_id="soft", python_callable=lambda: False, poke_interval=0.01, timeout=0.05, soft_fail=True)
        """
    )
    assert bench.run("ok").state == "success"
    assert bench.run("never", should_retry=True).error["kind"] == "fail_without_retry"
    assert bench.run("soft").state == "skipped"


def test_environment_and_working_directory_of_a_run(task_body: Body, tmp_path: Any) -> None:
    result = task_body(
        "print(os.environ['MINE'], os.getcwd(), os.environ['AIRFLOW_CTX_DAG_ID'])",
        env={"MINE": "1"},
        cwd=str(tmp_path),
    )
    assert result.stdout == f"1 {tmp_path} d\n"


def test_input_ends_at_once_instead_of_eating_the_frames(task_body: Body) -> None:
    result = task_body("input()")
    assert result.error["exception"] == "EOFError"


def test_a_warning_goes_to_the_log(task_body: Body) -> None:
    result = task_body("import warnings; warnings.warn('careful')")
    assert "careful" in result.logs[0]["event"]


def test_a_script_is_run_from_a_file_and_a_command_may_be_long(bench: Bench) -> None:
    bench.folder.path.joinpath("named.sh").write_text(
        'echo "$(basename "$0") {{ ds }} $AIRFLOW_CTX_TASK_ID"\n'
    )
    bench.load(
        """
        with DAG("d", schedule=None):
            BashOperator(task_id="script", bash_command="named.sh", env={"A": "1"})
            BashOperator(task_id="long", bash_command=": {{ 'x' * 200000 }}; echo done")
        """
    )
    values = {name: bench.run(name).of("SetXCom")[0]["value"] for name in ("script", "long")}
    assert values == {"script": "script.sh 2024-03-01 script", "long": "done"}


@pytest.mark.parametrize(
    ("bounds", "kind", "why"),
    [
        ({"user": "no-such-user"}, "not_allowed", "whom this machine does not know"),
        ({"cgroup": "/proc/none"}, "could_not_start", "its cgroup can't be joined"),
        ({"cwd": "/proc/none"}, "could_not_start", "its process can't be bounded"),
    ],
)
def test_why_a_try_could_not_be_bounded_is_told(
    bench: Bench, bounds: dict[str, str], kind: str, why: str
) -> None:
    bench.load(WITHIN)
    result = bench.run("t", message={"bounds": bounds})
    assert result.error["kind"] == kind
    assert why in result.error["message"]
    assert result.state == "failed"
    assert "begun" not in result.stdout


def test_a_try_goes_before_the_executor_whatever_is_set(bench: Bench) -> None:
    mine = int(Path("/proc/self/oom_score_adj").read_text())
    bench.load(WITHIN)
    result = bench.run("t", message={"bounds": {"oom_score_adj": 0}})
    assert f"begun {mine + 1}" in result.stdout


WITHIN = """
def f():
    print("begun", open("/proc/self/oom_score_adj").read())
with DAG("d", schedule=None):
    PythonOperator(task_id="t", python_callable=f)
"""
