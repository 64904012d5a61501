"""Where a try finds its DAG: among those that its zygote has loaded, or in a file that it loads itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dagbok.authoring.dag import DAG
from dagbok.loading import put_last
from dagbok.masking import masker
from dagbok.runtime import guard, loader
from dagbok.runtime.runner import DagMissing, FindDag


@dataclass(frozen=True)
class Source:
    """DAGs that are loaded, or the bundle's folder and the file in it."""

    folder: str = ""
    file: str = ""
    dags: Mapping[str, DAG] | None = None

    @property
    def name(self) -> tuple[str, str]:
        """What tells it from others of the same zygote."""
        return self.folder, self.file

    def find(self, dag_id: str) -> DAG:
        """Return a DAG, loading the file where it is not loaded yet."""
        return self._pick(self._load() if self.dags is None else self.dags, dag_id)

    def ahead(self) -> FindDag:
        """Load the file now, and return what finds its DAGs; what the import raised is raised there.

        Secrets that the import learned are told once somebody listens.
        """
        if self.dags is not None:
            return self.find
        known = set(masker.forms)
        dags: Mapping[str, DAG] = {}
        raised: BaseException | None = None
        try:
            dags = self._load()
        except BaseException as error:
            raised = error
        fresh = sorted(set(masker.forms) - known)

        def find(dag_id: str) -> DAG:
            if fresh and masker.tell is not None:
                masker.tell(fresh)
            if raised is not None:
                raise raised
            return self._pick(dags, dag_id)

        return find

    def _load(self) -> Mapping[str, DAG]:
        guard.install(self.folder)
        put_last(self.folder)
        return loader.read_dags(self.folder, self.file)

    def _pick(self, dags: Mapping[str, DAG], dag_id: str) -> DAG:
        try:
            return dags[dag_id]
        except KeyError:
            who = self.file or "the file"
            raise DagMissing(f"{who} has no DAG `{dag_id}`; it has {', '.join(dags) or 'none'}") from None
