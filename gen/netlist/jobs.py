"""Where synthesis runs: on this computer or over a cluster, and only for what was not synthesised before."""
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import platformdirs

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.system import files

BACKENDS = ("threading", "loky", "dask")
_TIMEOUT = 15  # seconds for a scheduler to answer


@dataclass(frozen=True)
class Workers:
    """Who runs jobs: joblib's back end, how many at a time, and the address of dask's scheduler.

    Without a number there are as many as processors; with dask, as the cluster has threads.
    """

    backend: str = "threading"
    jobs: int | None = None
    scheduler: str | None = None

    @contextmanager
    def ready(self) -> Iterator[int]:
        """Have joblib use these workers while the body runs; yields how many there are.

        Raises
        ------
        :exc:`HeadraceError`
            If dask is missing, or its scheduler does not answer.
        """
        if self.backend not in BACKENDS:
            raise HeadraceError(f"unknown back end {self.backend!r}: supported are {', '.join(BACKENDS)}")
        if (self.backend == "dask") != (self.scheduler is not None):
            raise HeadraceError("the back end dask, and no other, needs the address of its scheduler")
        jobs = self.jobs or -1
        if self.scheduler is None:
            with joblib.parallel_config(backend=self.backend, n_jobs=jobs):
                yield joblib.effective_n_jobs()
            return
        try:
            from distributed import Client
        except ImportError as error:
            raise HeadraceError("dask is missing: install `headrace[cluster]`") from error
        try:
            client = Client(self.scheduler, timeout=_TIMEOUT)
        except (OSError, ValueError) as error:
            reason = " ".join(str(error).split()) or "no answer"
            raise HeadraceError(f"dask scheduler {self.scheduler}: {reason}") from error
        with client, joblib.parallel_config(backend="dask", n_jobs=jobs):
            yield joblib.effective_n_jobs()


class Cache:
    """Results by the content that they follow from, as JSON files in a folder of the user's cache."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or platformdirs.user_cache_path("headrace") / "synthesis"

    @staticmethod
    def key(*content: str) -> str:
        return hashlib.sha256("\0".join(content).encode()).hexdigest()[:40]

    def get(self, key: str) -> dict[str, Any] | None:
        """Return what was put under a key; None too where the file is damaged."""
        try:
            found = json.loads((self.folder / f"{key}.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def put(self, key: str, result: Mapping[str, Any]) -> None:
        """
        Raises
        ------
        :exc:`HeadraceError`
            If the folder cannot be written.
        """
        with files.replaced(self.folder / f"{key}.json") as made:
            made.write_text(json.dumps(result), "utf-8")
