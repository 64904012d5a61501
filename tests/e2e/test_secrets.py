"""Variables and connections: set in every way, used by tasks, and in clear nowhere."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import zstandard
from apart import Apart
from harness import BIN, Api, Standalone, free_port, standalone, wait_until, write_dag

# Values that stand in no other file; each way in has its own.
SECRET = "zebra-9Kq"
WAYS = ("cli", "api", "bulk", "file", "task", "conn", "uri", "json", "patched", "gone")

USES = f"""
from airflow.sdk import DAG, Variable, task
from airflow.hooks.base import BaseHook
from airflow.providers.standard.operators.bash import BashOperator

with DAG("uses", schedule=None) as dag:
    @task
    def sets():
        Variable.set("task_token", "{SECRET}-" + "task", description="by a task")
        Variable.set("shape", {{"rows": 3}}, serialize_json=True)
        print("mine:", Variable.get("task_token"))

    @task
    def prints():
        for way in ("cli", "api", "bulk", "file", "task", "patched"):
            value = Variable.get(way + "_token")
            assert value == "{SECRET}-" + way, way
            print("value:", way, value)
        for way in ("conn", "uri", "json"):
            found = BaseHook.get_connection("of_" + way)
            assert found.password == "{SECRET}-" + way, way
            print("connection:", found.host, found.login, found.password, found.get_uri(), found.extra_dejson)
        assert Variable.get("shape", deserialize_json=True) == {{"rows": 3}}
        Variable.update("shape", "flat")
        assert Variable.get("shape") == "flat"
        assert (Variable.delete("shape"), Variable.delete("shape")) == (1, 0)
        assert Variable.get("shape", default=None) is None

    @task(retries=0)
    def fails():
        raise ValueError("it is " + Variable.get("cli_token") + BaseHook.get_connection("of_conn").password)

    renders = BashOperator(
        task_id="renders",
        bash_command="echo {{{{ var.value.api_token }}}} {{{{ conn.of_uri.password }}}} {{{{ conn.of_uri.host }}}}",
        env={{"HELD": "{{{{ var.value.task_token }}}}"}},
        append_env=True,
        do_xcom_push=False,
    )
    sets() >> prints() >> renders >> fails()
"""


def set_all(it: Standalone | Apart, folder: Path) -> None:
    """Sets each by its way in."""
    cli, api = it.cli, it.api
    cli.ok("variables", "set", "cli_token", f"{SECRET}-cli", "--description", "by hand")
    body = {"key": "api_token", "value": f"{SECRET}-api"}
    assert api.post("/variables", body).status_code == 201
    assert api.post("/variables", body).status_code == 409
    entity = {"key": "bulk_token", "value": f"{SECRET}-bulk"}
    bulk = api.patch("/variables", {"actions": [{"action": "create", "entities": [entity]}]})
    assert bulk.json()["create"]["success"] == ["bulk_token"]
    assert api.post("/variables", {"key": "patched_token", "value": f"{SECRET}-gone"}).status_code == 201
    changed = api.patch("/variables/patched_token", {"value": f"{SECRET}-patched"})
    assert (changed.status_code, changed.json()["value"]) == (200, "***")
    file = folder / "variables.json"
    file.write_text(json.dumps({"file_token": {"value": f"{SECRET}-file", "description": "of a file"}}))
    cli.ok("variables", "import", str(file))
    file.unlink()
    connection = {"connection_id": "of_conn", "conn_type": "http", "host": "there", "password": f"{SECRET}-conn"}
    connection["extra"] = json.dumps({"api_key": f"{SECRET}-gone"})
    assert api.post("/connections", connection).status_code == 201
    cli.ok("connections", "add", "of_uri", "--conn-uri", f"http://me:{SECRET}-uri@there:81/x?token={SECRET}-gone")
    as_json = json.dumps({"conn_type": "http", "host": "there", "password": f"{SECRET}-json"})
    cli.ok("connections", "add", "of_json", "--conn-json", as_json)
    cli.ok("variables", "set", "gone_token", f"{SECRET}-gone")
    cli.ok("variables", "delete", "gone_token")


def texts(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder, what is compressed in it unpacked as well."""
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            data = path.read_bytes()
            yield path, data
            for magic, unpack in ((b"\x28\xb5\x2f\xfd", unpack_zstd), (b"\x1f\x8b", gzip.decompress)):
                for found in re.finditer(re.escape(magic), data):
                    try:
                        yield path, unpack(data[found.start() :])
                    except (OSError, EOFError, ValueError):
                        continue


