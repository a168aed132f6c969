"""Old rows of an archive in files, and back: every value comes back as it was, bit for bit."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runner import api
from runner.archive_files import CsvMeter, read_csv, read_manifest
from runner.errors import Exit
from runner.migrate import migrate
from tests.conftest import run, scalar
from tests.runner.archives import LONG_AGO, contents, fill, make_archive
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from tests.conftest import TestServer

TYPES = """
    create type mood as enum ('sad', 'so "so"', 'happy, very');
    create domain positive as integer check (value > 0);
    create domain tags as text[] check (cardinality(value) < 10);
    create type place as (name text, at point, tags tags);
    create domain somewhere as place;
    create type span as range (subtype = numeric)
"""

# Name of the column, its type, and values of it: each becomes a row, the last value ones repeated.
VALUES: dict[str, tuple[str, list[str]]] = {
    "doubled": ("bigint", ["2", "4"]),
    "number": ("integer", ["1", "-2147483648", "null"]),
    "feeling": ("mood", ["'sad'", "'so \"so\"'", "'happy, very'", "null"]),
    "few": ("positive", ["1", "null"]),
    "labels": ("tags", ["'{}'", "'{a,\"b,c\",NULL,\"NULL\",\"\"}'", "'[0:1]={x,y}'", "null"]),
    "matrix": ("integer[]", ["'[-1:0][2:3]={{1,2},{3,NULL}}'", "'{}'"]),
    "moods": ("mood[]", ["array['sad', 'so \"so\"']::mood[]", "'{NULL}'"]),
    "home": ("place", ["row('a \"b\", \\ (c)', point(1, -0.0), '{x}')", "row(null, null, null)",
                       "null"]),
    "homes": ("place[]", ["array[row('x', null, '{\"a b\",NULL}')::place, null]"]),
    "house": ("somewhere", ["row('y', null, null)::place", "null"]),
    "binary": ("jsonb", ['\'{"b": [1.0, 1e400, "\\u00e9 \\" \\\\"], "a": null}\'', "'null'",
                         "'\"\"'"]),
    "text_json": ("json", ["E'{ \"a\" :1,\\n\\t\"a\":  2 }'", "'null'"]),
    "bytes": ("bytea", ["decode(string_agg_all(), 'hex')", "''", "'\\x00'", "null"]),
    "exact": ("numeric", ["'NaN'", "'Infinity'", "'-Infinity'", "'1.5000'", "10 ^ 1000::numeric",
                          "1.0 / 10 ^ 500::numeric", "0.000"]),
    "scaled": ("numeric(10, 2)", ["'NaN'", "0.10"]),
    "double": ("double precision", ["'NaN'", "'-0'", "4.9e-324", "'Infinity'", "'-Infinity'",
                                    "0.1", "1.7976931348623157e308", "1 / 3.0"]),
    "single": ("real", ["'-0'", "1.4e-45", "'NaN'", "0.1", "16777217"]),
    "moment": ("timestamptz", ["'infinity'", "'-infinity'", "'4713-01-01 00:00:00.000001 BC'",
                               "'294276-12-31 23:59:59.999999+00'", "'2024-03-31 02:30+02'"]),
    "naive": ("timestamp", ["'infinity'", "'0001-01-01 BC'", "'2024-02-29 24:00:00'"]),
    "day": ("date", ["'-infinity'", "'4713-01-01 BC'", "'5874897-12-31'"]),
    "clock": ("timetz", ["'24:00:00+15:59:59'", "'00:00:00.000001-15:59'"]),
    "period": ("interval", ["'-1 year +2 mons -3 days +04:05:06.000007'",
                            "'1 mon -1 day -00:00:00.000001'", "'178000000 years'", "'0'"]),
    "cash": ("money", ["'-92233720368547758.08'", "'1234.56'"]),
    "host": ("inet", ["'10.1.2.3/8'", "'::ffff:1.2.3.4/128'", "'fe80::/10'"]),
    "net": ("cidr", ["'10.0.0.0/8'"]),
    "mac": ("macaddr8", ["'08:00:2b:01:02:03:04:05'"]),
    "span": ("span", ["'empty'", "'(,)'", "'[1.50,NaN)'"]),
    "spans": ("int8multirange", ["'{}'", "'{[1,3),[5,)}'"]),
    "words": ("tsvector", ["'a:1A,2B ''quo''''ted'' \"x\"'", "''"]),
    "search": ("tsquery", ["'a & !(b <-> ''c d'')'"]),
    "padded": ("char(5)", ["'a'", "''", "'  b  '"]),
    "short": ("varchar(3)", ["'a  '", "''", "null"]),
    "letter": ('"char"', ["'a'", "''"]),
    "flags": ("bit varying", ["B'0101'", "B''"]),
    "bits": ("bit(3)", ["B'011'"]),
    "note": ("text", ["''", "null", "'null'", "'NULL'", "'\"'", "'\"\"'", "E'a\\nb\\r\\nc\\r'",
                      "E'\\\\.'", "E'x\\n\\\\.\\ny'", "'\\N'", "','", "' lead, trail '",
                      "E'\\t\\x01\\x7f'", "'é 漢 🥝 e\u0301 \u202e'", "'\\x41'"]),
    "wide": ("text", ["repeat('abc', 900000)", "random_text(2500000)", *["'narrow'"] * 10]),
    "log": ("pg_lsn", ["'16/B374D848'"]),
    "path": ("path", ["'((1,2),(3,4.5))'", "'[(-0,1e-300)]'"]),
    "uuid": ("uuid", ["'00000000-0000-0000-0000-000000000001'"]),
    "A \"b\" ,c": ("text", ["'quoted'"]),
    "class": ("regclass", ["'pg_class'", "'maintenance.policy'"]),
}  # fmt: skip


def test_every_value_comes_back_bit_for_bit(db: Connection, tmp_path: Path) -> None:
    """Of a table with generated and identity columns too: the archive has them as they were."""
    execute(
        db,
        f"{TYPES};"
        " create function string_agg_all() returns text language sql as $$ select"
        " string_agg(lpad(to_hex(n), 2, '0'), '' order by n) from generate_series(0, 255) as n $$;"
        " create function random_text(size integer) returns text language sql as $$ select"
        " string_agg(md5(n::text), '') from generate_series(1, size / 32) as n $$",
    )
    has_xml = True
    try:
        execute(db, "select xml '<a/>'")
    except psycopg.errors.FeatureNotSupported:
        has_xml = False
    values = VALUES | (
        {"markup": ("xml", ["'<a b=\"1\">\n &amp; </a>'", "'text, and <b/>'"])} if has_xml else {}
    )
    quoted = {name: '"' + name.replace('"', '""') + '"' for name in values}
    columns = ", ".join(f"{quoted[name]} {kind}" for name, (kind, _) in values.items())
    make_archive(db, f"id bigint, {columns}", name='public."Kept ""so"""')
    count = max(len(given) for _, given in values.values())
    for number in range(count):
        chosen = ", ".join(
            f"({given[number % len(given)]})::{kind}" for kind, given in values.values()
        )
        execute(
            db,
            f'insert into "Kept ""so""" select {number}, {chosen}, \'{LONG_AGO}\', {number}',
        )
    execute(
        db,
        "create table source (id bigint generated always as identity, n integer,"
        " doubled bigint generated always as (n * 2) stored, e mood default 'sad');"
        " insert into source (n) values (21);"
        ' insert into "Kept ""so""" (id, number, doubled, feeling, _archived_at)'
        f" select id, n, doubled, e, '{LONG_AGO}' from source;"
        ' create table before as select * from "Kept ""so"""',
    )
    url = db.info.dsn
    for compression in api.Compression:
        folder = tmp_path / compression
        folder.mkdir()
        done = api.export_archive(
            url, '"Kept ""so"""', "1 day", folder, compression=compression, max_rows=7
        )
        assert (done.rows, len(done.files), done.exit_reason) == (count + 1, 3, "exhausted")
        assert column(db, 'select count(*) from "Kept ""so"""') == [0]
        assert [one.problem for one in api.verify_files([folder])] == [None] * 3

        back = api.import_files(url, [folder])
        assert back.rows == count + 1
        assert column(db, 'select count(*) from "Kept ""so"""') == [count + 1]
        changed = column(
            db,
            "select one.id from before as one where not exists"
            ' (select from "Kept ""so""" as other where one.id = other.id and one *= other)',
        )
        assert changed == []
        assert column(db, "select one::text from before as one order by 1") == column(
            db, 'select one::text from "Kept ""so""" as one order by 1'
        )


