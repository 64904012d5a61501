"""Where variables and connections are looked for before anybody is asked: the environment, a folder of files.

`DAGBOK_SECRETS_FOLDER` names the folder. A file in it is named as the environment variable would be
(`AIRFLOW_CONN_MY_DB`), or by the id itself within `connections` or `variables`, as mounted Secrets have their
keys. It is read each time, so that a Secret that is renewed counts at once.
"""

from __future__ import annotations

import os

FOLDER = "DAGBOK_SECRETS_FOLDER"


class Kind:
    """Variables or connections: what their names begin with, and their part of the folder."""

    def __init__(self, word: str, part: str) -> None:
        self.prefixes = (f"DAGBOK_{word}_", f"AIRFLOW_{word}_")
        self.part = part

    def name(self, key: str) -> str:
        """Return the environment variable that people know it by."""
        return self.prefixes[-1] + key.upper()

    def key_of(self, name: str) -> str | None:
        """Return the key that an environment variable is about, in capitals; None for any other variable."""
        found = (name.removeprefix(prefix) for prefix in self.prefixes if name.startswith(prefix))
        return next(found, None)

    def _names(self, key: str) -> list[str]:
        return [prefix + key.upper() for prefix in self.prefixes]

    def find(self, key: str) -> str | None:
        """Return the text that the environment or the folder has for a key, or None."""
        text = self.in_environment(key)
        return self.in_folder(key) if text is None else text

    def in_environment(self, key: str) -> str | None:
        """Return the text that the environment has for a key, or None."""
        found = (os.environ.get(name) for name in self._names(key))
        return next((text for text in found if text is not None), None)

    def in_folder(self, key: str) -> str | None:
        """Return the text that the folder has for a key, or None."""
        folder = os.environ.get(FOLDER)
        if not folder:
            return None
        for name in (*self._names(key), os.path.join(self.part, key)):
            if "/" not in key and not key.startswith(".") and "\0" not in key:
                text = _text_of(os.path.join(folder, name))
                if text is not None:
                    return text
        return None


VARIABLES = Kind("VAR", "variables")
CONNECTIONS = Kind("CONN", "connections")


def _text_of(path: str) -> str | None:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read().removesuffix("\n")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return None
