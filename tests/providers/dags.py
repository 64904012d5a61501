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