def test_an_archive_in_latin1_keeps_its_bytes(
    admin: Connection, server: TestServer, new_database: Callable[..., str], tmp_path: Path
) -> None:
    url = new_database("latin")
    name = f"pgm_{server.worker}_latin"
    execute(admin, f"drop database {name}")
    execute(admin, f"create database {name} template template0 encoding 'LATIN1' locale 'C'")
    migrate(url, applications=["none"])
    with psycopg.connect(url, autocommit=True, client_encoding="utf8") as db:
        make_archive(db, 'id bigint, "größe" text')
        execute(
            db,
            f"insert into kept values (1, 'é ÿ \"ä\"', '{LONG_AGO}', null);"
            " insert into kept"
            f" values (2, convert_from('\\xa0ff80', 'LATIN1'), '{LONG_AGO}', null);"
            " create table before as select * from kept",
        )
        done = api.export_archive(url, "kept", "1 day", tmp_path, compression=api.Compression.GZIP)
        text = gzip.decompress(done.files[0].file.read_bytes())
        assert "größe".encode("latin-1") in text
        assert api.import_files(url, [tmp_path]).rows == 2
        assert rows(db, "select * from before order by 1") == rows(
            db, "select * from kept order by 1"
        )


@pytest.mark.parametrize(
    "text",
    [
        b'h\n',
        b'h\n1\n2\n',
        b'h\n"a\nb"\n"c""\n"""\n',
        b'h\n""\n\n"""",x\n',
        b'"h\n"\n"\r\n"\n',
    ],
)  # fmt: skip
def test_records_are_counted_however_the_text_is_cut(text: bytes) -> None:
    expected = len(list(csv.reader(io.StringIO(text.decode(), newline="")))) - 1
    for first in range(len(text)):
        for second in range(first, len(text)):
            meter = CsvMeter()
            for piece in (text[:first], text[first:second], text[second:]):
                meter.add(piece)
            assert meter.rows == expected
            assert meter.content.sha256 == hashlib.sha256(text).hexdigest()


