"""The wheel: built, installed into a folder of its own, and used from another one."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from runner.resources import home
from tests.conftest import run


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of the checkout, as ``pip wheel .`` builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", folder, home()),
        ],
        cwd="/",
        check=True,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    [built] = folder.iterdir()
    return built


def test_the_wheel_carries_the_three_folders_of_sql(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        packed = {
            name.removeprefix("runner/_bundle/"): archive.read(name)
            for name in archive.namelist()
            if name.startswith("runner/_bundle/") and name.endswith((".sql", ".txt"))
        }
    here = {
        str(path.relative_to(home())): path.read_bytes()
        for folder in ("migrations", "rollback", "sql")
        for path in (home() / folder).rglob("*")
        if path.suffix in (".sql", ".txt")
    }
    assert packed == here


def test_an_installed_wheel_migrates_from_another_folder(
    wheel: Path, tmp_path: Path, empty: str
) -> None:
    target = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel],
        check=True,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environ = {"PYTHONPATH": str(target)}
    done = run("migrate", url=empty, environ=environ, folder=elsewhere)
    assert done.returncode == 0, done.stderr
    shown = run("status", "--json", url=empty, environ=environ, folder=elsewhere)
    assert shown.returncode == 0
    where = subprocess.run(
        [sys.executable, "-c", "from runner.resources import home; print(home())"],
        env=os.environ | environ,
        cwd=elsewhere,
        capture_output=True,
        text=True,
        check=True,
    )
    assert where.stdout.strip() == str(target / "runner/_bundle")
    assert run("status", url=empty).returncode == 0, "the checkout sees the same checksums"
