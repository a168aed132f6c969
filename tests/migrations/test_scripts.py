"""What the three SQL folders promise each other, checked without a database."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from runner import freeze, resources
from runner import scripts as scripts_module
from runner.errors import Exit, RunnerError
from runner.resources import home
from runner.scripts import INCLUDE, chains, expand, released, script, scripts

SQL = home() / "sql"
DEFINITIONS = sorted(path for path in SQL.glob("*/*/*.sql") if path.parent.name != "past")
PAST = sorted(SQL.glob("*/past/*.sql"))
ALL = scripts(chains())
DEFINES = re.compile(
    r"^create or replace (function|procedure|view|trigger) (?:\w+\.)?(\w+)", re.MULTILINE
)


def included(folder: str) -> Counter[Path]:
    """How often the scripts of a folder include each file of sql/."""
    return Counter(
        (path.parent / name).resolve()
        for path in sorted((home() / folder).glob("*/*.sql"))
        for name in INCLUDE.findall(path.read_text())
    )


def test_every_migration_has_its_rollback_and_every_rollback_its_migration() -> None:
    ups = {(path.parent.name, path.stem) for path in (home() / "migrations").glob("*/*.sql")}
    downs = {
        (path.parent.name, path.stem.removesuffix("_down"))
        for path in (home() / "rollback").glob("*/*.sql")
    }
    assert ups == downs, "missing: " + ", ".join(
        [f"rollback/{chain}/{name}_down.sql" for chain, name in sorted(ups - downs)]
        + [f"migrations/{chain}/{name}.sql" for chain, name in sorted(downs - ups)]
    )


@pytest.mark.parametrize("chain", chains())
def test_the_numbers_of_a_chain_have_no_gap(chain: str) -> None:
    numbers = [int(one.up.stem[:4]) for one in ALL if one.chain == chain]
    assert numbers == list(range(1, len(numbers) + 1))


def test_released_migrations_are_frozen() -> None:
    current = {one.id: one.checksum for one in ALL}
    changed = [name for name, checksum in released().items() if current.get(name) != checksum]
    assert not changed, (
        f"{changed} no longer expand to what was released: keep the released definition as "
        "sql/<chain>/past/<object>@<migration>.sql, and include that file there instead"
    )


def test_each_definition_is_installed_by_one_migration() -> None:
    found = included("migrations")
    never = [path.name for path in DEFINITIONS + PAST if not found[path]]
    assert not never, f"no migration installs {never}: include it in a new migration"
    twice = [path.name for path, times in found.items() if times > 1]
    assert not twice, (
        f"more than one migration installs {twice}: keep what the first one installed as "
        "sql/<chain>/past/<object>@<migration>.sql, and include that file there instead"
    )
    assert set(found) == {*DEFINITIONS, *PAST}


def test_a_past_definition_is_named_after_the_migration_that_installed_it() -> None:
    wrong = [
        f"{one.id} includes {path.name}"
        for path in PAST
        for one in ALL
        if f"/{path.parent.name}/{path.name}\n" in one.up.read_text()
        and (one.chain, one.up.stem[:4]) != (path.parents[1].name, path.stem.partition("@")[2])
    ]
    assert not wrong


def test_a_past_definition_is_brought_back_by_a_rollback() -> None:
    found = included("rollback")
    never = [path.name for path in PAST if not found[path]]
    assert not never, f"include {never} in the rollback of the migration that replaces it"


def test_rollbacks_restore_past_definitions_only() -> None:
    assert {path.parent.name for path in included("rollback")} <= {"past"}


@pytest.mark.parametrize("folder", ["migrations", "rollback"])
def test_definitions_stay_in_sql(folder: str) -> None:
    paths = (home() / folder).glob("*/*.sql")
    assert not [path.name for path in paths if DEFINES.search(path.read_text())]


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_a_file_defines_the_object_it_is_named_after(path: Path) -> None:
    [(kind, name)] = DEFINES.findall(path.read_text())
    assert (f"{kind}s", name) == (path.parent.name, path.stem)


@pytest.mark.parametrize("path", DEFINITIONS, ids=lambda path: path.stem)
def test_a_definition_in_our_schema_revokes_in_its_own_file(path: Path) -> None:
    text = path.read_text()
    if " maintenance." in text.split("(")[0] and path.parent.name != "triggers":
        assert "\nrevoke all on " in text


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.id)
def test_a_script_leaves_the_transaction_to_whoever_runs_it(one: scripts_module.Script) -> None:
    control = re.compile(r"(?im)^\s*(begin|commit|rollback|end|start transaction|abort)\s*;")
    for path in (one.up, one.down):
        assert not control.search(path.read_text()), path.name


@pytest.mark.parametrize("one", ALL, ids=lambda one: one.id)
def test_a_script_begins_with_a_sentence(one: scripts_module.Script) -> None:
    for path in (one.up, one.down):
        assert re.match(r"-- [A-Z].*\S", path.read_text()), path.name


@pytest.mark.parametrize("folder", ["migrations", "rollback", "sql", "runner/queries"])
def test_sql_keeps_to_100_columns_and_to_spaces(folder: str) -> None:
    assert not [
        f"{path}:{number}"
        for path in (home() / folder).rglob("*.sql")
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if len(line) > 100 or "\t" in line or line != line.rstrip()
    ]


@pytest.mark.parametrize("folder", ["migrations", "rollback", "sql", "runner/queries"])
def test_sql_is_of_characters_that_every_encoding_has(folder: str) -> None:
    paths = (home() / folder).rglob("*.sql")
    assert not [str(path) for path in paths if not path.read_text(encoding="utf-8").isascii()]


def test_applications_come_after_core() -> None:
    names = [one.chain for one in scripts(["matcha"])]
    assert names == sorted(names, key=lambda chain: chain != "core")
    assert set(names) == {"core", "matcha"}


def test_none_means_core_alone() -> None:
    assert {one.chain for one in scripts(["none"])} == {"core"}


def test_an_unknown_application_is_named_with_those_there_are() -> None:
    with pytest.raises(RunnerError, match="there is no application 'machta'") as refusal:
        scripts(["machta"])
    assert refusal.value.code == Exit.USAGE
    assert "matcha" in str(refusal.value.hint)


def test_an_unknown_id_is_met_with_those_that_come_close() -> None:
    with pytest.raises(RunnerError, match="there is no migration 'matcha/0005'") as refusal:
        script("matcha/0005")
    assert refusal.value.code == Exit.USAGE
    assert "matcha/0005_refresh_tokens" in str(refusal.value.hint)


def test_an_include_is_replaced_by_the_file_it_names() -> None:
    text = script("matcha/0006_performance_and_cleanup_improvements").sql
    assert "create or replace function public.cleanup_all_expired_tokens()" in text
    assert "\\ir" not in text


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """A project folder of one's own: write files into it, and it is what the runner sees."""

    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    for module in (resources, scripts_module, freeze):
        monkeypatch.setattr(module, "home", lambda: tmp_path)
    return write


