"""docs/new-application.md: its files, put into a copy of the project, are an application."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg
import pytest

from tests.conftest import scalar
from tests.migrations.dumps import structure
from tests.migrations.projects import ROOT, Project, copy_to
from tests.statements import column, execute

FILE = re.compile(
    r"^`((?:migrations|rollback|sql)/\S+\.sql)` .*?^```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
PERMITS = """
    insert into public.permit (plate, ends_at)
    values ('A', now() + interval '1 day'), ('B', now() - interval '1 day'),
        ('C', now() - interval '31 days')
"""
OWN = """
    create table permit (
        id uuid primary key default gen_random_uuid(),
        plate text not null check (plate <> ''),
        ends_at timestamptz,
        paid boolean not null default false
    );
    comment on table permit is 'As the town wants them';
    create index permits_that_end on permit (ends_at);
    create function may_park(plate text) returns boolean language plpgsql as $$
    begin
        return exists (select from permit where permit.plate = may_park.plate);
    end;
    $$;
    comment on function may_park(text) is 'Anybody with a permit';
    revoke execute on function may_park(text) from public;
"""


@pytest.fixture(scope="module")
def parking(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project, and in it what the document shows."""
    project = copy_to(tmp_path_factory.mktemp("parking") / "project")
    files: dict[str, str] = dict(FILE.findall((ROOT / "docs/new-application.md").read_text()))
    assert {Path(name).parts[0] for name in files} == {"migrations", "rollback", "sql"}
    for name, text in files.items():
        path = project.folder / name
        path.parent.mkdir(parents=True)
        path.write_text(text)
    return project


def test_its_files_keep_the_rules_of_the_project(parking: Project) -> None:
    checked = parking.check()
    assert checked.returncode == 0, checked.stdout


def test_it_creates_tends_and_goes(parking: Project, empty: str) -> None:
    before = structure(empty)
    parking.succeed("migrate", "--app", "parking", url=empty)
    installed = structure(empty)
    with psycopg.connect(empty, autocommit=True) as db:
        execute(db, PERMITS)
        assert column(db, "select plate from permit order by 1") == ["A", "B"], "C is swept"
        assert column(db, "select may_park(plate) from permit order by plate") == [True, False]
        execute(db, "select maintenance.set_insert_sweep('ended_permits', enabled => false)")
        execute(db, PERMITS)
        execute(db, "select maintenance.set_insert_sweep('ended_permits', enabled => true)")
    parking.succeed("run", "ended_permits", url=empty)
    with psycopg.connect(empty) as db:
        assert column(db, "select plate from permit order by 1") == ["A", "A", "B", "B"]
        execute(db, "delete from permit")
    parking.succeed("status", url=empty)
    parking.succeed("rollback", "--steps", "1", "--yes", "--no-backup", url=empty)
    parking.succeed("migrate", "--app", "parking", url=empty)
    assert structure(empty) == installed
    parking.succeed("rollback", "--all", "--yes", "--no-backup", url=empty)
    assert structure(empty) == before


def test_it_adopts_what_is_there_and_gives_it_back(parking: Project, empty: str) -> None:
    with psycopg.connect(empty, autocommit=True) as db:
        execute(db, OWN)
        execute(db, PERMITS)
    before = structure(empty)
    parking.succeed("migrate", "--app", "parking", url=empty)
    with psycopg.connect(empty) as db:
        assert column(db, "select may_park(plate) from permit order by plate") == [
            True,
            False,
            False,
        ]
        assert scalar(db, "select count(*) from pg_index where indrelid = 'permit'::regclass") == 2
    parking.succeed("run", "ended_permits", url=empty)
    with psycopg.connect(empty) as db:
        assert column(db, "select plate from permit order by 1") == ["A", "B"]
    parking.succeed("rollback", "--all", "--yes", "--no-backup", url=empty)
    assert structure(empty) == before
    with psycopg.connect(empty) as db:
        assert column(db, "select plate from permit order by 1") == ["A", "B"]
