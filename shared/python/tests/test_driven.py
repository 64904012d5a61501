"""Every kind of callable is seen through or refused; threads and forks talk in turns; ends are as Airflow's."""

from __future__ import annotations

import time

import pytest

from conftest import Bench

DRIVEN = """
import asyncio, functools
@dag(schedule=None)
def d():
    @task(do_xcom_push=False)
    async def silent():
        await asyncio.sleep(0)
        print("async body ran")
    @task(do_xcom_push=False)
    def silent_generator():
        print("generator body ran")
        yield 1
    @task
    async def value():
        return 7
    @task
    def generator_value():
        yield 1
        return 8
    async def plain():
        return 9
    def wrapped():
        return plain()
    class Called:
        async def __call__(self):
            return 10
    class Yields:
        def __call__(self):
            yield
            return 11
    def numbers():
        yield 1
    async def async_numbers():
        yield 1
    def lazy():
        return (n for n in [1])
    @task.bash
    async def command():
        return "echo from bash"
    @task.sensor(poke_interval=0)
    async def sensed():
        return True
    silent(), silent_generator(), value(), generator_value(), command(), sensed()
    for name, function in [
        ("coroutine", wrapped), ("called", Called()), ("yields", Yields()), ("partial", functools.partial(plain)),
        ("partial_generator", functools.partial(numbers)), ("async_generator", async_numbers), ("lazy", lazy),
    ]:
        PythonOperator(task_id=name, python_callable=function)
    class Own(BashOperator):
        async def execute(self, context):
            return 12
    Own(task_id="own", bash_command="")
d()
"""


def test_what_a_function_is_decides_how_it_is_run(bench: Bench) -> None:
    bench.load(DRIVEN)
    assert bench.run("silent").stdout == "async body ran\n"
    assert bench.run("silent_generator").stdout == "generator body ran\n"
    expected = {
        "value": 7, "generator_value": 8, "coroutine": 9, "called": 10, "yields": 11, "partial": 9, "own": 12,
        "command": "from bash",
    }  # fmt: skip
    for task_id, value in expected.items():
        result = bench.run(task_id)
        assert [push["value"] for push in result.of("SetXCom")] == [value], task_id
        assert result.state == "success"
    assert bench.run("partial_generator").state == "success"
    assert bench.run("sensed").state == "success"
    for task_id, said in {"async_generator": "async generator", "lazy": "whose body nobody has run"}.items():
        result = bench.run(task_id)
        assert result.state == "failed"
        assert said in result.error["message"]


def test_a_timeout_ends_an_async_task_after_its_clean_up(bench: Bench) -> None:
    bench.load(
        """
        import asyncio
        @dag(schedule=None)
        def d():
            @task
            async def waits():
                try:
                    await asyncio.sleep(60)
                finally:
                    await asyncio.sleep(0)
                    print("cleaned up")
            @task
            async def ticks():
                def tick():
                    time.sleep(0.01)
                    asyncio.get_running_loop().call_soon(tick)
                tick()
                await asyncio.sleep(60)
            waits(), ticks()
        d()
        """
    )
    result = bench.run("waits", timeout=0.3)
    assert (result.error["kind"], result.stdout) == ("timeout", "cleaned up\n")
    # Raised inside a callback of the loop, where asyncio would only log it.
    assert bench.run("ticks", timeout=0.3).error["kind"] == "timeout"


@pytest.mark.parametrize("how", ["threads", "forks"])
def test_many_ask_at_once_and_each_gets_its_own(bench: Bench, how: str) -> None:
    bench.load(
        """
        from concurrent.futures import ThreadPoolExecutor
        @dag(schedule=None)
        def d():
            @task
            def threads(ti=None):
                def one(n):
                    ti.xcom_push(f"k{n}", n)
                    return ti.xcom_pull(task_ids="threads", key=f"k{n}") == n
                with ThreadPoolExecutor(8) as pool:
                    return list(pool.map(one, range(200))).count(False)
            @task
            def forks(ti=None):
                wrong = 0
                def one(n):
                    ti.xcom_push(f"k{n}", n)
                    return ti.xcom_pull(task_ids="forks", key=f"k{n}") == n
                children = []
                for child in range(4):
                    pid = os.fork()
                    if pid == 0:
                        os._exit(not all(one(1000 * child + n) for n in range(50)))
                    children.append(pid)
                wrong += [one(n) for n in range(50)].count(False)
                return wrong + sum(os.waitpid(pid, 0)[1] != 0 for pid in children)
            threads(), forks()
        d()
        """
    )
    result = bench.run(how, timeout=20)
    assert result.of("SetXCom")[-1]["value"] == 0


def test_a_timeout_reaches_the_main_thread_while_another_polls(bench: Bench) -> None:
    bench.load(
        """
        import threading
        @dag(schedule=None)
        def d():
            @task
            def wait(ti=None):
                ti.xcom_push("k", list(range(2000)))
                def poll():
                    while True:
                        ti.xcom_pull(task_ids="wait", key="k")
                threading.Thread(target=poll, daemon=True).start()
                try:
                    time.sleep(30)
                finally:
                    print("finally ran")
            wait()
        d()
        """
    )
    started = time.monotonic()
    result = bench.run("wait", timeout=0.5)
    assert time.monotonic() - started < 15
    assert result.error["kind"] == "timeout"
    assert result.stdout == "finally ran\n"