def test_csv_that_ends_within_a_value_has_no_count() -> None:
    meter = CsvMeter()
    meter.add(b'h\n"a\n')
    assert meter.rows == -1


def test_a_file_says_all_there_is_to_say(db: Connection, tmp_path: Path) -> None:
    make_archive(db)
    fill(db, 250)
    [file] = api.export_archive(db.info.dsn, "kept", "1 day", tmp_path).files
    manifest = read_manifest(file.file)
    assert (manifest.rows, manifest.archive, manifest.source) == (250, "public.kept", "public.live")
    assert [one["name"] for one in manifest.columns] == [
        "id", "note", "_archived_at", "_archived_by_step",
    ]  # fmt: skip
    assert manifest.steps == [0, 1, 2]
    assert (manifest.oldest, manifest.newest) == (
        "2020-01-01T00:00:01+00:00",
        "2020-01-01T00:04:10+00:00",
    )
    assert manifest.compressed.bytes == file.bytes == file.file.stat().st_size
    assert manifest.csv.bytes == sum(map(len, read_csv(file.file, manifest)))
    assert file.file.stat().st_mode & 0o777 == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {file.file.name, f"{file.file.name}.json"}
    [known] = api.list_archives(db.info.dsn).files
    assert (known.id, known.file, known.rows) == (manifest.id, file.file.name, 250)
    assert column(db, "select steps from maintenance.archive_file") == [[0, 1, 2]]


