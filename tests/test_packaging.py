"""Traps of several folders in one namespace."""
import importlib
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOLDERS = {"hdl", "gen", "sim", "boards", "models"}


def test_every_package_is_shipped() -> None:
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    found = {".".join(("headrace", *init.parent.relative_to(ROOT).parts))
             for top in FOLDERS for init in (ROOT / top).rglob("__init__.py")}
    assert set(config["packages"]) == found


def test_one_copy_of_each_module() -> None:
    importlib.import_module("headrace.gen.cli.main")
    assert not FOLDERS & set(sys.modules)
