"""DAG files of people's own that use provider packages, as the tests write them into a folder."""

S3 = """
from datetime import datetime
from airflow import DAG
from airflow.operators.python import PythonOperator
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.operators.s3 import (
    S3CopyObjectOperator, S3CreateBucketOperator, S3CreateObjectOperator, S3DeleteObjectsOperator, S3ListOperator,
)
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor


def read():
    return S3Hook("store").read_key("2024-03-01/copy.txt", "models")


with DAG("s3", schedule=None, start_date=datetime(2024, 1, 1), default_args={"aws_conn_id": "store"}) as dag:
    make = S3CreateBucketOperator(task_id="make", bucket_name="models")
    put = S3CreateObjectOperator(task_id="put", s3_bucket="models", s3_key="{{ ds }}/a.txt", data="forty-two")
    wait = S3KeySensor(task_id="wait", bucket_name="models", bucket_key="{{ ds }}/*.txt", wildcard_match=True,
                       poke_interval=1, timeout=20, mode="reschedule")
    copy = S3CopyObjectOperator(task_id="copy", source_bucket_name="models", dest_bucket_name="models",
                                source_bucket_key="{{ ds }}/a.txt", dest_bucket_key="{{ ds }}/copy.txt")
    names = S3ListOperator(task_id="names", bucket="models", prefix="{{ ds }}/")
    value = PythonOperator(task_id="value", python_callable=read)
    gone = S3DeleteObjectsOperator(task_id="gone", bucket="models", keys=["{{ ds }}/a.txt"])
    make >> put >> wait >> copy >> [names, value] >> gone
"""

HTTP = """
from datetime import datetime
from airflow import DAG
from airflow.providers.http.hooks.http import HttpHook
from airflow.providers.http.operators.http import HttpOperator
from airflow.providers.http.sensors.http import HttpSensor
from airflow.operators.http_operator import SimpleHttpOperator
from airflow.decorators import task

with DAG("http", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    ready = HttpSensor(task_id="ready", http_conn_id="api", endpoint="ready", poke_interval=1, timeout=20,
                       response_check=lambda response: response.json()["ready"])
    post = HttpOperator(task_id="post", http_conn_id="api", endpoint="echo", method="POST",
                        data='{"day": "{{ ds }}"}', headers={"Content-Type": "application/json"},
                        response_filter=lambda response: response.json())
    old = SimpleHttpOperator(task_id="old", http_conn_id="api", endpoint="echo?day={{ ds }}", method="GET")

    @task
    def hooked():
        return HttpHook("GET", "api").run("ready").status_code

    ready >> post >> old >> hooked()
"""

SQL = """
from datetime import datetime
from airflow import DAG
from airflow.providers.common.sql.operators.sql import (
    BranchSQLOperator, SQLCheckOperator, SQLColumnCheckOperator, SQLExecuteQueryOperator,
)
from airflow.providers.common.sql.sensors.sql import SqlSensor
from airflow.operators.empty import EmptyOperator
from airflow.decorators import task
from airflow.hooks.base import BaseHook

with DAG("sql", schedule=None, start_date=datetime(2024, 1, 1), default_args={"conn_id": "db"},
         template_searchpath=__file__.rpartition("/")[0]) as dag:
    make = SQLExecuteQueryOperator(task_id="make", sql=["drop table if exists seen",
                                                        "create table seen (day text, n integer)"])
    fill = SQLExecuteQueryOperator(task_id="fill", sql="fill.sql", params={"most": 3}, split_statements=True)
    wait = SqlSensor(task_id="wait", sql="select count(*) from seen", poke_interval=1, timeout=20)
    check = SQLCheckOperator(task_id="check", sql="select count(*) = 2 from seen where day = '{{ ds }}'")
    columns = SQLColumnCheckOperator(task_id="columns", table="seen", column_mapping={"n": {"max": {"leq_to": 3}}})
    rows = SQLExecuteQueryOperator(task_id="rows", sql="select n from seen order by n")
    way = BranchSQLOperator(task_id="way", sql="select count(*) > 1 from seen", follow_task_ids_if_true="many",
                            follow_task_ids_if_false="few")
    many, few = EmptyOperator(task_id="many"), EmptyOperator(task_id="few")

    @task
    def hooked():
        return BaseHook.get_connection("db").get_hook().get_first("select sum(n) from seen")[0]

    make >> fill >> wait >> [check, columns] >> rows >> way >> [many, few]
    rows >> hooked()
"""

FILL = """insert into seen values ('{{ ds }}', 1);
insert into seen values ('{{ ds }}', {{ params.most }});
"""