def test_only_what_is_older_goes(db: Connection, tmp_path: Path) -> None:
    make_archive(db)
    fill(db, 10)
    fill(db, 5, at="now")
    execute(db, "insert into kept values (99, 'never', 'infinity', null), (100, null, null, null)")
    planned = api.plan_export(db.info.dsn, "kept", "1 year")
    done = api.export_archive(db.info.dsn, "kept", "1 year", tmp_path)
    assert (planned.rows, done.rows) == (10, 10)
    assert column(db, "select count(*) from kept") == [7]


def test_nothing_to_move_makes_no_file(db: Connection, tmp_path: Path) -> None:
    make_archive(db)
    done = api.export_archive(db.info.dsn, "kept", "0", tmp_path)
    assert (done.exit_reason, done.files, done.code) == ("nothing_to_do", [], Exit.DONE)
    assert list(tmp_path.iterdir()) == []


def test_a_partitioned_archive_moves_part_by_part(db: Connection, tmp_path: Path) -> None:
    execute(
        db,
        "create table parts (id bigint, note text, _archived_at timestamptz,"
        " _archived_by_step bigint) partition by range (id);"
        " create table parts_2 (_archived_by_step bigint, gone text, _archived_at timestamptz,"
        " note text, id bigint);"
        " alter table parts_2 drop column gone;"
        " alter table parts attach partition parts_2 for values from (6) to (100);"
        " create table parts_1 partition of parts for values from (0) to (6);"
        " insert into maintenance.archive (relation, source, columns, is_ours)"
        " values ('parts', 'parts', '{}', false)",
    )
    fill(db, 10, name="parts")
    before = contents(db, "parts")
    done = api.export_archive(db.info.dsn, "parts", "1 day", tmp_path, max_rows=4)
    assert sorted(file.rows for file in done.files) == [1, 1, 4, 4]
    assert column(db, "select count(*) from parts") == [0]
    api.import_files(db.info.dsn, [tmp_path])
    assert contents(db, "parts") == before


def test_columns_that_the_archive_has_gained_stay_null(db: Connection, tmp_path: Path) -> None:
    make_archive(db)
    fill(db, 3)
    api.export_archive(db.info.dsn, "kept", "1 day", tmp_path)
    execute(db, "alter table kept add column first text; alter table kept drop column id")
    refused = run("archive", "import", tmp_path, url=db.info.dsn)
    assert refused.returncode == Exit.USAGE
    assert "public.kept has no column id, which the file has" in refused.stderr
    execute(db, "alter table kept add column id integer")
    refused = run("archive", "import", tmp_path, url=db.info.dsn)
    assert "column id of public.kept is integer, and bigint in the file" in refused.stderr
    execute(db, "alter table kept alter column id type bigint")
    assert run("archive", "import", tmp_path, url=db.info.dsn).returncode == Exit.DONE
    assert rows(db, "select id, note, first from kept order by id") == [
        (1, "note 1", None), (2, "note 2", None), (3, "note 3", None),
    ]  # fmt: skip


def test_a_file_is_put_back_once(db: Connection, tmp_path: Path) -> None:
    make_archive(db)
    fill(db, 3)
    url = db.info.dsn
    api.export_archive(url, "kept", "1 day", tmp_path)
    api.import_files(url, [tmp_path])
    again = run("archive", "import", tmp_path, url=url)
    assert again.returncode == Exit.REFUSED
    assert "are back already" in again.stderr
    assert column(db, "select count(*) from kept") == [3]
    execute(db, "create table elsewhere (like kept)")
    done = run("archive", "import", tmp_path, "--into", "elsewhere", "--anyway", "--json", url=url)
    assert json.loads(done.stdout)["rows"] == 3
    assert contents(db, "elsewhere") == contents(db)


