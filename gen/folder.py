"""Folders of output: whole or not there at all."""
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headrace.gen.errors import HeadraceError

PLAN = "plan.json"
"""A file of every output, by which a folder is known to be one."""


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of another when the body has ended without an exception.

    A folder of an earlier output is replaced.

    Raises
    ------
    :exc:`HeadraceError`
        If the folder holds something else, or cannot be written.
    """
    try:
        earlier = folder.is_dir() and ((folder / PLAN).exists() or not any(folder.iterdir()))
        if folder.exists() and not earlier:
            raise HeadraceError(f"{folder} exists and is not the output of an earlier build: name a new one")
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as temporary:
            made = Path(temporary) / "build"
            made.mkdir()
            yield made
            if folder.exists():
                shutil.rmtree(folder)
            made.rename(folder)
    except OSError as error:
        raise HeadraceError(f"cannot write {folder}: {error.strerror}") from error