def unpack_zstd(data: bytes) -> bytes:
    """The first frame of what begins like one."""
    try:
        return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(data))
    except zstandard.ZstdError as error:
        raise ValueError from error


def assert_nowhere(folder: Path) -> int:
    """No file has a value in clear but the DAG file, which says how one begins; returns how many files were read."""
    forms = [f"{SECRET}-{way}".encode() for way in WAYS]
    files = 0
    for path, data in texts(folder):
        files += 1
        held = [form for form in forms if form in data]
        assert not held, f"{path} has {held}"
    return files


def use(it: Standalone | Apart) -> None:
    """Runs the DAG and looks at what people see of it."""
    assert it.api.post("/dags/uses/dagRuns", {"dag_run_id": "r", "logical_date": None}).status_code == 200
    assert it.api.wait_run("uses", "r", 120.0) == "failed"
    logs = {task: it.cli.ok("tasks", "logs", "uses", "r", task) for task in ("sets", "prints", "renders", "fails")}
    assert "mine: ***" in logs["sets"], logs
    assert "value: cli ***" in logs["prints"], logs
    assert "connection: there me ***" in logs["prints"]
    assert "*** *** there" in logs["renders"]
    assert "it is ******" in logs["fails"], logs["fails"]
    states = {
        one["task_id"]: one["state"] for one in it.api.get("/dags/uses/dagRuns/r/taskInstances")["task_instances"]
    }
    assert states == {"sets": "success", "prints": "success", "renders": "success", "fails": "failed"}
    seen = json.dumps([it.api.events(), it.api.get("/variables"), it.api.get("/connections"), logs])
    assert SECRET not in seen
    by = [record["by"] for record in it.api.events() for fact in record["facts"] if fact.get("key") == "task_token"]
    assert by == ["token:task uses.sets"]


def test_a_secret_is_in_clear_nowhere_below_the_home(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "uses.py", USES)
    # Records that are old go into the archive at once.
    env = {
        "DAGBOK__RETENTION__LOG": "1s",
        "DAGBOK__RETENTION__EVERY": "1s",
        "DAGBOK__RETENTION__ARCHIVE_RECORDS": "4",
        "DAGBOK__SCHEDULER__SNAPSHOT_EVERY": "5",
    }
    with standalone(tmp_path, dags, env=env) as it:
        set_all(it, tmp_path)
        it.wait_dag("uses")
        use(it)
        it.cli.env = {"DAGBOK_HOME": str(it.home)}
        wait_until("a file of the archive", lambda: list((it.home / "archive").glob("*.arc")))
        # A stop writes snapshots, rows and what is left of the log.
        assert it.process.stop() == 0
        files = assert_nowhere(it.home) + assert_nowhere(tmp_path)
        assert files > 20
        # What holds is there after it, by a fold of the archive and the log from the first record on.
        shutil.rmtree(it.home / "read-model")
        shutil.rmtree(it.home / "snapshots")
        it.start()
        listed = it.api.get("/variables")["variables"]
        assert [(one["key"], one["value"]) for one in listed] == [
            (f"{way}_token", "***") for way in ("api", "bulk", "cli", "file", "patched", "task")
        ]
        assert it.cli.ok("variables", "get", "task_token", "--show-secret").strip() == f"{SECRET}-task"
        assert it.cli.ok("variables", "get", "task_token").strip() == "***"
        shown = it.cli.json("connections", "get", "of_uri", "--show-secret")
        assert (shown["password"], json.loads(shown["extra"])) == (f"{SECRET}-uri", {"token": f"{SECRET}-gone"})