def test_a_file_of_another_database_needs_a_word_and_brings_no_steps(
    db: Connection, new_database: Callable[..., str], server: TestServer, tmp_path: Path
) -> None:
    make_archive(db)
    fill(db, 300)
    api.export_archive(db.info.dsn, "kept", "1 day", tmp_path)
    other = new_database("other", template=server.template)
    with psycopg.connect(other, autocommit=True) as elsewhere:
        execute(elsewhere, "select maintenance.adopt_clone()")
        make_archive(elsewhere)
        refused = run("archive", "import", tmp_path, url=other)
        assert refused.returncode == Exit.REFUSED
        assert "did not export" in refused.stderr
        assert run("archive", "import", tmp_path, "--anyway", url=other).returncode == Exit.DONE
        assert rows(elsewhere, "select count(*), count(_archived_by_step) from kept") == [(300, 0)]
        assert run("archive", "import", tmp_path, url=other).returncode == Exit.REFUSED


def test_a_copy_that_was_not_adopted_moves_nothing(
    db: Connection, new_database: Callable[..., str], server: TestServer, tmp_path: Path
) -> None:
    url = new_database("copy", template=server.template)
    with psycopg.connect(url, autocommit=True) as copy:
        make_archive(copy)
        fill(copy, 3)
        done = run(
            "archive", "export", "kept", "--older-than", "0", "--to", tmp_path, "-y", url=url
        )
        assert done.returncode == Exit.REFUSED
        assert "is a copy of the one that was set up" in done.stderr
        assert column(copy, "select count(*) from kept") == [3]


def test_what_makes_no_sense_is_one_sentence(db: Connection, tmp_path: Path) -> None:
    make_archive(db)
    fill(db, 3)
    execute(
        db,
        "create table own (id bigint); insert into maintenance.archive"
        " (relation, source, columns, is_ours) values ('own', 'live', '{}', false);"
        " create table other (id bigint primary key);"
        " create table child (id bigint references other)",
    )
    url = db.info.dsn
    for archive, older_than, folder, max_rows, said in (
        ("kept", "soon", tmp_path, 1, "invalid input syntax for type interval"),
        ("kept", "-1 day", tmp_path, 1, "an age must be an interval that is not negative"),
        ("kept", "1 day", tmp_path / "nowhere", 1, "there is no folder"),
        ("kept", "1 day", tmp_path, 0, "a file has at least one row, not 0"),
        ("live", "1 day", tmp_path, 1, "public.live is not an archive of any policy"),
        ("other", "1 day", tmp_path, 1, "public.other is not an archive of any policy"),
        ("lost", "1 day", tmp_path, 1, "there is no table lost"),
        ("own", "1 day", tmp_path, 1, "public.own does not say when its rows were archived"),
    ):
        with pytest.raises(api.RunnerError, match=said) as refusal:
            api.export_archive(url, archive, older_than, folder, max_rows=max_rows)
        assert refusal.value.code == Exit.USAGE, said
    for words, said in (
        (("--older-than", "1 day"), "error: a folder has to be named: --to FOLDER"),
        (("--older-than", "1 day", "--to", ".", "--format", "zip"), "zstd or gzip, not zip"),
    ):
        done = run("archive", "export", "kept", *words, "--yes", url=url, folder=tmp_path)
        assert done.returncode == Exit.USAGE
        assert said in done.stderr.splitlines()[0]
    with pytest.raises(api.RunnerError, match="there is no file") as refusal:
        api.import_files(url, [tmp_path / "lost.csv.zst"])
    assert refusal.value.code == Exit.USAGE
    assert column(db, "select count(*) from kept") == [3]
    assert list(tmp_path.iterdir()) == []


def test_off_a_terminal_it_needs_a_yes(db: Connection, tmp_path: Path) -> None:
    make_archive(db)
    fill(db, 3)
    done = run("archive", "export", "kept", "--older-than", "0", "--to", tmp_path, url=db.info.dsn)
    assert done.returncode == Exit.REFUSED
    assert "was not confirmed" in done.stderr
    assert column(db, "select count(*) from kept") == [3]


