"""Other programs, and folders for their files: none outlives the command that started it."""
import multiprocessing
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from headrace.gen.ir.errors import HeadraceError

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
_PATIENCE = 10  # seconds for what was ended to be gone
_PROBE = bytes(1 << 14)


class Interrupted(KeyboardInterrupt):
    """A signal that asks the command to end came; ``number`` says which."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


class _Children:
    """What runs now, in every thread.

    Attributes
    ----------
    ended : the signal after which nothing may start any more
    handled : whether :py:`interruptible()` has been entered
    """

    def __init__(self) -> None:
        self.ended: int | None = None
        self.handled = False
        self._changed = threading.Condition()  # whose lock the thread that holds it may take again
        self._running: set[subprocess.Popen[str]] = set()
        self._folders = 0
        self._starting = False

    def start(self, make: Callable[[], "subprocess.Popen[str]"]) -> "subprocess.Popen[str]":
        with self._changed:
            if self.ended is not None:
                raise Interrupted(self.ended)
            self._starting = True
            try:
                child = make()
                self._running.add(child)
            finally:
                self._starting = False
            if self.ended is not None:  # since, by a signal to this very thread
                _kill(child)
                raise Interrupted(self.ended)
        return child

    def forget(self, child: "subprocess.Popen[str]") -> None:
        with self._changed:
            self._running.discard(child)
            self._changed.notify_all()

    def count_folders(self, change: int) -> None:
        with self._changed:
            self._folders += change
            self._changed.notify_all()

    def end(self, number: int) -> bool:
        """End all that run; return whether the caller is to raise, and not :py:`start()`."""
        with self._changed:
            self.ended = number
            if self._starting:
                return False
            for child in self._running:
                _kill(child)
        return True

    def settle(self) -> None:
        """Wait until other threads have noticed, and removed their folders."""
        with self._changed:
            self._changed.wait_for(lambda: not self._running and not self._folders, _PATIENCE)


_children = _Children()


def run(command: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a program in a folder, where it has its temporary files, too; return what it said.

    Its processes are a group of their own, all of which ends if this call does not return.

    Raises
    ------
    :exc:`HeadraceError`
        If it cannot be started, or has filled the disk, which not every program says.
    :exc:`Interrupted`
        If a signal came (see :py:`interruptible()`).
    """
    environment = os.environ | {"TMPDIR": str(folder.absolute())}
    try:
        child = _children.start(lambda: subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, encoding="utf-8", errors="backslashreplace",
            process_group=0 if os.name == "posix" else None))
    except OSError as error:
        raise HeadraceError(f"cannot run {command[0]}: {error.strerror}") from error
    try:
        out, err = child.communicate()
    except BaseException:
        _kill(child)
        child.communicate()
        raise
    finally:
        _children.forget(child)
    if _children.ended is not None:
        raise Interrupted(_children.ended)
    _check_room(folder)
    return subprocess.CompletedProcess(command, child.returncode, out, err)


@contextmanager
def workspace() -> Iterator[Path]:
    """Yield a temporary folder, which is gone afterwards.

    Raises
    ------
    :exc:`HeadraceError`
        If it cannot be made, or the body cannot write into it.
    """
    _children.count_folders(1)
    try:
        with removed_afterwards(None, "headrace-") as folder:
            yield folder
    except OSError as error:
        place = error.filename or tempfile.gettempdir()
        raise HeadraceError(f"cannot write {place}: {error.strerror}") from error
    finally:
        _children.count_folders(-1)


@contextmanager
def removed_afterwards(parent: Path | None, prefix: str) -> Iterator[Path]:
    """Yield a new folder in another, which is gone afterwards also if a signal comes while it is removed."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        try:
            shutil.rmtree(folder)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise


@contextmanager
def interruptible() -> Iterator[None]:
    """Have SIGINT, SIGTERM and SIGHUP end all programs and raise :exc:`Interrupted` in the body.

    Programs that other threads run end, too, if the body raises anything else.
    Further signals change nothing: what removes temporary files is not to be interrupted. Signals that are
    ignored, as under `nohup`, stay so. Elsewhere than in the main thread, or inside of itself, this does
    nothing.
    """
    if threading.current_thread() is not threading.main_thread() or _children.handled:
        yield
        return
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}

    def end(number: int, _: object) -> None:
        for each in before:
            signal.signal(each, signal.SIG_IGN)
        raising = _children.end(number)
        for worker in multiprocessing.active_children():  # joblib's, which end their own programs
            worker.terminate()
        for worker in multiprocessing.active_children():
            worker.join(_PATIENCE)
        if raising:
            raise Interrupted(number)

    _children.handled = True
    for number in before:
        signal.signal(number, end)
    try:
        yield
    except BaseException:
        _children.end(_children.ended or signal.SIGTERM)  # what others do for a result that nobody takes
        raise
    finally:
        if _children.ended is not None:
            _children.settle()
        for number, handler in before.items():
            signal.signal(number, handler)
        _children.ended, _children.handled = None, False


@contextmanager
def interruptible_worker() -> Iterator[None]:
    """The same in a process of joblib's, which a signal ends: it would go on with the next job otherwise.

    In a thread, or where joblib needs no other process, this does nothing.
    """
    if multiprocessing.parent_process() is None:
        yield
        return
    try:
        with interruptible():
            yield
    except Interrupted as error:
        os._exit(128 + error.number)


def _kill(child: "subprocess.Popen[str]") -> None:
    with suppress(ProcessLookupError, PermissionError):
        if os.name == "posix":
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()


def _check_room(folder: Path) -> None:
    """Raise where a file that was written may have been cut: many programs do not look."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(_PROBE)
            file.flush()
    except OSError as error:
        raise HeadraceError(f"cannot write {folder}: {error.strerror}") from error
    if (most := _largest_file()) is not None:
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # what another program had there
                if path.stat().st_size >= most:
                    raise HeadraceError(f"cannot write {path}: files of {most} bytes at most are allowed")


def _largest_file() -> int | None:
    """Return the limit of a file's size (`ulimit -f`) in bytes."""
    try:
        import resource
    except ImportError:  # on Windows
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return None if soft == resource.RLIM_INFINITY else soft