LAST = """
from airflow.models import Variable
from airflow import DAG
from airflow.operators.python import PythonOperator
import datetime

def step():
    number = int(Variable.get("count", default_var="0"))
    Variable.set("count", number + 1)
    print("count", number + 1)

with DAG("counts", start_date=datetime.datetime(2024, 1, 1), schedule_interval=None, max_active_runs=1) as dag:
    PythonOperator(task_id="one", python_callable=step) >> PythonOperator(task_id="two", python_callable=step)
"""


def test_what_a_task_sets_outlives_a_kill_and_is_destroyed_with_its_key(tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "counts.py", LAST)
    with standalone(tmp_path, dags, env={"DAGBOK_HOME": str(tmp_path / "home")}) as it:
        it.wait_dag("counts")
        for number in range(2):
            it.trigger("counts", f"r{number}")
            assert it.api.wait_run("counts", f"r{number}") == "success"
        it.process.kill()
        it.start()
        assert it.api.get("/variables/count")["value"] == "4"
        it.cli.env = {"DAGBOK_HOME": str(it.home)}
        before = (it.home / "secrets.key").read_text()
        rotated = it.cli.json("secrets", "rotate")
        assert (rotated["rewrapped"], rotated["old_keys_destroyed"]) == (1, True)
        assert it.api.get("/variables/count")["value"] == "4"
        after = (it.home / "secrets.key").read_text()
        assert set(before.splitlines()) & set(after.splitlines()) == {
            line for line in before.splitlines() if line.startswith("#")
        }
        it.trigger("counts", "r2")
        assert it.api.wait_run("counts", "r2") == "success"

        # With another key, and with none, what is there can't be read, and nothing new is put beside it.
        for text in (before, None):
            (it.home / "secrets.key").unlink()
            if text is not None:
                (it.home / "secrets.key").write_text(text)
            assert it.api.get("/variables")["variables"][0]["value"] is None
            refused = it.api.patch("/variables/count", {"value": "1"})
            assert (refused.status_code, "master key" in refused.text or "key file" in refused.text) == (409, True)
            refused = it.api.post("/variables", {"key": "other", "value": "1"})
            assert (refused.status_code, "forget-lost" in refused.text) == (409, True)
            failed = it.cli.run("variables", "get", "count")
            assert (failed.returncode, "key" in failed.stderr) == (4, True)
        it.trigger("counts", "r3")
        assert it.api.wait_run("counts", "r3") == "failed"
        log = it.cli.ok("tasks", "logs", "counts", "r3", "one")
        assert "there is no key file" in log, log
        assert it.cli.run("secrets", "rotate").returncode == 4
        forgotten = it.cli.json("secrets", "rotate", "--forget-lost")
        assert forgotten["forgotten"] == ["variable `count`"]
        it.trigger("counts", "r4")
        assert it.api.wait_run("counts", "r4") == "success"
        assert it.api.get("/variables/count")["value"] == "2"


# Keys of values that one fact wraps anew: `shared/protocol/src/limits.rs`.
REWRAPPED_AT_ONCE = 2_000


def test_one_fact_wraps_so_many_keys_anew(running: Standalone, tmp_path: Path) -> None:
    cli = running.cli
    cli.env = {"DAGBOK_HOME": str(running.home)}
    file = tmp_path / "variables.json"
    file.write_text(json.dumps({f"v{n}": str(n) for n in range(REWRAPPED_AT_ONCE + 1)}))
    cli.ok("variables", "import", str(file), timeout=300.0)
    assert cli.json("secrets", "rotate")["rewrapped"] == REWRAPPED_AT_ONCE + 1
    facts = [fact for it in running.api.events() for fact in it["facts"]]
    wrapped = [len(fact.get("keys", [])) for fact in facts if fact["type"] == "SecretsRewrapped"]
    assert [count for count in wrapped if count] == [REWRAPPED_AT_ONCE, 1]
    assert cli.ok("variables", "get", "v7").strip() == "7"


