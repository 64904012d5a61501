"""Operators of BigQuery that the Google provider dropped, over those that took their place."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Sequence
from typing import Any

_BIGQUERY = "airflow.providers.google.cloud.operators.bigquery"


def __getattr__(name: str) -> Any:
    if name in _MAKERS:
        return _MAKERS[name]()
    raise AttributeError(name)


def _reference(name: str | None, project: str | None = None) -> dict[str, str]:
    """Return `project.dataset.table`, or `project:dataset.table`, as BigQuery's API names a table."""
    parts = (name or "").replace(":", ".").split(".")
    found = dict(zip(("tableId", "datasetId", "projectId"), reversed(parts), strict=False))
    return {**({"projectId": project} if project else {}), **found}


@functools.cache
def _execute_query() -> Any:
    base: Any = importlib.import_module(_BIGQUERY).BigQueryInsertJobOperator

    class BigQueryExecuteQueryOperator(base):  # type: ignore[misc]
        """Runs a query, as BigQueryInsertJobOperator does with a configuration of it."""

        template_fields: Sequence[str] = ("sql", "destination_dataset_table", "labels", "query_params",
                                          "gcp_conn_id", "impersonation_chain")  # fmt: skip
        template_ext: Sequence[str] = (".sql",)

        def __init__(
            self, *, sql: Any, destination_dataset_table: str | None = None,
            write_disposition: str = "WRITE_EMPTY",
            allow_large_results: bool | None = False, flatten_results: bool | None = None,
            gcp_conn_id: str = "google_cloud_default", bigquery_conn_id: str | None = None,
            delegate_to: str | None = None, udf_config: Any = None, use_legacy_sql: bool = True,
            maximum_billing_tier: int | None = None, maximum_bytes_billed: float | None = None,
            create_disposition: str = "CREATE_IF_NEEDED", schema_update_options: Any = None,
            query_params: Any = None, labels: dict[str, str] | None = None, priority: str | None = None,
            time_partitioning: dict[str, Any] | None = None,
            api_resource_configs: dict[str, Any] | None = None,
            cluster_fields: list[str] | None = None, location: str | None = None,
            encryption_configuration: dict[str, Any] | None = None, **kwargs: Any,
        ) -> None:  # fmt: skip
            super().__init__(
                configuration={}, gcp_conn_id=bigquery_conn_id or gcp_conn_id, location=location, **kwargs
            )
            self.statements, self.query_params, self.labels = sql, query_params, labels
            self.destination_dataset_table = destination_dataset_table
            self._job = api_resource_configs or {}
            self._query = {
                "writeDisposition": write_disposition if destination_dataset_table else None,
                "createDisposition": create_disposition if destination_dataset_table else None,
                "allowLargeResults": allow_large_results or None,
                "flattenResults": flatten_results,
                "useLegacySql": use_legacy_sql,
                "userDefinedFunctionResources": udf_config,
                "maximumBillingTier": maximum_billing_tier,
                "maximumBytesBilled": maximum_bytes_billed,
                "schemaUpdateOptions": schema_update_options,
                "priority": priority,
                "timePartitioning": time_partitioning or None,
                "clustering": {"fields": cluster_fields} if cluster_fields else None,
                "destinationEncryptionConfiguration": encryption_configuration,
            }

        @property
        def sql(self) -> Any:
            """The query, or several."""
            return self.statements

        @sql.setter
        def sql(self, value: Any) -> None:
            self.statements = value

        def execute(self, context: Any) -> Any:
            """Run each query; return the last job's id."""
            result = None
            for statement in [self.statements] if isinstance(self.statements, str) else self.statements:
                self.configuration = self.configuration_of(statement)
                result = super().execute(context)
            return result

        def configuration_of(self, statement: str) -> dict[str, Any]:
            """Return the job of one query."""
            query = {**self._query, "query": statement, "queryParameters": self.query_params}
            if self.destination_dataset_table:
                query["destinationTable"] = _reference(self.destination_dataset_table, self.project_id)
            query = {name: value for name, value in query.items() if value is not None}
            job: dict[str, Any] = {**self._job, "query": {**self._job.get("query", {}), **query}}
            return {**job, "labels": self.labels} if self.labels else job

    return BigQueryExecuteQueryOperator


