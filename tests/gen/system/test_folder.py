"""Folders of output: only what an earlier output consists of is ever removed."""
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from headrace.gen.ir.errors import HeadraceError
from headrace.gen.system import folder as module
from headrace.gen.system.folder import replaced

FIRST = {"plan.json": "1", "rtl/a.v": "a", "rtl/b.v": "b"}
SECOND = {"plan.json": "2", "rtl/a.v": "a", "rtl/c.v": "c"}


def write(folder: Path, files: Mapping[str, str] = FIRST) -> None:
    with replaced(folder) as made:
        put(made, files)


def put(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def contents(folder: Path) -> dict[str, str]:
    """Every file in a folder but its manifest."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.name != "manifest.json"}


def refusal(folder: Path, files: Mapping[str, str] = SECOND) -> str:
    """What the refusal to write says; nothing may have changed anywhere near."""
    def state() -> dict[str, str]:
        return {str(path): path.read_text("latin-1") if path.is_file() else ""
                for path in folder.parent.rglob("*")}
    before = state()
    with pytest.raises(HeadraceError) as caught:
        write(folder, files)
    assert state() == before and "\n" not in str(caught.value)
    return str(caught.value)


def test_stale_files_go_and_others_stay(tmp_path: Path) -> None:
    write(tmp_path / "out")
    put(tmp_path / "out", {"thesis.tex": "mine", "rtl/mine.v": "mine", "sim/run.sh": "mine"})
    write(tmp_path / "out", SECOND)
    mine = {"thesis.tex": "mine", "rtl/mine.v": "mine", "sim/run.sh": "mine"}
    assert contents(tmp_path / "out") == SECOND | mine
    write(tmp_path / "out", {"plan.json": "3"})
    assert contents(tmp_path / "out") == {"plan.json": "3"} | mine
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_empty_folders_go(tmp_path: Path) -> None:
    write(tmp_path / "out")
    write(tmp_path / "out", {"plan.json": "3"})
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["manifest.json", "plan.json"]


@pytest.mark.parametrize("name", ("rtl/c.v", "plan.json", "manifest.json"))
def test_file_of_somebody_else_in_the_way(tmp_path: Path, name: str) -> None:
    put(tmp_path / "out", {name: "{}", "thesis.tex": "mine"})
    assert refusal(tmp_path / "out") == (f"{tmp_path / 'out' / name} is of no earlier output of headrace: "
                                         "move it away, or name another folder")


def test_refusal_comes_before_the_work(tmp_path: Path) -> None:
    put(tmp_path / "out", {"plan.json": "mine"})
    with pytest.raises(HeadraceError, match="is of no earlier output"), replaced(tmp_path / "out"):
        raise AssertionError("the body ran")


def test_changed_file_stays(tmp_path: Path) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / "rtl" / "b.v").write_text("b, improved")
    assert "rtl/b.v was changed since headrace wrote it: move it away" in refusal(tmp_path / "out")


def test_removed_file_is_no_obstacle(tmp_path: Path) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / "rtl" / "b.v").unlink()
    write(tmp_path / "out", SECOND)
    assert contents(tmp_path / "out") == SECOND


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("name", (
    "../victim", "rtl/../../victim", "/victim", "./../victim", "rtl//../../victim", "", ".", "..",
    "manifest.json", "a\0b"))
def test_manifest_that_leads_out(tmp_path: Path, name: str) -> None:
    write(tmp_path / "out")
    victim = tmp_path / "victim"
    victim.write_text("precious")
    if name == "/victim":
        name = str(victim)
    entries = json.loads((tmp_path / "out" / "manifest.json").read_text()) | {name: digest(victim)}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(entries))
    assert "manifest.json is no list of files that headrace wrote in this folder" in refusal(tmp_path / "out")


@pytest.mark.parametrize("content", (
    "", "[]", "{", '{"plan.json": 1}', "[" * 100_000, '{"a": {"b": "c"}}', "\xff"))
def test_damaged_manifest(tmp_path: Path, content: str) -> None:
    write(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(content, "latin-1")
    assert "manifest.json is no list of files" in refusal(tmp_path / "out")


def test_manifest_that_names_a_file_of_the_user(tmp_path: Path) -> None:
    write(tmp_path / "out")
    put(tmp_path / "out", {"thesis.tex": "mine"})
    entries = json.loads((tmp_path / "out" / "manifest.json").read_text()) | {"thesis.tex": "0" * 64}
    (tmp_path / "out" / "manifest.json").write_text(json.dumps(entries))
    assert "thesis.tex was changed since" in refusal(tmp_path / "out")


def folder_elsewhere(folder: Path, elsewhere: Path) -> None:
    (folder / "rtl").rename(elsewhere)
    (folder / "rtl").symlink_to(elsewhere)


def file_elsewhere(folder: Path, elsewhere: Path) -> None:
    (folder / "rtl" / "b.v").rename(elsewhere)
    (folder / "rtl" / "b.v").symlink_to(elsewhere)


def manifest_elsewhere(folder: Path, elsewhere: Path) -> None:
    (folder / "manifest.json").rename(elsewhere)
    (folder / "manifest.json").symlink_to(elsewhere)


def pipe_for_manifest(folder: Path, _: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


@pytest.mark.parametrize("change, what", [
    (folder_elsewhere, "rtl is a symbolic link, in the way of"),
    (file_elsewhere, "b.v is a symbolic link, in the way of"),
    (manifest_elsewhere, "manifest.json is a symbolic link, in the way of"),
    (pipe_for_manifest, "manifest.json is a pipe, in the way of")])
def test_links_inside_are_not_followed(tmp_path: Path, change: Callable[[Path, Path], None],
                                       what: str) -> None:
    """Each leads to what has the very content that the manifest lists."""
    write(tmp_path / "out")
    change(tmp_path / "out", tmp_path / "elsewhere")
    assert what in refusal(tmp_path / "out")


def test_folder_where_a_file_goes(tmp_path: Path) -> None:
    (tmp_path / "out" / "rtl" / "c.v").mkdir(parents=True)
    assert "c.v is a folder, in the way of" in refusal(tmp_path / "out")
    put(tmp_path / "two", {"rtl": "mine"})
    assert "rtl is a file, in the way of" in refusal(tmp_path / "two")


def test_through_a_symbolic_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    (tmp_path / "new").symlink_to("not yet")
    for name, target in (("out", "disk"), ("new", "not yet")):
        for files in (FIRST, SECOND):
            write(tmp_path / name, files)
            assert contents(tmp_path / target) == files and (tmp_path / name).is_symlink()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(HeadraceError, match="^cannot write .*circle"):
        write(tmp_path / "circle")


def test_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, {"net.onnx": "mine"})
    monkeypatch.chdir(tmp_path)
    for files in (FIRST, SECOND):
        write(Path("."), files)
        assert contents(tmp_path) == contents(Path(".")) == files | {"net.onnx": "mine"}


def test_what_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert refusal(tmp_path / "out").endswith("out: is a file and not a folder")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(HeadraceError, match="pipe: is a pipe and not a folder$"):
        write(tmp_path / "pipe")


@pytest.mark.parametrize("existing", (True, False))
@pytest.mark.parametrize("moves", range(7))
def test_failure_on_the_way_leaves_all_as_it_was(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moves: int, existing: bool) -> None:
    folder = tmp_path / "deep" / "out"
    if existing:
        write(folder)
        put(folder, {"rtl/mine.v": "mine"})
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    real, done = module._move, 0

    def fail(*arguments: object) -> None:
        nonlocal done
        if done == min(moves, 6 if existing else 3):
            raise OSError(28, "No space left on device")
        done += 1
        real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_move", fail)
    with pytest.raises(HeadraceError, match="^cannot write .*out: No space left on device$"):
        write(folder, SECOND)
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before
