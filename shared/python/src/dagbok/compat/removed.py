"""Provider classes that files still name and current provider packages do not have.

Where an installed package has one, it is the package's that counts. Otherwise the name leads to the class
that took its place, or to a thin class over that one where its arguments had other names.
"""

from __future__ import annotations

import importlib
from typing import Any

from dagbok.compat.advice import provider_hint

_P = "airflow.providers"
_SQL = "dagbok.surface.removed_sql"
_GOOGLE = "dagbok.surface.removed_google"
_AWS = f"{_P}.amazon.aws"


def _same(module: str, *names: str) -> dict[str, str]:
    return {name: f"{module}:{name}" for name in names}


MODULES: dict[str, dict[str, str]] = {
    f"{_P}.postgres.operators.postgres": {"PostgresOperator": f"{_SQL}:PostgresOperator"},
    f"{_P}.mysql.operators.mysql": {"MySqlOperator": f"{_SQL}:MySqlOperator"},
    f"{_P}.sqlite.operators.sqlite": {"SqliteOperator": f"{_SQL}:SqliteOperator"},
    f"{_P}.microsoft.mssql.operators.mssql": {"MsSqlOperator": f"{_SQL}:MsSqlOperator"},
    f"{_P}.oracle.operators.oracle": {"OracleOperator": f"{_SQL}:OracleOperator"},
    f"{_P}.jdbc.operators.jdbc": {"JdbcOperator": f"{_SQL}:JdbcOperator"},
    f"{_P}.snowflake.operators.snowflake": {"SnowflakeOperator": f"{_SQL}:SnowflakeOperator"},
    f"{_P}.trino.operators.trino": {"TrinoOperator": f"{_SQL}:TrinoOperator"},
    f"{_P}.vertica.operators.vertica": {"VerticaOperator": f"{_SQL}:VerticaOperator"},
    f"{_P}.exasol.operators.exasol": {"ExasolOperator": f"{_SQL}:ExasolOperator"},
    f"{_AWS}.operators.redshift": {"RedshiftSQLOperator": f"{_SQL}:RedshiftSQLOperator"},
    f"{_AWS}.operators.redshift_sql": {"RedshiftSQLOperator": f"{_SQL}:RedshiftSQLOperator"},
    f"{_P}.http.operators.http": {"SimpleHttpOperator": f"{_P}.http.operators.http:HttpOperator"},
    f"{_P}.cncf.kubernetes.operators.kubernetes_pod": _same(
        f"{_P}.cncf.kubernetes.operators.pod", "KubernetesPodOperator", "PodReattachFailure"
    ),
    f"{_P}.google.cloud.operators.bigquery": {
        name: f"{_GOOGLE}:{name}"
        for name in (
            "BigQueryExecuteQueryOperator",
            "BigQueryCreateEmptyTableOperator",
            "BigQueryCreateExternalTableOperator",
        )
    },
    f"{_AWS}.operators.athena": {"AWSAthenaOperator": f"{_AWS}.operators.athena:AthenaOperator"},
    f"{_AWS}.operators.aws_lambda": {
        "AwsLambdaInvokeFunctionOperator": f"{_AWS}.operators.lambda_function:LambdaInvokeFunctionOperator"
    },
    f"{_AWS}.operators.batch": {"AwsBatchOperator": f"{_AWS}.operators.batch:BatchOperator"},
    f"{_AWS}.operators.ecs": {"ECSOperator": f"{_AWS}.operators.ecs:EcsRunTaskOperator",
                              "EcsOperator": f"{_AWS}.operators.ecs:EcsRunTaskOperator"},
    f"{_AWS}.operators.emr_add_steps": _same(f"{_AWS}.operators.emr", "EmrAddStepsOperator"),
    f"{_AWS}.operators.emr_create_job_flow": _same(f"{_AWS}.operators.emr", "EmrCreateJobFlowOperator"),
    f"{_AWS}.operators.emr_terminate_job_flow": _same(f"{_AWS}.operators.emr", "EmrTerminateJobFlowOperator"),
    f"{_AWS}.operators.glue": {"AwsGlueJobOperator": f"{_AWS}.operators.glue:GlueJobOperator"},
    f"{_AWS}.operators.glue_crawler": {
        "AwsGlueCrawlerOperator": f"{_AWS}.operators.glue_crawler:GlueCrawlerOperator"
    },
    f"{_AWS}.operators.s3_bucket": _same(
        f"{_AWS}.operators.s3", "S3CreateBucketOperator", "S3DeleteBucketOperator"
    ),
    f"{_AWS}.operators.s3_copy_object": _same(f"{_AWS}.operators.s3", "S3CopyObjectOperator"),
    f"{_AWS}.operators.s3_delete_objects": _same(f"{_AWS}.operators.s3", "S3DeleteObjectsOperator"),
    f"{_AWS}.operators.s3_file_transform": _same(f"{_AWS}.operators.s3", "S3FileTransformOperator"),
    f"{_AWS}.operators.s3_list": _same(f"{_AWS}.operators.s3", "S3ListOperator"),
    f"{_AWS}.operators.sagemaker_base": _same(f"{_AWS}.operators.sagemaker", "SageMakerBaseOperator"),
    f"{_AWS}.sensors.emr_base": _same(f"{_AWS}.sensors.emr", "EmrBaseSensor"),
    f"{_AWS}.sensors.emr_job_flow": _same(f"{_AWS}.sensors.emr", "EmrJobFlowSensor"),
    f"{_AWS}.sensors.emr_step": _same(f"{_AWS}.sensors.emr", "EmrStepSensor"),
    f"{_AWS}.sensors.glue": {"AwsGlueJobSensor": f"{_AWS}.sensors.glue:GlueJobSensor"},
    f"{_AWS}.sensors.redshift": {
        "AwsRedshiftClusterSensor": f"{_AWS}.sensors.redshift_cluster:RedshiftClusterSensor"
    },
    f"{_AWS}.sensors.s3_key": _same(f"{_AWS}.sensors.s3", "S3KeySensor"),
    f"{_AWS}.sensors.s3_prefix": {"S3PrefixSensor": f"{_AWS}.sensors.s3:S3KeySensor"},
    f"{_AWS}.sensors.s3_keys_unchanged": _same(f"{_AWS}.sensors.s3", "S3KeysUnchangedSensor"),
    f"{_AWS}.hooks.athena": {"AWSAthenaHook": f"{_AWS}.hooks.athena:AthenaHook"},
    f"{_AWS}.hooks.batch_client": {"AwsBatchClientHook": f"{_AWS}.hooks.batch_client:BatchClientHook"},
    f"{_AWS}.hooks.glue": {"AwsGlueJobHook": f"{_AWS}.hooks.glue:GlueJobHook"},
    f"{_AWS}.hooks.lambda_function": {"AwsLambdaHook": f"{_AWS}.hooks.lambda_function:LambdaHook"},
    f"{_AWS}.hooks.redshift": {
        "RedshiftHook": f"{_AWS}.hooks.redshift_cluster:RedshiftHook",
        "RedshiftSQLHook": f"{_AWS}.hooks.redshift_sql:RedshiftSQLHook",
    },
    f"{_AWS}.hooks.sns": {"AwsSnsHook": f"{_AWS}.hooks.sns:SnsHook"},
    f"{_AWS}.hooks.sqs": {"SQSHook": f"{_AWS}.hooks.sqs:SqsHook"},
}  # fmt: skip


def removed(module: str, name: str) -> Any:
    """Return what took the place of a provider's class; AttributeError says where else to get it."""
    target = MODULES.get(module, {}).get(name)
    if target is None:
        raise AttributeError(f"no {module}.{name}: {provider_hint(module)}")
    home, _, attribute = target.partition(":")
    return getattr(importlib.import_module(home), attribute)