@functools.cache
def _create_table() -> Any:
    base: Any = importlib.import_module(_BIGQUERY).BigQueryCreateTableOperator

    class BigQueryCreateEmptyTableOperator(base):  # type: ignore[misc]
        """Makes a table, as BigQueryCreateTableOperator does with a resource of it."""

        def __init__(
            self, *, dataset_id: str, table_id: str, table_resource: dict[str, Any] | None = None,
            schema_fields: list[Any] | None = None, time_partitioning: dict[str, Any] | None = None,
            cluster_fields: list[str] | None = None, labels: dict[str, str] | None = None,
            view: dict[str, Any] | None = None, materialized_view: dict[str, Any] | None = None,
            encryption_configuration: dict[str, Any] | None = None, gcs_schema_object: str | None = None,
            exists_ok: bool | None = None, bigquery_conn_id: str | None = None, **kwargs: Any,
        ) -> None:  # fmt: skip
            resource = {
                "schema": {"fields": schema_fields} if schema_fields else None,
                "timePartitioning": time_partitioning,
                "clustering": {"fields": cluster_fields} if cluster_fields else None,
                "labels": labels,
                "view": view,
                "materializedView": materialized_view,
                "encryptionConfiguration": encryption_configuration,
            }
            given = table_resource or {name: value for name, value in resource.items() if value}
            more: dict[str, Any] = {"gcs_schema_object": gcs_schema_object} if gcs_schema_object else {}
            if bigquery_conn_id:
                more["gcp_conn_id"] = bigquery_conn_id
            super().__init__(dataset_id=dataset_id, table_id=table_id, table_resource=given, **more, **kwargs)

    return BigQueryCreateEmptyTableOperator


@functools.cache
def _create_external_table() -> Any:
    base: Any = importlib.import_module(_BIGQUERY).BigQueryCreateTableOperator

    class BigQueryCreateExternalTableOperator(base):  # type: ignore[misc]
        """Makes a table over files, as BigQueryCreateTableOperator does with a resource of it."""

        def __init__(
            self, *, bucket: str | None = None, source_objects: list[str] | None = None,
            destination_project_dataset_table: str | None = None,
            table_resource: dict[str, Any] | None = None,
            schema_fields: list[Any] | None = None, source_format: str = "CSV", autodetect: bool = False,
            compression: str | None = None, skip_leading_rows: int | None = None,
            field_delimiter: str | None = None, max_bad_records: int = 0, quote_character: str | None = None,
            allow_quoted_newlines: bool = False, allow_jagged_rows: bool = False,
            labels: dict[str, str] | None = None, bigquery_conn_id: str | None = None, **kwargs: Any,
        ) -> None:  # fmt: skip
            options = {
                "fieldDelimiter": field_delimiter,
                "skipLeadingRows": skip_leading_rows,
                "quote": quote_character,
                "allowQuotedNewlines": allow_quoted_newlines or None,
                "allowJaggedRows": allow_jagged_rows or None,
            }
            external = {
                "sourceFormat": source_format.upper(),
                "sourceUris": [f"gs://{bucket}/{name}" for name in source_objects or ()],
                "autodetect": autodetect,
                "compression": compression,
                "maxBadRecords": max_bad_records or None,
                "schema": {"fields": schema_fields} if schema_fields else None,
                "csvOptions": {key: value for key, value in options.items() if value is not None} or None,
            }
            if source_format.upper() != "CSV":
                external["csvOptions"] = None
            found = {key: value for key, value in external.items() if value is not None}
            table = _reference(destination_project_dataset_table)
            resource = table_resource or {
                "externalDataConfiguration": found,
                **({"labels": labels} if labels else {}),
            }
            table = {**table, **(table_resource or {}).get("tableReference", {})}
            more: dict[str, Any] = {"gcp_conn_id": bigquery_conn_id} if bigquery_conn_id else {}
            if "projectId" in table:
                more.setdefault("project_id", table["projectId"])
            super().__init__(
                dataset_id=table["datasetId"],
                table_id=table["tableId"],
                table_resource=resource,
                **more,
                **kwargs,
            )

    return BigQueryCreateExternalTableOperator


_MAKERS: dict[str, Any] = {
    "BigQueryExecuteQueryOperator": _execute_query,
    "BigQueryCreateEmptyTableOperator": _create_table,
    "BigQueryCreateExternalTableOperator": _create_external_table,
}