OBSTACLES = {
    "trigger watch on public.kept_0": "create trigger watch before delete on kept_0"
    " for each row execute function nothing()",
    "rule keep on public.kept_1": "create rule keep as on delete to kept_1 do instead nothing",
    "foreign key child_id_fkey of public.child": "alter table kept_2 add primary key (id);"
    " create table child (id bigint references kept_2)",
    "forced row-level security on public.kept_3": "alter table kept_3"
    " enable row level security, force row level security",
    "generated column twice of public.kept_4": "alter table kept_4"
    " add column twice bigint generated always as (id * 2) stored",
}


def test_what_could_keep_or_change_a_row_is_refused(db: Connection, tmp_path: Path) -> None:
    execute(
        db,
        "create function nothing() returns trigger language plpgsql as 'begin return null; end'",
    )
    for number, (named, obstacle) in enumerate(OBSTACLES.items()):
        table = f"public.kept_{number}"
        make_archive(db, name=table)
        fill(db, 3, name=table)
        execute(db, obstacle)
        with pytest.raises(api.RunnerError, match="cannot be moved exactly") as refusal:
            api.export_archive(db.info.dsn, table, "0", tmp_path)
        assert named in str(refusal.value.detail)
        assert refusal.value.code == Exit.REFUSED
        assert column(db, f"select count(*) from {table}") == [3]
    assert list(tmp_path.iterdir()) == []


def test_a_trigger_on_insert_keeps_a_file_out(db: Connection, tmp_path: Path) -> None:
    make_archive(db)
    fill(db, 3)
    api.export_archive(db.info.dsn, "kept", "0", tmp_path)
    execute(
        db,
        "create function nothing() returns trigger language plpgsql as"
        " 'begin return null; end'; create trigger watch before insert on kept"
        " for each row execute function nothing()",
    )
    done = run("archive", "import", tmp_path, url=db.info.dsn)
    assert done.returncode == Exit.REFUSED
    assert "trigger watch on public.kept" in done.stderr


def test_members_of_the_owner_move_rows_and_nobody_else(
    db: Connection, role: Callable[[str], str], tmp_path: Path
) -> None:
    owner, member, stranger = role("owner"), role("member"), role("stranger")
    make_archive(db)
    fill(db, 3)
    execute(db, f"alter table kept owner to {owner}; grant {owner} to {member}")
    execute(db, "select maintenance.grant_operator(%s)", member)
    execute(db, "select maintenance.grant_operator(%s)", stranger)
    url = db.info.dsn
    words = ("archive", "export", "kept", "--older-than", "0", "--to", tmp_path, "-y")
    denied = run(*words, url=make_conninfo(url, user=stranger))
    assert denied.returncode == Exit.FAILED
    assert "only the owner of public.kept may do this" in denied.stderr
    done = run(*words, url=make_conninfo(url, user=member))
    assert done.returncode == Exit.DONE, done.stderr
    assert column(db, "select exported_by from maintenance.archive_file") == [member]
    denied = run("archive", "import", tmp_path, url=make_conninfo(url, user=stranger))
    assert "only the owner of public.kept may do this" in denied.stderr
    done = run("archive", "import", tmp_path, url=make_conninfo(url, user=member))
    assert done.returncode == Exit.DONE, done.stderr
    assert column(db, "select count(*) from kept") == [3]
    listed = run("archive", "list", "--json", url=make_conninfo(url, user=stranger))
    assert json.loads(listed.stdout)["archives"][0]["archive"] == "public.kept"


