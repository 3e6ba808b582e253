"""Folders of output: whole or not there at all, beside files of others that stay as they are.

A manifest lists the files that were written, with their digests. Only what it lists, and only if it has not
changed since, is removed when the folder is written again. Nobody vouches for a manifest: a name in it that
leads out of the folder, or through a symbolic link, is refused.
"""
import hashlib
import json
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.system.files import kind, opened, resolved
from headrace.gen.system.processes import removed_afterwards

PLAN = "plan.json"
"""A file of every output."""
MANIFEST = "manifest.json"
"""The list of files: their SHA-256 by their names, relative to the folder."""

_MAX_BYTES = 1 << 26  # of a manifest


@contextmanager
def replaced(folder: Path) -> Iterator[Path]:
    """Yield an empty folder whose files are put into another when the body has ended without an exception.

    Files of an earlier output there are replaced or removed; all others stay.

    Raises
    ------
    :exc:`HeadraceError`
        If a file of somebody else is in the way, one of the earlier output was changed, or the folder
        cannot be written.
    """
    target = resolved(folder)
    try:
        if target.exists() and not target.is_dir():
            raise HeadraceError(f"{folder}: is {kind(target.stat().st_mode)} and not a folder")
        _check(folder, target, _earlier(folder, target), (PLAN, MANIFEST))  # before hours of work
        missing = [path for path in (target, *target.parents) if not path.exists()]
        try:
            target.mkdir(parents=True, exist_ok=True)
            with removed_afterwards(target, ".headrace-") as temporary:  # elsewhere may be another disk
                made = temporary / "made"
                made.mkdir()
                yield made
                _install(folder, target, made, temporary / "earlier")
        except BaseException:
            for path in missing:
                with suppress(OSError):  # not empty any more
                    path.rmdir()
            raise
    except OSError as error:
        raise HeadraceError(f"cannot write {folder}: {error.strerror or error}") from error


def _install(folder: Path, target: Path, made: Path, aside: Path) -> None:
    """Put files in the place of the earlier ones, or leave all as it was."""
    names = sorted(path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file())
    content = {name: _digest(made / name) for name in names}
    (made / MANIFEST).write_text(json.dumps(content, indent=2) + "\n", "utf-8")
    names.append(MANIFEST)
    earlier = _earlier(folder, target)
    _check(folder, target, earlier, names)
    present = [name for name in (*earlier, MANIFEST) if (target / name).exists()]
    moved: list[tuple[Path, Path]] = []
    folders: list[Path] = []
    try:
        for name in present:
            _move(target / name, aside / name, moved, folders)
        for name in names:
            _move(made / name, target / name, moved, folders)
    except BaseException:
        for source, place in reversed(moved):
            if not source.exists():  # the last may not have been moved
                place.replace(source)
        for path in reversed(folders):
            with suppress(OSError):
                path.rmdir()
        raise
    for path in sorted({target / parent for name in earlier for parent in PurePosixPath(name).parents},
                       key=lambda path: -len(path.parts)):
        if path != target:
            with suppress(OSError):  # not empty, or gone
                path.rmdir()


def _move(source: Path, place: Path, moved: list[tuple[Path, Path]], folders: list[Path]) -> None:
    new = [path for path in place.parents if not path.exists()]
    for path in reversed(new):
        path.mkdir()
        folders.append(path)
    moved.append((source, place))
    source.replace(place)


def _check(folder: Path, target: Path, earlier: Mapping[str, str], names: Iterable[str]) -> None:
    """Refuse what would remove, replace or write anything but files of an earlier output."""
    for name, digest in earlier.items():
        if _in_place(folder, target, name) and _digest(target / name) != digest:
            raise HeadraceError(f"{folder / name} was changed since headrace wrote it: move it away, or name "
                                "another folder")
    for name in names:
        if _in_place(folder, target, name) and name not in earlier and not (name == MANIFEST and earlier):
            raise HeadraceError(f"{folder / name} is of no earlier output of headrace: move it away, or name "
                                "another folder")


def _in_place(folder: Path, target: Path, name: str) -> bool:
    """Return whether a file is there; refuse anything else in its place, and on the way to it."""
    path = target
    *parents, last = PurePosixPath(name).parts
    for part in parents:
        path /= part
        if not _is(path, stat.S_IFDIR, folder, name):
            return False
    return _is(path / last, stat.S_IFREG, folder, name)


def _is(path: Path, wanted: int, folder: Path, name: str) -> bool:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_IFMT(mode) != wanted:
        raise HeadraceError(f"{path} is {kind(mode)}, in the way of {folder / name}: name another folder")
    return True


def _earlier(folder: Path, target: Path) -> dict[str, str]:
    """Return the files that an earlier output consists of, with their digests."""
    if not _in_place(folder, target, MANIFEST):
        return {}
    with opened(target / MANIFEST) as file:
        text = file.read(_MAX_BYTES)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not all(
            isinstance(digest, str) and _is_inside(name) for name, digest in content.items()):
        raise HeadraceError(f"{folder / MANIFEST} is no list of files that headrace wrote in this folder: "
                            "move it away, or name another folder")
    return content


def _is_inside(name: str) -> bool:
    """Return whether a name is one that leads down from a folder, written in the only way there is."""
    path = PurePosixPath(name)
    return ("\0" not in name and name != MANIFEST and bool(path.parts) and path.as_posix() == name
            and not path.is_absolute() and ".." not in path.parts)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
