"""S3KeySensor under its old path: the amazon provider's where that is installed, else this one on boto3.

Deliberately absent: assuming roles and the provider's other ways to credentials. boto3's own order of looking
for them counts (environment, profile, machine), and a connection's login, password and extra before it.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Sequence
from typing import Any

from dagbok.exceptions import (
    AirflowException,
    AirflowNotFoundException,
    AirflowOptionalProviderFeatureException,
)
from dagbok.models.connection import get_connection
from dagbok.operators.sensor import BaseSensorOperator

_CLIENT = ("region_name", "endpoint_url", "aws_session_token")
_UNKNOWN = ("role_arn", "assume_role_method")


def client_of(aws_conn_id: str | None, verify: bool | str | None = None) -> Any:
    """Return boto3's S3 client for a connection; one that is not defined leaves all to boto3."""
    try:
        import boto3  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        raise AirflowOptionalProviderFeatureException(
            "S3 needs boto3 in the tasks' Python: pip install boto3"
        ) from None
    options: dict[str, Any] = {} if verify is None else {"verify": verify}
    try:
        conn = get_connection(aws_conn_id) if aws_conn_id else None
    except AirflowNotFoundException:
        conn = None  # as in Airflow
    if conn is not None:
        extra = conn.extra_dejson
        beyond = [name for name in _UNKNOWN if extra.get(name)]
        if beyond:
            raise AirflowException(
                f"the extra of connection `{aws_conn_id}` has {beyond[0]}, which needs the amazon provider: "
                "pip install --no-deps apache-airflow-providers-amazon"
            )
        given = {
            "aws_access_key_id": conn.login or extra.get("aws_access_key_id"),
            "aws_secret_access_key": conn.password or extra.get("aws_secret_access_key"),
            **{name: extra.get(name) for name in _CLIENT},
        }
        of_s3 = (extra.get("service_config") or {}).get("s3") or {}
        given["endpoint_url"] = of_s3.get("endpoint_url") or given["endpoint_url"]
        options.update({name: value for name, value in given.items() if value})
    return boto3.client("s3", **options)


class _S3KeySensor(BaseSensorOperator):
    """Waits for one or several keys of a bucket, or for keys that a pattern fits."""

    template_fields: Sequence[str] = ("bucket_key", "bucket_name")

    def __init__(
        self,
        *,
        bucket_key: Any,
        bucket_name: str | None = None,
        wildcard_match: bool = False,
        check_fn: Callable[..., bool] | None = None,
        aws_conn_id: str | None = "aws_default",
        verify: bool | str | None = None,
        use_regex: bool = False,
        metadata_keys: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.bucket_key, self.bucket_name = bucket_key, bucket_name
        self.wildcard_match, self.use_regex, self.check_fn = wildcard_match, use_regex, check_fn
        self.aws_conn_id, self.verify = aws_conn_id, verify
        self.metadata_keys = metadata_keys or ["Size", "Key"]

    def poke(self, context: Any) -> bool:
        """Look for every key."""
        keys = [self.bucket_key] if isinstance(self.bucket_key, str) else list(self.bucket_key)
        client = client_of(self.aws_conn_id, self.verify)
        return all(self._is_there(client, *self._place(key)) for key in keys)

    def _place(self, key: str) -> tuple[str, str]:
        if not key.startswith("s3://"):
            if self.bucket_name is None:
                raise AirflowException(
                    f"sensor `{self.task_id}` has no bucket_name, and {key!r} is no s3:// address"
                )
            return self.bucket_name, key
        if self.bucket_name is not None:
            raise TypeError(
                f"If bucket_name is provided, bucket_key should be a key, not an s3:// address: {key!r}"
            )
        bucket, _, path = key.removeprefix("s3://").partition("/")
        return bucket, path

    def _is_there(self, client: Any, bucket: str, key: str) -> bool:
        self.log.info("Poking for key : s3://%s/%s", bucket, key)
        if self.wildcard_match or self.use_regex:
            found = [one for one in self._listed(client, bucket, key) if self._fits(one["Key"], key)]
        else:
            head = _head(client, bucket, key)
            found = [] if head is None else [{**head, "Key": key, "Size": head.get("ContentLength")}]
        if not found or self.check_fn is None:
            return bool(found)
        every = "*" in self.metadata_keys
        files = [one if every else {name: one.get(name) for name in self.metadata_keys} for one in found]
        return bool(self.check_fn(files))

    def _listed(self, client: Any, bucket: str, key: str) -> Any:
        # What stands before the first wildcard narrows the list down.
        prefix = "" if self.use_regex else re.split(r"[\[*?]", key, maxsplit=1)[0]
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            yield from page.get("Contents", ())

    def _fits(self, name: str, key: str) -> bool:
        return bool(re.match(key, name)) if self.use_regex else fnmatch.fnmatch(name, key)


def _head(client: Any, bucket: str, key: str) -> Any:
    from botocore.exceptions import ClientError  # type: ignore[import-untyped, unused-ignore]

    try:
        return client.head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 404:
            return None
        raise


def __getattr__(name: str) -> Any:
    if name != "S3KeySensor":
        raise AttributeError(name)
    try:
        from importlib import import_module

        return import_module("airflow.providers.amazon.aws.sensors.s3").S3KeySensor
    except (ImportError, AttributeError):
        _S3KeySensor.__name__ = _S3KeySensor.__qualname__ = "S3KeySensor"
        return _S3KeySensor