def test_airflows_files_come_in_and_go_out_as_they_were(running: Standalone, tmp_path: Path) -> None:
    cli = running.cli
    cli.env = {"DAGBOK_HOME": str(running.home)}
    variables = {"a": "text", "b": {"of": [1, 2]}, "c": {"value": 5, "description": "a number"}}
    file = tmp_path / "variables.json"
    file.write_text(json.dumps(variables))
    assert sorted(cli.json("variables", "import", str(file))["variables"]) == ["a", "b", "c"]
    assert json.loads(cli.ok("variables", "export", "-")) == variables
    assert cli.ok("variables", "get", "missing", "--default", "so").strip() == "so"
    assert cli.json("variables", "import", str(file), "-a", "skip")["skipped"] == ["a", "b", "c"]
    assert cli.run("variables", "import", str(file), "-a", "fail").returncode == 4

    env = tmp_path / "connections.env"
    env.write_text("# comment\nmy_db=postgres://u:p%40ss@h:5432/db?sslmode=require\nAIRFLOW_CONN_OTHER=http://h\n")
    assert cli.json("connections", "import", str(env)) == {"connections": ["my_db", "other"], "skipped": []}
    assert cli.json("connections", "import", str(env))["skipped"] == ["my_db", "other"]
    exported = json.loads(cli.ok("connections", "export", "-"))
    assert exported["my_db"] == {
        "conn_type": "postgres",
        "description": None,
        "host": "h",
        "login": "u",
        "password": "p@ss",
        "schema": "db",
        "port": 5432,
        "extra": '{"sslmode": "require"}',
    }
    line = "my_db=postgres://u:p%40ss@h:5432/db?sslmode=require"
    assert line in cli.ok("connections", "export", "-", "--file-format", "env")
    target = tmp_path / "out.json"
    cli.ok("connections", "export", str(target))
    assert target.stat().st_mode & 0o777 == 0o600
    cli.ok("connections", "delete", "my_db")
    assert cli.run("connections", "get", "my_db").returncode == 3
    cli.ok("connections", "import", str(target))
    assert json.loads(cli.ok("connections", "export", "-")) == exported
    tried = cli.run("connections", "test", "other", "--json")
    assert tried.returncode == 1
    assert "Unknown hook type" in json.loads(tried.stdout)["message"]
    added = subprocess.run(
        [str(BIN), *cli.args, "connections", "add", "piped", "--conn-uri", "-"],
        input="http://me:from-a-pipe@h\n",
        text=True,
        check=False,
        env={**cli.env, "DAGBOK_PYTHON": __import__("os").environ.get("DAGBOK_PYTHON", "")},
        capture_output=True,
    )
    assert added.returncode == 0, added.stderr
    assert cli.json("connections", "get", "piped")["password"] == "***"


def test_on_a_broker_nobody_but_the_api_has_a_key_and_no_store_a_value(tmp_path: Path) -> None:
    it = Apart(tmp_path)
    write_dag(it.dags, "uses.py", USES)
    with it:
        set_all(it, tmp_path)
        wait = Standalone.wait_dag
        wait(it, "uses")  # type: ignore[arg-type]
        use(it)
        assert [path.parent.name for path in tmp_path.rglob("secrets.key")] == ["ui"]
        for service in it.services.values():
            service.stop()
        assert_nowhere(tmp_path)


