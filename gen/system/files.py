"""Files of users: read only if they are files, written whole or not at all."""
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.system.processes import removed_afterwards

_KINDS = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a symbolic link",
          stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device",
          stat.S_IFBLK: "a device"}


def opened(path: Path) -> IO[bytes]:
    """Open a file for reading; anything else of that name is refused, and neither waited for nor read.

    Raises
    ------
    :exc:`HeadraceError`
        If there is no such file, or it cannot be read.
    """
    try:
        # Opened at once, a pipe tells that it is one; otherwise it waits for who writes into it.
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except (OSError, ValueError) as error:  # a name with a null character is a ValueError
        reason = error.strerror if isinstance(error, OSError) else "not a name of a file"
        raise HeadraceError(f"{path}: cannot be read: {reason}") from error
    if not stat.S_ISREG(mode := os.fstat(handle).st_mode):
        os.close(handle)
        raise HeadraceError(f"{path}: is {kind(mode)} and not a file")
    return os.fdopen(handle, "rb")


def kind(mode: int) -> str:
    """``a pipe`` for the mode of one, and so on."""
    return _KINDS.get(stat.S_IFMT(mode), "of another kind")


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yield the name of a file to write; it takes the place of `path` if the body ends without an exception.

    Where `path` is a symbolic link, what it points to is replaced.

    Raises
    ------
    :exc:`HeadraceError`
        If `path` is no file, or cannot be written.
    """
    try:
        target = resolved(path)
        if target.exists() and not target.is_file():
            raise HeadraceError(f"cannot write {path}: is {kind(target.stat().st_mode)} and not a file")
        target.parent.mkdir(parents=True, exist_ok=True)
        with removed_afterwards(target.parent, f".{target.name[:40]}-") as folder:
            made = folder / target.name
            yield made
            made.replace(target)
    except OSError as error:
        raise HeadraceError(f"cannot write {path}: {error.strerror or error}") from error


def resolved(path: Path) -> Path:
    """Return what `path` stands for, without symbolic links.

    Raises
    ------
    :exc:`HeadraceError`
        If the links go in a circle.
    """
    try:
        return path.resolve()
    except (RuntimeError, ValueError) as error:
        raise HeadraceError(f"cannot write {path}: its links go in a circle, or it is no name") from error