MAIL = """
from datetime import datetime
from airflow import DAG
from airflow.providers.smtp.hooks.smtp import SmtpHook
from airflow.providers.smtp.operators.smtp import EmailOperator
from airflow.decorators import task

with DAG("mail", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    send = EmailOperator(task_id="send", to="a@example.org", subject="Day {{ ds }}", conn_id="mail",
                         html_content="<b>{{ run_id }}</b>")

    @task
    def hooked():
        with SmtpHook("mail") as hook:
            hook.send_email_smtp(to="b@example.org", subject="by hook", html_content="x")

    send >> hooked()
"""

PODS = """
from datetime import datetime
from airflow import DAG
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.docker.operators.docker import DockerOperator
from kubernetes.client import models as k8s

with DAG("pods", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    pod = KubernetesPodOperator(task_id="pod", name="train", image="python:{{ params.tag }}", cmds=["python"],
                                arguments=["-c", "print('{{ ds }}')"], env_vars={"DAY": "{{ ds }}"},
                                container_resources=k8s.V1ResourceRequirements(requests={"memory": "1Gi"}),
                                params={"tag": "3.11"})
    DockerOperator(task_id="docker", image="alpine", command="echo {{ ds }}", auto_remove="success") >> pod
"""

PG = """
from datetime import datetime
from airflow import DAG
from airflow.decorators import task
from airflow.operators.postgres_operator import PostgresOperator
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.providers.postgres.hooks.postgres import PostgresHook

with DAG("pg", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    make = PostgresOperator(task_id="make", postgres_conn_id="db",
                            sql="create table if not exists fits (day date, lr float)")
    put = SQLExecuteQueryOperator(task_id="put", conn_id="db", sql="insert into fits values (%(day)s, %(lr)s)",
                                  parameters={"day": "{{ ds }}", "lr": 0.5})

    @task
    def hooked():
        hook = PostgresHook(postgres_conn_id="db", options="-c statement_timeout=5000ms")
        hook.insert_rows("fits", [("2024-03-02", 0.25), ("2024-03-03", 0.125)], target_fields=["day", "lr"])
        with hook.get_conn() as conn, conn.cursor() as cursor:
            cursor.execute("select min(day), count(*), sum(lr) from fits")
            return cursor.fetchone()

    make >> put >> hooked()
"""

SSH = """
from datetime import datetime
from airflow import DAG
from airflow.decorators import task
from airflow.providers.sftp.hooks.sftp import SFTPHook
from airflow.providers.sftp.operators.sftp import SFTPOperator
from airflow.providers.sftp.sensors.sftp import SFTPSensor
from airflow.providers.ssh.hooks.ssh import SSHHook
from airflow.providers.ssh.operators.ssh import SSHOperator
import os

with DAG("ssh", schedule=None, start_date=datetime(2024, 1, 1), default_args={"ssh_conn_id": "box"}) as dag:
    says = SSHOperator(task_id="says", command="echo {{ ds }}; echo $DAY", environment=None, cmd_timeout=20)
    fails = SSHOperator(task_id="fails", command="echo out; exit 3", cmd_timeout=20)
    put = SFTPOperator(task_id="put", local_filepath=os.environ["BOX"] + "/here.txt", operation="put",
                       remote_filepath=os.environ["BOX"] + "/{{ ds }}/there.txt", create_intermediate_dirs=True)
    wait = SFTPSensor(task_id="wait", sftp_conn_id="box", path=os.environ["BOX"] + "/{{ ds }}/there.txt",
                      poke_interval=1, timeout=20)

    @task
    def hooked(ds):
        with SSHHook("box").get_conn() as client:
            _, out, _ = client.exec_command("cat " + os.environ["BOX"] + "/2024-03-01/there.txt")
            text = out.read().decode()
        return [text, SFTPHook("box").list_directory(os.environ["BOX"] + "/" + ds)]

    @task(trigger_rule="all_done")
    def seen(dag_run=None):
        return dag_run.get_task_instance("fails").state

    says >> put >> wait >> hooked()
    fails >> seen()
"""

SLACK = """
from datetime import datetime
from airflow import DAG
from airflow.decorators import task
from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
from airflow.providers.slack.notifications.slack import send_slack_notification
from airflow.providers.slack.notifications.slack_webhook import send_slack_webhook_notification
from airflow.providers.slack.operators.slack_webhook import SlackWebhookOperator
from airflow.providers.smtp.notifications.smtp import SmtpNotifier

told = [
    send_slack_webhook_notification(slack_webhook_conn_id="hook", text="{{ ti.task_id }} of {{ ds }} is done"),
    send_slack_notification(slack_conn_id="app", channel="ml", text="{{ run_id }} is done"),
    SmtpNotifier(smtp_conn_id="mail", from_email="dagbok@example.org", to="c@example.org",
                 subject="{{ ti.task_id }} {{ ds }}", html_content="<p>{{ dag.dag_id }}</p>"),
]
with DAG("slack", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    @task(on_success_callback=told)
    def fit():
        SlackWebhookHook(slack_webhook_conn_id="hook").send(text="by hook")

    fit() >> SlackWebhookOperator(task_id="say", slack_webhook_conn_id="hook", message="it is {{ ds }}")
"""