def test_nothing_acknowledged_is_lost_while_the_master_key_is_exchanged(tmp_path: Path) -> None:
    """Two services write by one key file, which its owner exchanges: a value that is on its way is encrypted anew."""
    file = tmp_path / "master.key"

    def write_keys(*keys: str) -> None:
        fresh = tmp_path / "fresh.key"
        fresh.write_text("\n".join(keys) + "\n")
        fresh.chmod(0o600)
        fresh.replace(file)

    keys = [base64.b64encode(os.urandom(32)).decode() for _ in range(25)]
    write_keys(keys[0])
    it = Apart(tmp_path)
    it.env["DAGBOK__SECRETS__KEY_FILE"] = str(file)
    other = Api(free_port())
    it.services["ui"] = it.service("ui", it.env)
    it.services["ui-2"] = it.service("ui-2", it.env, other.port)
    held: dict[str, str] = {}
    done_by = [0] * 4
    over = threading.Event()

    def write(who: int) -> None:
        api, number = (it.api, other)[who % 2], 0
        while not over.is_set():
            number += 1
            key, value = f"of_{who}_{number % 5}", f"{who} {number}"
            entity = {"key": key, "value": value}
            action = {"action": "create", "entities": [entity], "action_on_existence": "overwrite"}
            done = api.patch("/variables", {"actions": [action]})
            assert done.status_code == 200, done.text
            held[key] = value
            done_by[who] += 1

    with it:
        wait_until("the other API's first answer", other.healthy)
        with ThreadPoolExecutor() as pool:
            writers = [pool.submit(write, who) for who in range(4)]
            try:
                for before, new in itertools.pairwise(keys):
                    before_it = done_by[1]
                    wait_until("a write by the other", lambda seen=before_it: done_by[1] > seen or writers[1].done())
                    # The other stands still with what it is about to send.
                    it.services["ui-2"].send(signal.SIGSTOP)
                    write_keys(new, before)
                    rotated = it.api.post("/dagbok/secrets/rotate", {})
                    assert rotated.status_code == 200, rotated.text
                    write_keys(new)
                    it.services["ui-2"].send(signal.SIGCONT)
            finally:
                over.set()
            for writer in writers:
                writer.result()
        wait_until("both read models", lambda: other.get("/variables")["total_entries"] == len(held))
        for api in (it.api, other):
            shown = {one["key"]: one["value"] for one in api.get("/variables", limit=100)["variables"]}
            assert shown == held


TOP = """
from airflow import DAG
from airflow.models import Connection, Variable
from airflow.operators.python import PythonOperator
import datetime

names = Variable.get("names", deserialize_json=True)
held = Variable.get("top_token")
host = Connection.get_connection_from_secrets("top").host
print("at the top:", held)

def says():
    print("in the task:", names, host, held)

with DAG("top", start_date=datetime.datetime(2024, 1, 1), schedule_interval=None) as dag:
    for name in names:
        PythonOperator(task_id=name, python_callable=says)
"""


def test_a_file_reads_the_log_at_its_top_and_is_read_again(running: Standalone, tmp_path: Path, dags: Path) -> None:
    write_dag(dags, "top.py", TOP)

    def error() -> str:
        errors = running.api.get("/importErrors")["import_errors"]
        return str(errors[0]["stack_trace"]) if errors else ""

    assert "dagbok variables set names" in wait_until("the import error", error)
    running.cli.ok("variables", "set", "top_token", f"{SECRET}-cli")
    running.cli.ok("connections", "add", "top", "--conn-type", "http", "--conn-host", "there")
    running.cli.ok("variables", "set", "names", '["a", "b"]')
    # It heals by itself, with nothing in the folder changed.
    running.wait_dag("top")
    running.trigger("top", "r")
    assert running.api.wait_run("top", "r") == "success"
    assert "in the task: ['a', 'b'] there ***" in running.cli.ok("tasks", "logs", "top", "r", "a")
    # Each try has it as it is then.
    running.cli.ok("connections", "add", "top", "--conn-type", "http", "--conn-host", "elsewhere", "--overwrite")
    running.trigger("top", "r2")
    assert running.api.wait_run("top", "r2") == "success"
    assert "['a', 'b'] elsewhere ***" in running.cli.ok("tasks", "logs", "top", "r2", "b")
    assert SECRET not in json.dumps(running.api.events())
    assert SECRET not in running.process.log.read_text()
    running.cli.ok("variables", "set", "names", '["a", "c"]')

    def has_c() -> bool:
        return "c" in [one["task_id"] for one in running.api.get("/dags/top/tasks")["tasks"]]

    assert wait_until("the file read again", has_c, 60.0)


def bulk(action: str, entity: dict[str, object], on_existence: str | None = None) -> dict[str, object]:
    """One thing to do with one of them."""
    asked: dict[str, object] = {"action": action, "entities": [entity]}
    if on_existence:
        asked["action_on_existence"] = on_existence
    return {"actions": [asked]}