def test_no_code_of_the_owner_runs_as_whoever_moves_rows(
    db: Connection, role: Callable[[str], str], tmp_path: Path
) -> None:
    """Planning alone runs functions in the predicate of an index; checks run with each row."""
    owner = role("owner")
    make_archive(db)
    fill(db, 3)
    execute(
        db,
        "create table seen (who text); grant insert, select on seen to public;"
        f" create schema evil authorization {owner}; alter table kept owner to {owner};"
        " create function evil.note() returns boolean language plpgsql as $$ begin"
        "   begin perform set_config('role', 'none', false); exception when others then null; end;"
        "   insert into public.seen values (current_user); return true; end $$;"
        " create function evil.quiet(integer) returns boolean language plpgsql immutable as"
        " $$ begin return true; end $$;"
        " create index on kept (id) where evil.quiet(1);"
        " create or replace function evil.quiet(integer) returns boolean language plpgsql"
        " immutable as $$ begin perform evil.note(); return true; end $$;"
        " alter table kept add check (evil.quiet(id::integer))",
    )
    execute(db, "truncate seen")
    api.export_archive(db.info.dsn, "kept", "0", tmp_path)
    api.import_files(db.info.dsn, [tmp_path])
    assert set(column(db, "select who from seen")) == {owner}


def test_the_list_says_who_fills_and_who_empties(db: Connection, tmp_path: Path) -> None:
    make_archive(db)
    fill(db, 20)
    execute(db, "create index on kept (_archived_at); analyze kept")
    execute(
        db,
        "select * from maintenance.register_policy('forget', 'kept',"
        """ '{"column": "_archived_at", "retention": "2 years"}')""",
    )
    api.export_archive(db.info.dsn, "kept", "0", tmp_path, max_rows=15)
    fill(db, 5)
    execute(db, "analyze kept")
    [one] = api.list_archives(db.info.dsn).archives
    assert (one.archive, one.source, one.retention) == ("public.kept", "public.live", ["forget"])
    assert (one.estimated_rows, one.files, one.rows_in_files) == (5, 2, 20)
    assert str(one.oldest) == "2020-01-01 00:00:01+00:00"
    shown = run("archive", "list", url=db.info.dsn).stdout
    assert "forget" in shown
    assert scalar(db, "select count(*) from maintenance.archive_status") == 1


def test_a_run_can_be_undone_once_its_rows_are_back(db: Connection, tmp_path: Path) -> None:
    execute(
        db,
        "create table carts (id bigint generated always as identity primary key,"
        " price numeric, doubled numeric generated always as (price * 2) stored,"
        " expires_at timestamptz);"
        " insert into carts (price, expires_at)"
        " select n / 7.0, now() - n * interval '1 day' from generate_series(1, 100) as n;"
        " select maintenance.create_archive('carts');"
        " select * from maintenance.register_policy('carts', 'carts', '"
        '{"column": "expires_at", "retention": "30 days", "action": "archive",'
        ' "archive_table": "public.carts_archive", "guard_share": 1}\');'
        " create table before as select * from carts",
    )
    url = db.info.dsn
    assert run("run", "carts", url=url).returncode == Exit.DONE
    [run_id] = column(db, "select max(id) from maintenance.run")
    done = api.export_archive(url, "carts_archive", "0", tmp_path, max_rows=40)
    assert (done.rows, len(done.files)) == (71, 2)
    [one] = api.list_archives(url).archives
    assert (one.policies, one.rows_in_files) == (["carts"], 71)
    in_files = 'rows of it are in files: "runner archive list --files" names them'
    with pytest.raises(api.RunnerError) as refusal:
        api.undo(url, run_id)
    assert refusal.value.detail == f"policy carts: {in_files}"
    api.import_files(url, [done.files[0].file])
    [step] = api.plan_undo(url, run_id).steps
    assert (step.waiting, step.reason) == (
        40,
        f"of 71 rows that went, 40 are in archives; {in_files}",
    )
    api.import_files(url, [done.files[1].file])
    assert api.plan_undo(url, run_id).steps[0].reason is None
    execute(db, f"call maintenance.undo_run({run_id})")
    assert column(db, "select count(*) from carts") == [100]
    assert column(
        db,
        "select count(*) from carts as one join before as other on one.id = other.id"
        " where one *= other",
    ) == [100]
