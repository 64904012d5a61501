"""The version that `airflow.__version__` reports: providers then leave the ORM alone."""

AIRFLOW_VERSION = "3.3.2"
SDK_VERSION = "1.3.2"
