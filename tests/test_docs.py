"""The documents: runnable blocks run, links lead somewhere, every command is in them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from runner.clients import command, find
from runner.scripts import chains
from tests.conftest import TestServer, run
from tests.runner.test_commands import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+) runnable\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://)([^)#]+)")


def blocks(language: str) -> list[tuple[str, str]]:
    """Every runnable block of a language, with the name of its document."""
    return [
        (path.name, body)
        for path in DOCUMENTS
        for found, body in BLOCK.findall(path.read_text())
        if found == language
    ]


@pytest.mark.parametrize(("document", "body"), blocks("sql"))
def test_a_block_of_sql_runs(
    document: str, body: str, new_database: Callable[..., str], server: TestServer
) -> None:
    url = new_database("docs", template=server.template)
    words, environ = command(find("psql"), url, "-X", "-v", "ON_ERROR_STOP=1")
    done = subprocess.run(
        words,
        env=environ,
        input="select maintenance.adopt_clone();\n" + body,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{document}: {done.stderr}"


@pytest.mark.parametrize(("document", "body"), blocks("console"))
def test_a_transcript_prints_what_it_says(
    document: str, body: str, empty: str, tmp_path: Path
) -> None:
    """Each command of the transcript prints what stands below it; a line "..." is any lines."""
    parameters = conninfo_to_dict(empty)
    database = str(parameters["dbname"])
    server = {
        "PGHOST": str(parameters["host"]),
        "PGPORT": str(parameters.get("port") or 5432),
        "PGUSER": str(parameters["user"]),
    }
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "psql").symlink_to(find("psql"))
    (bin_folder / "runner").write_text(f'#!/bin/sh\nexec {sys.executable} -m runner "$@"\n')
    (bin_folder / "runner").chmod(0o755)
    path = f"{bin_folder}:{os.environ['PATH']}"
    url = f"postgresql:///{database}"
    for typed, expected in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE):
        if typed.startswith("export DATABASE_URL="):
            continue  # the test's own database stands for the reader's
        done = subprocess.run(
            ["/bin/sh", "-c", typed],
            env=os.environ | server | {"PATH": path, "DATABASE_URL": url},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{document}: {typed}: {done.stderr}"
        printed = [line.rstrip() for line in done.stdout.replace(database, "shop").splitlines()]
        pattern = "\n".join(re.escape(line) for line in expected.rstrip().splitlines())
        pattern = pattern.replace(re.escape("..."), r"(?:.*\n)*?.*")
        assert re.fullmatch(pattern, "\n".join(printed).rstrip()), f"{typed}:\n{done.stdout}"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    broken = [link for link in LINK.findall(path.read_text()) if not (path.parent / link).exists()]
    assert not broken


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_documented(command: str) -> None:
    assert f"`runner {command}" in (ROOT / "docs/command-line.md").read_text()


def test_the_readme_needs_two_commands_on_a_new_machine() -> None:
    readme = (ROOT / "README.md").read_text()
    assert "```sh\nmake demo\nmake test\n```" in readme
    makefile = (ROOT / "Makefile").read_text()
    assert re.search(r"^demo:", makefile, re.MULTILINE)
    assert re.search(r"^test:", makefile, re.MULTILINE)


@pytest.mark.parametrize("application", chains()[1:])
def test_every_migration_of_an_application_is_in_its_guide(application: str) -> None:
    guide = (ROOT / f"docs/{application}.md").read_text()
    shown = run("show", "--all", "--app", application).stdout
    ids = re.findall(rf"^-- {application}/(\w+)$", shown, re.MULTILINE)
    assert ids
    assert not [name for name in ids if f"`{name}`" not in guide]
