"""What to say of a module that is not there: which command brings it."""

from __future__ import annotations

import os
import sys

# Whose package is called otherwise than the module.
_PACKAGES = {
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "bson": "pymongo",
    "clickhouse_driver": "clickhouse-driver",
    "confluent_kafka": "confluent-kafka",
    "cosmos": "astronomer-cosmos",
    "crypto": "pycryptodome",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "dotenv": "python-dotenv",
    "fitz": "pymupdf",
    "git": "gitpython",
    "github": "pygithub",
    "googleapiclient": "google-api-python-client",
    "great_expectations": "great-expectations",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "kafka": "kafka-python",
    "ldap3": "ldap3",
    "magic": "python-magic",
    "opensearchpy": "opensearch-py",
    "pkg_resources": "setuptools",
    "psycopg2": "psycopg2-binary",
    "rest_framework": "djangorestframework",
    "serial": "pyserial",
    "shapefile": "pyshp",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slack": "slackclient",
    "slugify": "python-slugify",
    "snowflake": "snowflake-connector-python",
    "telegram": "python-telegram-bot",
    "yaml": "pyyaml",
    "zmq": "pyzmq",
}


def package_of(module: str) -> str:
    """Return the package that a module most likely comes in."""
    top, _, rest = module.partition(".")
    if top == "google":
        parts = rest.split(".")
        return (
            "-".join(["google", *(parts[:2] if parts[0] == "cloud" else parts[:1])])
            if rest
            else "google-cloud-…"
        )
    return _PACKAGES.get(top, top.replace("_", "-"))


def advice_for(error: BaseException) -> str:
    """Return which command brings the module that an import did not find; nothing for any other error."""
    if type(error) is not ModuleNotFoundError:
        return ""
    name = error.name
    if not isinstance(name, str) or not name or name.startswith(("airflow", "dagbok", ".")):
        return ""
    top = name.partition(".")[0]
    if top in sys.modules and top != "google":
        return ""  # the package is there, and has no such part
    beside = _beside(top)
    if beside:
        return (
            f"; {top} lies in `{beside}`, which is no part of the DAG folder: name the folder around both, "
            "whose `dags/`, `plugins/` and `include/` are known"
        )
    return (
        f"; `{sys.executable} -m pip install {package_of(name)}` installs it where tasks run, if it is a "
        "package; a module of your own must lie in the DAG folder"
    )


def _beside(top: str) -> str:
    """Return the folder beside `dags/` that has a module, in a project of Airflow's; empty for none."""
    folder = sys.path[-1] if sys.path else ""
    if os.path.basename(folder) == "plugins":
        return ""
    around = os.path.dirname(folder)
    for place in (os.path.join(around, "plugins"), around):
        module = os.path.join(place, top)
        if place != folder and (os.path.isfile(f"{module}.py") or os.path.isdir(module)):
            return place
    return ""
