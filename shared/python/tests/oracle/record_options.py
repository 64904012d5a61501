"""Asks a real Airflow for its options and their defaults, and adds them to what `conf` answers.

Never needed by the tests. Run it with each Airflow that counts, the one whose defaults go first as the first:

    /tmp/airflow/bin/python tests/oracle/record_options.py

It writes `src/dagbok/models/options.txt`: `[section]`, and `option = default` below. Options without a
default, secrets that are made for each installation, and texts of several lines are left out.
"""

import re
from pathlib import Path

import airflow
import yaml

TARGET = Path(__file__).resolve().parents[2] / "src/dagbok/models/options.txt"
MADE = {"fernet_key", "secret_key", "internal_api_secret_key", "jwt_secret", "sql_alchemy_conn"}
# Of the server alone: nothing that a DAG file or a provider asks for.
SECTIONS = {"traces", "usage_data_collection", "sentry", "kerberos", "fab"}


def read() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in TARGET.read_text().splitlines() if TARGET.exists() else ():
        if match := re.fullmatch(r"\[(\w+)\]", line):
            section = found.setdefault(match[1], {})
        else:
            name, _, value = line.partition(" = ")
            section[name] = value
    return found


def main() -> None:
    known = read()
    path = Path(airflow.__file__).parent / "config_templates/config.yml"
    for section, what in yaml.safe_load(path.read_text()).items():
        for name, option in (what or {}).get("options", {}).items():
            default = option.get("default")
            if default is None or name in MADE or section in SECTIONS or "\n" in str(default):
                continue
            known.setdefault(section, {}).setdefault(name.lower(), str(default))
    lines = []
    for section in sorted(known):
        lines.append(f"[{section}]")
        lines += [f"{name} = {value}" for name, value in sorted(known[section].items())]
    TARGET.write_text("\n".join(lines) + "\n")
    print(sum(map(len, known.values())), "options")


if __name__ == "__main__":
    main()