def shown_extra(api: Api) -> dict[str, str]:
    """What is shown of the extra of `db`."""
    extra: dict[str, str] = json.loads(api.get("/connections/db")["extra"])
    return extra


def test_a_request_that_is_sent_again_is_done_once_and_another_is_another(running: Standalone) -> None:
    api, key = running.api, {"idempotency-key": "mine"}
    body = {"key": "sent", "value": "1"}
    first = api.post("/variables", body, key)
    again = api.post("/variables", body, key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["dagbok-seq"] == again.headers["dagbok-seq"]
    assert api.post("/variables", {**body, "value": "2"}, key).status_code == 409
    assert api.post("/variables", {**body, "key": "other"}, key).status_code == 201
    assert api.get("/variables/other")["value"] == "1"
    conn = {"connection_id": "sent", "conn_type": "http", "password": "p"}
    assert [api.post("/connections", conn, key).status_code for _ in range(2)] == [201, 201]


def test_the_api_shows_no_secret_and_takes_back_what_it_masked(running: Standalone) -> None:
    api, cli = running.api, running.cli
    cli.env = {"DAGBOK_HOME": str(running.home)}
    body = {"connection_id": "db", "conn_type": "postgres", "host": "h", "password": "hunter2-hunter2"}
    body["extra"] = json.dumps({"key": "hunter2-extra", "region": "eu"})
    made = api.post("/connections", body)
    assert (made.status_code, made.json()["password"], made.json()["login"]) == (201, "***", None)
    shown = json.loads(made.json()["extra"])
    assert shown == {"key": "***", "region": "***"}
    # As a form sends it back, with one field of its own.
    sent = {**{name: made.json()[name] for name in body}, "extra": json.dumps({**shown, "region": "us"}), "port": 5}
    assert api.patch("/connections/db", sent).status_code == 200
    kept = cli.json("connections", "get", "db", "--show-secret")
    assert (kept["password"], kept["port"], json.loads(kept["extra"])) == (
        "hunter2-hunter2",
        5,
        {"key": "hunter2-extra", "region": "us"},
    )
    assert api.patch("/connections/db", {"host": None, "description": "mine"}).json()["host"] is None
    wrong = [
        ({**body, "connection_id": "x", "port": "hunter2-port"}, 422, "port"),
        ({**body, "connection_id": "x", "extra": "hunter2"}, 422, "extra"),
        ({**body, "connection_id": "x y"}, 422, "connection_id"),
        ({**body, "connection_id": "x", "hunter": "hunter2"}, 422, "hunter"),
        (body, 409, "already"),
    ]
    for sent, status, said in wrong:
        answer = api.post("/connections", sent)
        assert (answer.status_code, said in answer.text) == (status, True), answer.text
        assert "hunter2" not in answer.text
    assert api.post("/variables", {"key": "large", "value": "x" * 300_000}).status_code == 413
    assert api.post("/variables", {"key": "shape", "value": {"password": "hunter2", "port": 1}}).status_code == 201
    seen = api.get("/variables/shape")
    assert (json.loads(seen["value"]), seen["is_encrypted"]) == ({"password": "***", "port": 1}, True)
    actions = [
        {"action": "create", "entities": [{"key": "shape", "value": "1"}], "action_on_existence": "skip"},
        {"action": "update", "entities": [{"key": "nope", "value": "1"}]},
        {"action": "update", "entities": [{"key": "shape", "value": "2", "description": "d"}]},
        {"action": "delete", "entities": ["nope"], "action_on_non_existence": "skip"},
    ]
    done = api.patch("/variables", {"actions": actions}).json()
    assert (done["create"]["success"], done["update"]["success"]) == ([], ["shape"])
    assert [error["status_code"] for error in done["update"]["errors"]] == [404]
    assert (api.get("/variables/shape")["value"], api.get("/variables/shape")["description"]) == ("2", "d")
    assert api.patch("/variables/shape", {"description": None}).json()["value"] == "2"
    # A value as it was shown, in all of the three ways of writing it.
    deep = {"of": {"password": "hunter2-deep"}, "port": 1}
    entity = {"key": "deep", "value": deep}
    for ask in (
        lambda value: api.patch("/variables/deep", {"value": value}),
        lambda value: api.patch("/variables", bulk("update", {**entity, "value": value})),
        lambda value: api.patch("/variables", bulk("create", {**entity, "value": value}, "overwrite")),
    ):
        assert api.patch("/variables", bulk("create", entity, "overwrite")).status_code == 200
        shown = json.loads(api.get("/variables/deep")["value"])
        assert shown["of"] == {"password": "***"}
        assert ask(json.dumps({**shown, "port": 2})).status_code == 200
        kept = cli.json("variables", "get", "deep", "--show-secret")["value"]
        assert json.loads(kept) == {**deep, "port": 2}
    again = {"connection_id": "db", "conn_type": "postgres", "password": "***", "extra": json.dumps(shown_extra(api))}
    assert api.patch("/connections", bulk("create", again, "overwrite")).status_code == 200
    kept = cli.json("connections", "get", "db", "--show-secret")
    assert (kept["password"], json.loads(kept["extra"])["key"]) == ("hunter2-hunter2", "hunter2-extra")
    # Entries of a list get their own back, or none does.
    several = [{"name": "a", "password": "hunter2-a"}, {"name": "b", "password": "hunter2-b"}]
    assert api.patch("/variables", bulk("create", {"key": "deep", "value": several}, "overwrite")).status_code == 200
    shown = json.loads(api.get("/variables/deep")["value"])
    assert api.patch("/variables/deep", {"value": json.dumps(shown[::-1])}).status_code == 200
    assert json.loads(cli.json("variables", "get", "deep", "--show-secret")["value"]) == several[::-1]
    shown[0]["name"] = "c"
    unclear = api.patch("/variables/deep", {"value": json.dumps(shown)})
    assert (unclear.status_code, "can't be told" in unclear.text) == (422, True), unclear.text
    # What JSON writes with six letters counts as six.
    large = api.post("/variables", {"key": "large", "value": "\x01" * 100_000})
    assert (large.status_code, "600002 bytes" in large.text) == (413, True), large.text
    found = api.get("/connections", connection_id_pattern="d", order_by="-port")
    assert (found["total_entries"], found["connections"][0]["connection_id"]) == (1, "db")
    assert "hunter2" not in running.process.log.read_text()
    assert "hunter2" not in json.dumps([api.events(), api.get("/connections"), api.get("/variables")])


def test_what_is_sent_back_masked_never_brings_an_older_secret_back(running: Standalone) -> None:
    running.cli.env = {"DAGBOK_HOME": str(running.home)}
    for number in range(20):
        new = {"key": "shared", "value": {"password": f"hunter2-{number}", "n": 0}}
        masked = {"key": "shared", "value": {"password": "***", "n": 1}}
        with ThreadPoolExecutor() as pool:
            sent = [
                pool.submit(running.api.patch, "/variables", bulk("create", it, "overwrite")) for it in (masked, new)
            ]
            assert [one.result().status_code for one in sent] == [200, 200]
        kept = json.loads(running.cli.json("variables", "get", "shared", "--show-secret")["value"])
        if number:
            assert kept["password"] == f"hunter2-{number}", kept


def test_of_two_writers_the_last_on_the_log_wins(running: Standalone) -> None:
    def write(who: int) -> None:
        for number in range(20):
            text = f"{who}-{number}"
            entity = {"key": "shared", "value": text, "description": text}
            action = {"action": "create", "entities": [entity], "action_on_existence": "overwrite"}
            assert running.api.patch("/variables", {"actions": [action]}).status_code == 200

    with ThreadPoolExecutor() as pool:
        list(pool.map(write, range(4)))
    sets = [fact for record in running.api.events() for fact in record["facts"] if fact["type"] == "VariableSet"]
    now = running.api.get("/variables/shared")
    assert (len(sets), now["value"], now["description"]) == (80, sets[-1]["description"], sets[-1]["description"])