def test_an_exit_with_zero_is_a_success_in_the_older_era_alone(bench: Bench) -> None:
    text = """
    {head}
    @dag(schedule=None)
    def d():
        @task
        def zero(): sys.exit(0)
        @task
        def nothing(): sys.exit()
        @task
        def builtin(): exit(0)
        @task
        def two(): sys.exit(2)
        zero(), nothing(), builtin(), two()
    d()
    """
    bench.load(text.replace("{head}", ""))
    assert [bench.run(name).state for name in ("zero", "nothing", "builtin")] == ["success"] * 3
    assert bench.run("two").state == "failed"
    bench.load(text.replace("{head}", "from airflow.sdk import Variable"))
    assert [bench.run(name).state for name in ("zero", "nothing")] == ["failed"] * 2


def test_none_is_a_value_where_it_is_pushed_by_name(bench: Bench) -> None:
    bench.load(
        """
        @dag(schedule=None)
        def d():
            @task(multiple_outputs=True)
            def src():
                return {"a": 1, "b": None}
            @task
            def sink(x, ti=None):
                print(repr(x), ti.xcom_pull(task_ids="src", key="b", default="no"),
                      ti.xcom_pull(task_ids="src", key="c", default="no"))
            sink(src()["b"])
        d()
        """
    )
    for push in bench.run("src").of("SetXCom"):
        bench.supervisor.xcoms["d", "manual__1", "src", push["key"]] = push["value"]
    assert bench.run("sink").stdout == "None None no\n"


def test_a_bash_command_is_given_its_time_to_clean_up(bench: Bench) -> None:
    bench.load(
        """
        with DAG("d", schedule=None):
            BashOperator(
                task_id="b",
                bash_command="trap 'sleep 4; echo cleaned; exit 3' TERM; echo go; while :; do sleep 0.1; done",
            )
        """
    )
    result = bench.run("b", timeout=0.5)
    assert "cleaned" in [line["event"] for line in result.logs]
    assert result.error["kind"] == "timeout"


def test_the_context_names_earlier_runs_and_addresses(bench: Bench) -> None:
    bench.load(
        """
        with DAG("d", schedule="@daily", start_date=datetime(2024, 1, 1), catchup=False):
            BashOperator(task_id="guard", bash_command=(
                "echo {% if prev_data_interval_end_success %}since{% else %}full{% endif %}"
                " {{ prev_start_date_success }} {{ prev_execution_date_success }} {{ ti.log_url }}"))
            PythonOperator(task_id="before", python_callable=lambda ti: print(
                ti.get_previous_ti(), ti.get_previous_dagrun(), ti.get_previous_dagrun("success")))
            BashOperator(task_id="locale", bash_command=(
                "echo '{{ macros.ds_format_locale(ds, \\"%Y-%m-%d\\", \\"d MMMM\\", locale=\\"fr\\") }}'"))
        """
    )
    assert bench.run("guard").of("SetXCom")[0]["value"] == (
        "full None None http://127.0.0.1:8793/api/v2/dags/d/dagRuns/manual__1/taskInstances/guard/logs/1"
    )
    assert bench.run("before").stdout == "None None None\n"
    assert bench.run("locale").of("SetXCom")[0]["value"] == "1 mars"


def test_writing_beside_the_file_is_an_error_that_says_where_to_write(bench: Bench) -> None:
    bench.load(
        """
        import pathlib, shutil
        HERE = pathlib.Path(__file__).parent
        HERE.joinpath("there").mkdir(exist_ok=True) if HERE.joinpath("there").exists() else None
        WAYS = {
            "write": lambda: HERE.joinpath("state.txt").write_text("1"),
            "append": lambda: open(__file__, "a"),
            "make": lambda: HERE.joinpath("new").mkdir(),
            "remove": lambda: os.remove(__file__),
            "move": lambda: os.rename(__file__, "/tmp/dagbok-never"),
            "tree": lambda: shutil.rmtree(HERE),
        }
        with DAG("d", schedule=None):
            for name, way in WAYS.items():
                PythonOperator(task_id=name, python_callable=way)
            PythonOperator(task_id="read", python_callable=lambda: len(pathlib.Path(__file__).read_text()) > 0)
        """
    )
    for name in ("write", "append", "make", "remove", "move", "tree"):
        error = bench.run(name).error
        assert error["exception"] == "PermissionError", name
        assert "temporary folder" in error["message"]
    assert bench.run("read").state == "success"
    assert sorted(path.name for path in bench.folder.path.iterdir()) == ["file.py"]


def test_a_broken_connection_ends_the_try(bench: Bench) -> None:
    bench.load(
        """
        import socket
        def f(ti):
            from dagbok.runtime import current
            os.close(current.supervisor()._stream.fd)
            for _ in range(2):
                try:
                    ti.xcom_pull(task_ids="x")
                except Exception as error:
                    print(type(error).__name__)
        with DAG("d", schedule=None):
            PythonOperator(task_id="t", python_callable=f)
        """
    )
    result = bench.run("t")
    assert result.terminal is None
    assert result.exited["exit_code"] == 70