@pytest.mark.parametrize(
    "line", ["\\i other.sql", "\\set x 1", "\\gexec", "  \\echo hello", "\\ir", "\\ir a.sql b.sql"]
)
def test_any_other_psql_command_is_an_error_with_file_and_line(
    project: Callable[[str, str], Path], line: str
) -> None:
    path = project("migrations/core/0001_x.sql", f"-- A script.\n\n{line}\nselect 1;\n")
    with pytest.raises(RunnerError) as refusal:
        expand(path)
    place = "migrations/core/0001_x.sql:3"
    assert refusal.value.message == f"{place}: {line.strip()} is not understood"


def test_includes_do_not_nest(project: Callable[[str, str], Path]) -> None:
    project("sql/core/functions/f.sql", "-- f\n\\ir g.sql\n")
    path = project("migrations/core/0001_x.sql", "\\ir ../../sql/core/functions/f.sql\n")
    with pytest.raises(RunnerError) as refusal:
        expand(path)
    assert refusal.value.message == "sql/core/functions/f.sql:2: \\ir g.sql is not understood"


def test_a_missing_include_is_an_error_with_file_and_line(
    project: Callable[[str, str], Path],
) -> None:
    path = project("migrations/core/0001_x.sql", "select 1;\n\\ir nowhere.sql\n")
    with pytest.raises(RunnerError) as refusal:
        expand(path)
    assert refusal.value.message == "migrations/core/0001_x.sql:2: there is no file nowhere.sql"


def test_a_missing_rollback_is_an_error_that_names_the_file(
    project: Callable[[str, str], Path],
) -> None:
    project("migrations/core/0001_x.sql", "select 1;\n")
    [one] = scripts([])
    with pytest.raises(RunnerError, match="core/0001_x has no rollback script") as refusal:
        _ = one.rollback_sql
    assert "rollback/core/0001_x_down.sql" in str(refusal.value.detail)


def test_a_checksum_does_not_depend_on_line_ends(project: Callable[[str, str], Path]) -> None:
    path = project("migrations/core/0001_x.sql", "select 1;\nselect 2;\n")
    unix = expand(path)
    path.write_bytes(b"select 1;\r\nselect 2;  \r\n\r\n")
    assert expand(path) == unix


def test_a_checksum_changes_with_an_included_file(project: Callable[[str, str], Path]) -> None:
    project("sql/core/functions/f.sql", "select 1;\n")
    project("migrations/core/0001_x.sql", "\\ir ../../sql/core/functions/f.sql\n")
    before = scripts([])[0].checksum
    project("sql/core/functions/f.sql", "select 2;\n")
    assert scripts([])[0].checksum != before


def test_freezing_appends_what_is_new_and_refuses_what_has_changed(
    project: Callable[[str, str], Path],
) -> None:
    checksums = project("migrations/checksums.txt", "# released\n")
    project("migrations/core/0001_x.sql", "select 1;\n")
    assert freeze.freeze() == ["core/0001_x"]
    project("migrations/core/0002_y.sql", "select 2;\n")
    assert freeze.freeze() == ["core/0002_y"]
    assert freeze.freeze() == []
    frozen = checksums.read_text()
    assert frozen.count("\n") == 3
    project("migrations/core/0001_x.sql", "select 3;\n")
    with pytest.raises(RunnerError, match="core/0001_x is no longer what was released"):
        freeze.freeze()
    assert checksums.read_text() == frozen