GOOGLE = """
from datetime import datetime
from airflow import DAG
from airflow.decorators import task
from airflow.providers.google.cloud.hooks.bigquery import BigQueryHook
from airflow.providers.google.cloud.hooks.gcs import GCSHook
from airflow.providers.google.cloud.operators.bigquery import BigQueryInsertJobOperator
from airflow.providers.google.cloud.sensors.gcs import GCSObjectExistenceSensor

with DAG("google", schedule=None, start_date=datetime(2024, 1, 1), default_args={"gcp_conn_id": "gcp"}) as dag:
    @task
    def put(ds=None):
        GCSHook("gcp").upload("models", f"{ds}/model.bin", data="forty-two")

    wait = GCSObjectExistenceSensor(task_id="wait", google_cloud_conn_id="gcp", bucket="models",
                                    object="{{ ds }}/model.bin", poke_interval=1, timeout=20)

    @task
    def read(ds=None):
        return [GCSHook("gcp").download("models", f"{ds}/model.bin").decode(), GCSHook("gcp").list("models")]

    query = BigQueryInsertJobOperator(
        task_id="query", project_id="shop", location="EU", force_rerun=False, job_id="day_{{ ds_nodash }}",
        configuration={"query": {"query": "select '{{ ds }}'", "useLegacySql": False}})

    @task
    def rows():
        client = BigQueryHook(gcp_conn_id="gcp", location="EU").get_client(project_id="shop", location="EU")
        return [list(row.values()) for row in client.query("select 1").result()]

    put() >> wait >> read()
    query >> rows()
"""

DOCKER = """
from datetime import datetime
import os
from airflow import DAG
from airflow.decorators import task
from airflow.providers.docker.operators.docker import DockerOperator

with DAG("docker", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    DockerOperator(task_id="train", image="trainer:1", command=["python", "train.py", "{{ ds }}"],
                   auto_remove="success", environment={"LR": "{{ params.lr }}"}, params={"lr": 0.5},
                   docker_url=os.environ["DOCKER_DOUBLE"],
                   mount_tmp_dir=False, retrieve_output=False)
"""

POD_SPEC = """
from datetime import datetime
from airflow import DAG
from airflow.decorators import task
from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
from airflow.providers.cncf.kubernetes.secret import Secret
from kubernetes.client import models as k8s

with DAG("pod_spec", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    @task
    def spec(ti=None, **context):
        pod = KubernetesPodOperator(
            task_id="pod", name="train", namespace="ml", image="trainer:{{ params.tag }}", arguments=["{{ ds }}"],
            env_vars={"DAY": "{{ ds }}"}, secrets=[Secret("env", "TOKEN", "hub", "token")],
            kubernetes_conn_id="cluster",
            container_resources=k8s.V1ResourceRequirements(requests={"memory": "1Gi"}, limits={"nvidia.com/gpu": "1"}),
            tolerations=[k8s.V1Toleration(key="gpu", operator="Exists")], params={"tag": "3"}, dag=None)
        context["params"] = {"tag": "3"}
        pod.render_template_fields(context | {"ti": ti})
        made = pod.build_pod_request_obj(context | {"ti": ti}).to_dict()
        box = made["spec"]["containers"][0]
        return {"image": box["image"], "args": box["args"], "env": {one["name"]: one["value"] for one in box["env"]},
                "gpu": box["resources"]["limits"], "labels": made["metadata"]["labels"],
                "namespace": made["metadata"]["namespace"], "tolerations": len(made["spec"]["tolerations"])}

    spec()
"""

DBT = """
from datetime import datetime
import os
from airflow import DAG
from airflow.operators.bash import BashOperator

with DAG("dbt", schedule=None, start_date=datetime(2024, 1, 1),
         default_args={"env": {"DBT_TARGET": "{{ var.value.get('target', 'dev') }}"}, "append_env": True,
                       "cwd": os.path.dirname(__file__)}) as dag:
    run = BashOperator(task_id="run", bash_command="dbt run --select tag:daily --vars '{\\"day\\": \\"{{ ds }}\\"}'")
    test = BashOperator(task_id="test", bash_command="dbt test --select tag:daily || exit 1")
    run >> test
"""
