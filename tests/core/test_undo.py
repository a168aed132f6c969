"""Undoing a run: every archived row comes back as it was, or stays and is named with the reason."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.conftest import scalar
from tests.core.archives import (
    an_archive,
    archive,
    archived_tokens,
    conflicts,
    content,
    open_undo,
    plan,
    undo,
)
from tests.core.runs import (
    DEAD,
    a_table,
    alter,
    at_the_gate,
    calling,
    closed_gate,
    count,
    put,
    register,
    run,
    until,
)
from tests.core.sweeps import attach
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

PAST = "now() - interval '1 day'"

TABLES = {
    "values of every kind": (
        "create type mood as enum ('good', 'bad'); create domain few as integer check (value < 9);"
        "create domain list as integer[]; create type pair as (x integer, y text, z numeric);"
        """create table kept (
            id integer generated always as identity, expires_at timestamptz, mood mood, few few,
            list list, numbers integer[], pair pair, pairs pair[], json json, jsonb jsonb,
            point point, bytes bytea, exact numeric, scaled numeric(10, 3), double double precision,
            moment timestamptz, span interval, range tstzrange, ranges int4multirange,
            fixed char(10), short varchar(9), bits bit(5), uuid uuid, address inet, words tsvector,
            money money, twice integer generated always as (few * 2) stored)""",
        """insert into kept (expires_at, mood, few, list, numbers, pair, pairs, json, jsonb,
            point, bytes, exact, scaled, double, moment, span, range, ranges, fixed, short, bits,
            uuid, address, words, money)
        select now() - interval '1 day', 'bad', 5, '[0:1]={1,2}', '[-3:-2]={7,8}', '(1,"q ,",1.10)',
            array[cast('(2,,2.000)' as pair)], '{"b": 1,  "a": 1, "a": 2}', '{"b": 1}',
            '(1,2)', '\\x00ff', odd.exact, 1.5, odd.double, odd.moment, '1 mon -3 days 04:05:06.7',
            '[2020-01-01,infinity)', '{[1,3),[5,7)}', 'ab', 'cd  ', b'10101', gen_random_uuid(),
            '10.0.0.1/24', 'a:1 b', 1.5
        from (values ('NaN'::numeric, 'NaN'::double precision, 'infinity'::timestamptz),
            ('Infinity', '-0', '-infinity'), (1.500, 1e-300, '0044-03-15 BC'), (null, null, null))
            as odd (exact, double, moment)""",
    ),
    "large values": (
        "create table kept (id serial primary key, expires_at timestamptz, plain bytea, text text);"
        "alter table kept alter plain set storage external",
        f"""insert into kept (expires_at, plain, text) select {PAST},
            convert_to(string_agg(md5(n::text), ''), 'UTF8'), repeat('x', 3000000)
        from generate_series(1, 60000) as n""",
    ),
    "columns called like ours": (
        "create table kept (part integer, place text, back text, put text, target text, row text,"
        ' removed text, kept text, c1 text, "We""ird $1 %s" text, expires_at timestamptz,'
        ' "select" integer generated always as (part + 1) stored)',
        f"insert into kept select n, 'place', 'back', 'put', 'target', 'row', 'gone', 'kept', 'c1',"
        f" 'weird', {PAST} from generate_series(1, 10) as n",
    ),
    "columns in another order, some dropped": (
        "create table kept (gone text, id integer, expires_at timestamptz, also_gone text, b text);"
        "alter table kept drop gone; alter table kept add c integer default 5",
        f"insert into kept select n, {PAST}, 'x', 'b' || n, n from generate_series(1, 10) as n;"
        "alter table kept drop also_gone; alter table kept add d integer default 7",
    ),
    "partitions": (
        "create table kept (id integer, expires_at timestamptz, k integer) partition by list (k);"
        "create table kept_1 (k integer, expires_at timestamptz, id integer);"
        "alter table kept attach partition kept_1 for values in (1);"
        "create table kept_2 partition of kept default",
        f"insert into kept select n, {PAST}, n % 2 from generate_series(1, 50) as n",
    ),
    "a column alone": (
        "create table kept (expires_at timestamptz)",
        f"insert into kept select {PAST} from generate_series(1, 50)",
    ),
    "300 columns": (
        "do $$ begin execute (select 'create table kept (expires_at timestamptz, '"
        " || string_agg(format('c%s integer', n), ', ')"
        " || ', twice integer generated always as (c1 * 2) stored)'"
        " from generate_series(1, 300) as n); end $$",
        f"insert into kept (expires_at, c1, c300) select {PAST}, n, n from generate_series(1, 9) n",
    ),
    "row-level security": (
        "create table kept (id integer primary key, expires_at timestamptz);"
        "alter table kept enable row level security",
        f"insert into kept select n, {PAST} from generate_series(1, 50) as n",
    ),
    "deferrable and excluding constraints": (
        "create table kept (id integer primary key, expires_at timestamptz,"
        " parent integer references kept deferrable initially deferred,"
        " unique (parent) deferrable initially deferred,"
        " exclude using gist (box(point(id, id), point(id, id)) with &&))",
        f"insert into kept select n, {PAST}, case when n < 50 then n + 1 end"
        " from generate_series(1, 50) as n",
    ),
}
OF_18 = {
    "virtual columns": (
        "create table kept (id integer primary key, expires_at timestamptz,"
        " twice integer generated always as (id * 2) virtual)",
        f"insert into kept select n, {PAST} from generate_series(1, 50) as n",
    ),
}


# What comes back


@pytest.mark.parametrize("kind", [*TABLES, *OF_18])
def test_rows_come_back_bit_for_bit(tx: Connection, kind: str) -> None:
    if kind in OF_18 and tx.info.server_version < 180000:
        pytest.skip("needs PostgreSQL 18")
    create, fill = (TABLES | OF_18)[kind]
    execute(tx, create)
    execute(tx, fill)
    an_archive(tx, "kept", guard_share=1)
    before = content(tx, "kept")
    number = archive(tx, "kept")
    assert count(tx, "kept") == 0
    assert plan(tx, number) == [("ready", len(before), None)]
    assert undo(tx, number)[:2] == (len(before), "exhausted")
    assert content(tx, "kept") == before
    assert count(tx, "kept_archive") == 0


@pytest.mark.check
def test_xml_comes_back(tx: Connection) -> None:
    if "RUNNER_PG_BIN" not in os.environ:
        pytest.skip("the embedded server is built without xml; Debian's has it")
    number = archived_tokens(tx, 3, more=", xml xml default '<a>x</a>'")
    assert undo(tx, number)[:2] == (3, "exhausted")
    assert column(tx, "select distinct xml::text from token") == ["<a>x</a>"]


def test_rows_come_back_from_a_partitioned_archive_of_the_users_own(tx: Connection) -> None:
    a_table(tx)
    put(tx, "dead", 30)
    execute(
        tx,
        "create table own (_archived_by_step bigint, like token, _archived_at timestamptz,"
        " note text not null default 'x') partition by range (id);"
        "create table own_2 (like own including defaults);"
        "alter table own_2 drop note, add note text not null default 'y';"
        "alter table own attach partition own_2 for values from (11) to (100);"
        "create table own_1 partition of own default",
    )
    register(tx, action="archive", archive_table="public.own")
    before = content(tx, "token")
    number = archive(tx)
    assert (count(tx, "own_1"), count(tx, "own_2")) == (10, 20)
    assert undo(tx, number, 7)[:2] == (30, "exhausted")
    assert content(tx, "token") == before


@pytest.mark.parametrize("size", [1, 7, 100])
def test_only_the_rows_of_the_run_come_back_in_batches_of_that_size(
    tx: Connection, size: int
) -> None:
    first = archived_tokens(tx, 20)
    put(tx, "second", 30)
    second = archive(tx)
    put(tx, "third", 10)
    archive(tx)
    done = undo(tx, second, size)
    assert done[:2] == (30, "exhausted")
    assert max(done.batches) <= size
    assert column(tx, "select distinct name from token") == ["second"]
    assert (count(tx), count(tx, "token_archive")) == (30, 30)
    assert undo(tx, first, size)[:2] == (20, "exhausted")
    assert plan(tx, second) == [("nothing", 0, "nothing of it is in its archive any more")]


def test_the_log_tells_what_was_put_back_and_the_lease_is_free_again(db: Connection) -> None:
    number = archived_tokens(db)
    [(undone, restored)] = rows(db, f"call maintenance.undo_run({number})")
    assert restored == 20
    assert rows(
        db,
        "select action, undoes, restored, removed, batches, left_over, exit_reason, program,"
        " longest_batch > '0 s', arguments from maintenance.run_history where run = %s",
        undone,
    ) == [
        ("undo", number, 20, 0, 1, 0, "exhausted", "undo_run", True, {"run": number})
    ]  # fmt: skip
    assert rows(db, "select step from maintenance.lease where policy = 'token'") == [(None,)]
    assert run(db)[:2] == (20, "exhausted")


def test_rows_that_a_batch_by_hand_archived_belong_to_no_run(tx: Connection) -> None:
    number = archived_tokens(tx)
    put(tx, "by hand", 5)
    execute(tx, "select maintenance.purge_batch('token')")
    assert undo(tx, number).restored == 20
    assert column(tx, "select distinct name from token_archive") == ["by hand"]


@pytest.mark.parametrize("partitioned", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
def test_what_comes_back_is_not_swept_away_by_its_own_insert(
    db: Connection, partitioned: bool, at_once: bool
) -> None:
    execute(
        db,
        "create table token (id bigint, expires_at timestamptz, name text,"
        " primary key (id, expires_at))"
        + (" partition by range (expires_at); create table p partition of token default"
           if partitioned else "")
        + f"; insert into token select n, {DEAD}, 'dead' from generate_series(1, 20) as n;"
        "create index on token (expires_at)",
    )  # fmt: skip
    an_archive(db)
    number = archive(db)
    register(db, policy="sweeping")
    attach(db, "sweeping", at_once=at_once)
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 20
    assert count(db) == 20


# What the table refuses


NOTE = "create function note() returns trigger language plpgsql as $$ begin {} end $$;"
TRIGGERS = {
    "keeps out": (
        "if new.id % 7 = 0 then return null; end if; return new;",
        "before insert on token for each row",
        "a trigger of the table keeps it out",
    ),
    "changes": (
        "if new.id % 7 = 0 then new.name := 'changed'; end if; return new;",
        "before insert on token for each row",
        "it would come back changed, by a trigger or a generated column",
    ),
    "raises": (
        "if new.id % 7 = 0 then raise 'not %', new.id; end if; return new;",
        "before insert on token for each row",
        "not 14",
    ),
    "deletes afterwards": (
        "delete from public.token where id = new.id and id % 7 = 0; return null;",
        "after insert on token for each row",
        "a trigger of the table keeps it out",
    ),
    "updates afterwards": (
        "update public.token set name = 'x' where id = new.id and id % 7 = 0; return null;",
        "after insert on token for each row",
        "a trigger of the table keeps it out",
    ),
    "deletes in the end": (
        "delete from public.token where id % 7 = 0; return null;",
        "after insert on token for each statement",
        "a trigger of the table keeps it out",
    ),
}


@pytest.mark.parametrize("kind", TRIGGERS)
def test_what_a_trigger_is_against_stays_in_the_archive(tx: Connection, kind: str) -> None:
    body, when, message = TRIGGERS[kind]
    number = archived_tokens(tx, 20)
    execute(
        tx,
        NOTE.format(body) + f"create trigger note {when} execute function note()",
    )
    done = undo(tx, number)
    assert done[:2] == (18, "incomplete")
    assert done.message == f"2 rows stay in the archive: {message}"
    assert [(one["key"], one["relation"], one["archive"]) for one in conflicts(tx)] == [
        ({"id": 14}, "public.token", "public.token_archive"),
        ({"id": 7}, "public.token", "public.token_archive"),
    ]
    assert column(tx, "select id from token_archive order by id") == [7, 14]
    assert column(tx, "select distinct name from token") == ["dead"]


@pytest.mark.parametrize("code", ["25006", "42501", "53100", "54000", "55000", "57014", "XX000"])
def test_what_is_no_fault_of_a_row_ends_the_undo_and_is_not_noted_on_each(
    tx: Connection, code: str
) -> None:
    number = archived_tokens(tx)
    execute(
        tx,
        NOTE.format(f"raise 'whatever' using errcode = '{code}';")
        + "create trigger note before insert on token for each row execute function note()",
    )
    with pytest.raises(psycopg.Error, match="whatever"), tx.transaction():
        undo(tx, number)
    assert count(tx, "token_archive") == 20


def test_no_message_is_longer_than_a_log_can_bear(tx: Connection) -> None:
    number = archived_tokens(tx, 1)
    execute(
        tx,
        NOTE.format("raise '%', repeat('x', 5000);")
        + "create trigger note before insert on token for each row execute function note()",
    )
    undo(tx, number)
    assert [len(one["message"]) for one in conflicts(tx)] == [1000]


def test_of_rows_that_are_alike_none_comes_back_as_another(tx: Connection) -> None:
    execute(
        tx,
        "create table token (expires_at timestamptz, name text);"
        f"insert into token select {DEAD}, name from unnest(array['b', 'a', 'a']) as name",
    )
    an_archive(tx)
    number = archive(tx)
    execute(
        tx,
        NOTE.format(
            "if new.name = 'a' and exists (select from public.token where name = 'a') then"
            " new.name := 'b'; end if; return new;"
        )
        + "create trigger note before insert on token for each row execute function note()",
    )
    assert undo(tx, number)[:2] == (2, "incomplete")
    assert column(tx, "select name from token order by 1") == ["a", "b"]
    assert column(tx, "select name from token_archive") == ["a"]


def test_a_table_that_inherits_from_the_archive_is_left_alone(tx: Connection) -> None:
    number = archived_tokens(tx, 5)
    execute(
        tx,
        "create table heir () inherits (token_archive);"
        " insert into heir select * from only token_archive",
    )
    assert undo(tx, number).restored == 5
    assert (count(tx), count(tx, "heir"), count(tx, "only token_archive")) == (5, 5, 0)


def test_what_a_trigger_of_a_partition_is_against_stays_as_well(tx: Connection) -> None:
    execute(
        tx,
        "create table token (id bigint primary key, expires_at timestamptz, name text)"
        " partition by range (id); create table token_1 partition of token default;"
        f"insert into token select n, {DEAD}, 'dead' from generate_series(1, 20) as n",
    )
    an_archive(tx)
    number = archive(tx)
    execute(
        tx,
        NOTE.format("new.name := 'x'; return new;")
        + "create trigger note before insert on token_1 for each row execute function note()",
    )
    assert undo(tx, number)[:2] == (0, "incomplete")


def test_without_time_each_batch_tries_once_and_gets_to_the_end_all_the_same(
    tx: Connection,
) -> None:
    number = archived_tokens(tx, 20)
    execute(tx, "insert into token values (7, now(), 'live'), (14, now(), 'live')")
    tried: list[int] = []
    done = undo(tx, number, time_goal="0 s", between=tried.append)
    assert done[:2] == (18, "incomplete")
    assert 3 < len(done.batches) < 15, "more at once after a success"
    assert len(tried) > len(done.batches)
    assert scalar(
        tx, "select batches from maintenance.run_step order by id desc limit 1"
    ) == len(done.batches)  # fmt: skip


def test_an_undo_that_finds_nothing_any_more_says_so(tx: Connection) -> None:
    number = archived_tokens(tx, 20)
    step, token, *_ = open_undo(tx, number)
    execute(tx, "delete from token_archive")
    cursor: dict[str, Any] | None = None
    reason = None
    while reason is None:
        [(reason, cursor)] = rows(
            tx, "select exit_reason, next_cursor from maintenance.undo_batch(%s, %s, %s)",
            step, token, None if cursor is None else Jsonb(cursor),
        )  # fmt: skip
    assert reason == "nothing_to_do"


def test_a_trigger_that_changes_nothing_is_no_hindrance(tx: Connection) -> None:
    number = archived_tokens(tx)
    execute(
        tx,
        NOTE.format("return new;")
        + "create trigger note before insert on token for each row execute function note()",
    )
    assert undo(tx, number)[:2] == (20, "exhausted")


@pytest.mark.parametrize("table", ["token", "token_1"])
def test_what_is_deferred_fails_in_its_batch_and_not_at_commit(db: Connection, table: str) -> None:
    execute(
        db,
        "create table token (id bigint primary key, expires_at timestamptz, name text)"
        " partition by range (id); create table token_1 partition of token default;"
        f"insert into token select n, {DEAD}, 'dead' from generate_series(1, 20) as n",
    )
    an_archive(db)
    number = archive(db)
    execute(
        db,
        NOTE.format("if new.id % 7 = 0 then raise 'never %', new.id; end if; return null;")
        + f"create constraint trigger note after insert on {table}"
        " deferrable initially deferred for each row execute function note()",
    )
    assert undo(db, number)[:2] == (18, "incomplete")
    assert [one["message"] for one in conflicts(db)] == ["never 14", "never 7"]


def test_what_a_trigger_writes_elsewhere_is_checked_in_the_batch_as_well(db: Connection) -> None:
    number = archived_tokens(db)
    execute(
        db,
        "create table parent (id bigint primary key);"
        "create table trail (id bigint references parent deferrable initially deferred);"
        + NOTE.format("insert into public.trail values (new.id); return null;")
        + "create trigger note after insert on token for each row execute function note();"
        "insert into parent select n from generate_series(1, 19) as n",
    )
    with pytest.raises(errors.RaiseException, match=r"1 rows stay in the archive: .*trail_id_fkey"):
        execute(db, f"call maintenance.undo_run({number})")
    assert count(db) == 19


def conflict(db: Connection, statement: str, **settings: Any) -> tuple[int, str]:
    """Archive 20 tokens, change something, undo; return how many came back, and the message."""
    number = archived_tokens(db, **settings)
    execute(db, statement)
    done = undo(db, number)
    assert done.reason == "incomplete"
    assert count(db, "token_archive") == 20 - done.restored
    return done.restored, conflicts(db)[0]["message"]


@pytest.mark.parametrize(
    ("since", "restored", "message"),
    [
        (
            "insert into token select n * 5, now(), 'live' from generate_series(1, 4) as n", 16,
            'duplicate key value violates unique constraint "token_pkey"',
        ),
        (
            "alter table token add check (id <> 3)", 19,
            'new row for relation "token" violates check constraint "token_id_check"',
        ),
        (
            "alter table token add needed text not null", 0,
            'null value in column "needed" of relation "token" violates not-null constraint',
        ),
        (
            "alter table token drop name", 0,
            "it has a value in a column that the table has no more",
        ),
        (
            "update token_archive set name = null where id > 3; alter table token drop name", 17,
            "it has a value in a column that the table has no more",
        ),
        (
            "alter table token add twice bigint generated always as (id * 2) stored;"
            " alter table token_archive add twice bigint;"
            " update token_archive set twice = case when id > 2 then id * 2 else 7 end", 18,
            "it would come back changed, by a trigger or a generated column",
        ),
        (
            "alter table token add exclude using gist (box(point(id, id), point(id, id)) with &&);"
            " alter table token drop constraint token_pkey;"
            " insert into token values (4, now(), 'live')", 19,
            'conflicting key value violates exclusion constraint "token_box_excl"',
        ),
        (
            "create table parent (id bigint primary key); insert into parent values (1), (2);"
            " alter table token add foreign key (id) references parent", 2,
            'insert or update on table "token" violates foreign key constraint "token_id_fkey"',
        ),
    ],
)  # fmt: skip
def test_nothing_is_overwritten_or_lost_and_what_stays_is_named(
    tx: Connection, since: str, restored: int, message: str
) -> None:
    assert conflict(tx, since) == (restored, message)
    assert count(tx, where="name = 'live'" if "live" in since else "true") in (1, 4, restored)
    assert len(conflicts(tx)) == 20 - restored


def test_a_row_of_a_table_whose_key_is_new_is_named_by_its_place(tx: Connection) -> None:
    conflict(
        tx,
        "alter table token drop constraint token_pkey,"
        " add code uuid primary key default gen_random_uuid(), add check (id > 1)",
    )
    assert conflicts(tx)[0]["key"] == {"ctid": "(0,1)"}


@pytest.mark.parametrize(
    ("since", "restored", "columns"),
    [
        ("alter table token add extra text default 'new'", 20, "new"),
        ("alter table token add extra text", 20, None),
    ],
)
def test_columns_that_are_new_have_their_defaults(
    tx: Connection, since: str, restored: int, columns: str | None
) -> None:
    number = archived_tokens(tx)
    execute(tx, since)
    assert undo(tx, number)[:2] == (restored, "exhausted")
    assert column(tx, "select distinct extra from token") == [columns]


def test_the_log_names_a_hundred_conflicts_and_counts_all_of_them(tx: Connection) -> None:
    number = archived_tokens(tx, 250)
    execute(tx, "alter table token add needed text not null")
    done = undo(tx, number)
    assert done[:2] == (0, "incomplete")
    assert str(done.message).startswith("250 rows stay in the archive: null value in column")
    assert len(conflicts(tx)) == 100
    assert scalar(tx, "select left_over from maintenance.run_step order by id desc limit 1") == 250
    assert conflicts(tx)[0]["sqlstate"] == "23502"


def test_a_batch_ends_with_its_time_though_every_row_is_refused(tx: Connection) -> None:
    number = archived_tokens(tx, 600)
    execute(tx, "alter table token add needed text not null")
    undo(tx, number, time_goal="10 ms")
    assert scalar(
        tx,
        "select longest_batch < '500 ms' from maintenance.run_step order by id desc limit 1",
    )


def test_undone_again_when_the_obstacle_is_gone_the_rest_comes_back(db: Connection) -> None:
    number = archived_tokens(db)
    execute(db, "insert into token values (7, now(), 'live')")
    with pytest.raises(errors.RaiseException, match="incomplete: 1 rows stay") as refusal:
        execute(db, f"call maintenance.undo_run({number})")
    assert refusal.value.diag.message_hint == (
        "maintenance.run_history lists in conflicts what was refused, and why."
    )
    assert column(db, "select name from token where id = 7") == ["live"]
    execute(db, "delete from token where id = 7")
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 1
    assert count(db) == 20


# What refers to what


@pytest.mark.parametrize("parent", ["nullif(n / 2, 0)", "nullif(n - 1, 0)", "nullif(n + 1, 201)"])
@pytest.mark.parametrize("order", ["id", "id desc", "md5(id::text)"])
@pytest.mark.parametrize("size", [20, 1000])
def test_rows_that_refer_to_one_another_come_back_in_whatever_order_they_lie(
    tx: Connection, parent: str, order: str, size: int
) -> None:
    a_table(tx, more=", parent bigint references token")
    execute(
        tx,
        f"insert into token select n, {DEAD}, 'dead', {parent} from generate_series(1, 200) as n;"
        "create index on token (parent)",
    )
    an_archive(tx)
    number = archive(tx)
    execute(
        tx,
        "create temporary table again on commit drop as"
        f" select * from token_archive order by {order};"
        " delete from token_archive; insert into token_archive select * from again;"
        " drop table again",
    )  # fmt: skip
    done = undo(tx, number, size)
    assert done[:2] == (200, "exhausted")
    assert conflicts(tx) == []
    if size == 1000:
        assert done.batches == [200], "they could come back together"


def test_orphans_stay_and_those_that_are_none_come_back(tx: Connection) -> None:
    a_table(tx, more=", parent bigint references token")
    execute(
        tx,
        f"insert into token select n, {DEAD}, 'dead', nullif(n - n % 10, n)"
        " from generate_series(0, 199) as n",
    )
    an_archive(tx)
    number = archive(tx)
    execute(tx, "delete from token_archive where id in (50, 60);"
                " insert into token values (99, now(), 'live')")  # fmt: skip
    assert undo(tx, number, 30)[:2] == (179, "incomplete")
    refused = [one["key"]["id"] for one in conflicts(tx)]
    assert sorted(refused) == [*range(51, 60), *range(61, 70), 99], "each once"
    assert {one["sqlstate"] for one in conflicts(tx)} == {"23503", "23505"}
    assert column(tx, "select name from token where id = 99") == ["live"]


def a_family(db: Connection) -> int:
    """Archive orders with what refers to them, and what refers to that; return the run."""
    a_table(db, "orders")
    execute(
        db,
        "create table item (id bigint primary key, orders bigint references orders);"
        "create table note (id bigint primary key, item bigint references item);"
        "create index on item (orders); create index on note (item);"
        f"insert into orders select n, {DEAD}, 'dead' from generate_series(1, 10) as n;"
        "insert into item select n, n % 10 + 1 from generate_series(1, 50) as n;"
        "insert into note select n, n from generate_series(1, 50) as n;"
        "select maintenance.create_archive(made::regclass)"
        " from unnest(array['orders', 'item']) as made;"
        "alter table note add orders bigint; update note set orders = item % 10 + 1;"
        "select maintenance.create_archive('note')",
    )
    register(
        db, "orders", action="archive", archive_table="public.orders_archive",
        dependents=[
            {"relation": f"public.{name}", "columns": ["orders"], "references": ["id"],
             "archive_table": f"public.{name}_archive"}
            for name in ("note", "item")
        ],
    )  # fmt: skip
    return archive(db, "orders")


@pytest.mark.parametrize("size", [3, 1000])
def test_dependents_come_back_after_what_they_refer_to(tx: Connection, size: int) -> None:
    number = a_family(tx)
    assert [count(tx, name) for name in ("orders", "item", "note")] == [0, 0, 0]
    assert plan(tx, number) == [("ready", 110, None)]
    assert undo(tx, number, size)[:2] == (110, "exhausted")
    assert [count(tx, name) for name in ("orders", "item", "note")] == [10, 50, 50]


def test_the_steps_of_a_run_are_undone_from_the_last_to_the_first(db: Connection) -> None:
    a_table(db, "parent")
    put(db, "dead", 10, table="parent")
    a_table(db, "child", more=", parent bigint references parent")
    execute(
        db,
        f"insert into child select n, {DEAD}, 'dead', n from generate_series(1, 10) as n;"
        "create index on child (parent)",
    )
    an_archive(db, "child", priority=1)
    an_archive(db, "parent", priority=2)
    [(number, *_)] = rows(db, "call maintenance.run_operations(array['child', 'parent'])")
    assert (count(db, "child"), count(db, "parent")) == (0, 0)
    assert column(db, f"select policy from maintenance.plan_undo({number})") == ["parent", "child"]
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 20
    assert (count(db, "child"), count(db, "parent")) == (10, 10)


def test_one_policy_of_a_run_can_be_undone_alone_and_the_others_say_why_they_cannot(
    db: Connection,
) -> None:
    for name in ("kept", "lost", "other"):
        a_table(db, name)
        put(db, "dead", 5, table=name)
    an_archive(db, "kept")
    an_archive(db, "other")
    register(db, "lost")
    [(number, *_)] = rows(db, "call maintenance.run_operations(array['kept', 'lost', 'other'])")
    assert rows(db, f"call maintenance.undo_run({number}, policy => 'kept')")[0][1] == 5
    assert (count(db, "kept"), count(db, "other")) == (5, 0)
    with pytest.raises(errors.RaiseException, match="lost: it deleted 5 rows, and kept none"):
        execute(db, f"call maintenance.undo_run({number})")
    assert count(db, "other") == 5
    for policy, detail in (
        ("lost", "policy lost: it deleted 5 rows, and kept none of them"),
        ("nobody", "It did not carry out policy nobody."),
    ):
        with pytest.raises(errors.ObjectNotInPrerequisiteState) as refusal:
            execute(db, f"call maintenance.undo_run({number}, policy => '{policy}')")
        assert refusal.value.diag.message_detail == detail


# What cannot be undone, and why


@pytest.mark.parametrize(
    ("since", "verdict", "reason"),
    [
        ("drop table token_archive", "cannot", "its archive is gone"),
        ("drop table token", "cannot", "the table whose rows public.token_archive keeps is gone"),
        ("alter table token_archive drop _archived_by_step", "cannot",
         "public.token_archive does not note which run archived a row"),
        ("alter table token alter name type varchar(9)", "cannot",
         "column name is of type character varying(9) in public.token, and of type text in"
         " public.token_archive: alter table public.token_archive alter column name type"
         " character varying(9)"),
        ("create rule r as on insert to token do also notify token", "cannot",
         "public.token has a rule on INSERT"),
        ("create rule r as on delete to token_archive do instead nothing", "cannot",
         "public.token_archive has a rule on DELETE"),
        ("create rule r as on delete to token do also notify token", "ready", None),
        ("create publication p for all tables", "cannot",
         "publication p sends deletes, and public.token_archive has no replica identity: alter"
         " table public.token_archive replica identity full"),
        ("create publication p for all tables with (publish = 'insert')", "ready", None),
        ("create publication p for table token", "ready", None),
        ("create publication p for all tables; alter table token_archive replica identity full",
         "ready", None),
        ("delete from token_archive where id > 5", "ready",
         "of 20 rows that went, 5 are in archives"),
        ("delete from token_archive", "nothing", "nothing of it is in its archive any more"),
        ("update maintenance.run_step set cascaded = 3", "ready",
         "foreign keys deleted 3 more, and they are gone"),
    ],
)  # fmt: skip
def test_the_plan_says_what_undoing_would_do(
    tx: Connection, since: str, verdict: str, reason: str | None
) -> None:
    number = archived_tokens(tx)
    execute(tx, since)
    assert [(one, why) for one, _, why in plan(tx, number)] == [(verdict, reason)]
    if verdict == "cannot":
        assert open_undo(tx, number)[1:] == (None, "error", reason)
    elif verdict == "nothing":
        assert open_undo(tx, number)[1:] == (None, "nothing_to_do", reason)


def test_an_archive_that_was_given_away_is_not_read_with_the_rights_of_the_tables_owner(
    role: Callable[[str], str], db: Connection
) -> None:
    number = archived_tokens(db)
    execute(db, f"alter table token_archive owner to {role('other')}")
    assert plan(db, number) == [
        ("cannot", 0, "public.token and public.token_archive do not have the same owner")
    ]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({}, "it deleted 20 rows, and kept none of them"),
        (
            {"action": "set", "assignments": "expires_at = null"},
            "it changed 20 rows in place, and kept nothing of what they were",
        ),
    ],
)
def test_what_was_deleted_or_set_cannot_be_undone(
    tx: Connection, settings: dict[str, Any], reason: str
) -> None:
    a_table(tx)
    put(tx, "dead", 20)
    register(tx, **settings)
    assert plan(tx, archive(tx)) == [("cannot", 0, reason)]
    assert plan(tx, archive(tx)) == [("nothing", 0, "it removed no rows")]


def test_neither_an_undo_nor_what_is_undone_nor_what_never_was_can_be_undone(
    db: Connection,
) -> None:
    number = archived_tokens(db)
    [(undone, *_)] = rows(db, f"call maintenance.undo_run({number})")
    for what, detail in (
        (undone, "it is an undo itself: the next run of the policy archives the rows again"),
        (number, "nothing of it is in its archive any more"),
    ):
        with pytest.raises(errors.ObjectNotInPrerequisiteState) as refusal:
            execute(db, f"call maintenance.undo_run({what})")
        assert refusal.value.diag.message_detail == f"policy token: {detail}"
    for nothing in ("99", "null"):
        with pytest.raises(errors.UndefinedObject, match=f"there is no run {nothing}"):
            execute(db, f"call maintenance.undo_run({nothing})")
    with pytest.raises(errors.UndefinedObject, match="there is no step 99"):
        execute(db, "select maintenance.open_undo(maintenance.open_run('x'), 99)")


# What happened to table, archive and policy since


@pytest.mark.parametrize(
    "since",
    [
        "create schema away; alter table token rename to t; alter table t set schema away;"
        " alter table token_archive rename to a; alter table a set schema away",
        "select maintenance.remove_policy('token')",
        "select maintenance.enable_policy('token', false)",
        "select maintenance.create_archive('token', 'public.other');"
        """ select maintenance.alter_policy('token', '{"archive_table": "public.other"}')""",
        "select maintenance.adopt_clone()",
        "alter table token_archive replica identity full",
        "vacuum full token_archive",
        "update token_archive set name = name",
    ],
)
def test_rows_come_back_all_the_same(db: Connection, since: str) -> None:
    number = archived_tokens(db)
    for statement in since.split(";"):
        execute(db, statement)
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 20
    assert count(db, "away.t" if "away" in since else "token") == 20


def test_the_rows_of_the_last_policy_of_an_owner_come_back_when_it_is_removed(
    role: Callable[[str], str], db: Connection
) -> None:
    owner = role("owner")
    a_table(db)
    put(db, "dead", 5)
    execute(db, f"alter table token owner to {owner}; grant create on schema public to {owner}")
    an_archive(db)
    number = archive(db)
    execute(db, "select maintenance.remove_policy('token')")
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 5


@pytest.mark.parametrize(
    "between",
    [
        "vacuum full token_archive",
        "update token_archive set name = name",
        "cluster token_archive using by_name",
        "vacuum token_archive",
        "alter table token set (fillfactor = 50)",
    ],
)
def test_nothing_is_passed_over_when_the_archive_changes_between_batches(
    db: Connection, another: Callable[[], Connection], between: str
) -> None:
    number = archived_tokens(db, 300)
    execute(db, "create index by_name on token_archive (md5(id::text))")
    other = another()

    def change(batches: int) -> None:
        if batches == 2:
            execute(other, between)

    assert undo(db, number, 20, between=change)[:2] == (300, "exhausted")
    assert (count(db), count(db, "token_archive")) == (300, 0)


def test_rows_that_somebody_takes_out_of_the_archive_meanwhile_are_not_missed(
    db: Connection, another: Callable[[], Connection]
) -> None:
    number = archived_tokens(db, 100)
    other = another()

    def change(batches: int) -> None:
        if batches == 2:
            execute(other, "delete from token_archive where id < 20")

    assert undo(db, number, 10, between=change)[:2] == (81, "exhausted")


def test_a_cursor_that_names_another_table_is_put_right(tx: Connection) -> None:
    number = archived_tokens(tx)
    execute(tx, "create table prey (like token_archive); insert into prey select * from"
                " token_archive")  # fmt: skip
    step, token, *_ = open_undo(tx, number)
    cursor = {"scale": 1, "pass": 0, "leaf": None, "at": "(9,0)", "end": 0, "after": 0}
    [(cursor["leaf"], cursor["file"])] = rows(
        tx, "select 'prey'::regclass::oid::bigint, pg_relation_filenode('prey')::bigint"
    )
    for _ in range(5):
        [(cursor,)] = rows(
            tx, "select next_cursor from maintenance.undo_batch(%s, %s, %s)", step, token,
            None if cursor is None else Jsonb(cursor),
        )  # fmt: skip
    assert count(tx, "prey") == 20


# Others


def test_a_key_that_somebody_is_about_to_take_is_waited_for_and_left(
    db: Connection, another: Callable[[], Connection]
) -> None:
    number = archived_tokens(db, 50)
    other = another()
    execute(other, "begin; insert into token values (25, now(), 'live')")
    done = undo(db, number)
    assert done[:2] == (49, "incomplete")
    assert [(one["key"], one["sqlstate"]) for one in conflicts(db)] == [({"id": 25}, "55P03")]
    assert scalar(
        db, "select longest_batch < '1 s' from maintenance.run_step order by id desc limit 1"
    )
    execute(other, "rollback")
    assert undo(db, number)[:2] == (1, "exhausted")


def test_keys_that_are_held_keep_no_others_in_the_archive(
    db: Connection, another: Callable[[], Connection]
) -> None:
    number = archived_tokens(db, 400)
    execute(
        another(),
        "begin; insert into token select n * 40, now(), 'live' from generate_series(1, 10) as n",
    )
    assert undo(db, number)[:2] == (390, "incomplete")
    assert len(conflicts(db)) == 10


def test_rows_that_are_locked_come_back_once_they_are_free(
    db: Connection, another: Callable[[], Connection]
) -> None:
    number = archived_tokens(db, 50)
    other = another()
    execute(other, "begin; select from token_archive where id % 10 = 0 for update")

    def change(batches: int) -> None:
        if batches == 1:
            execute(other, "commit")

    assert undo(db, number, between=change)[:2] == (50, "exhausted")


def test_what_others_hold_to_the_end_is_counted_and_nobody_is_waited_for_long(
    db: Connection, another: Callable[[], Connection]
) -> None:
    number = archived_tokens(db, 50)
    other = another()
    execute(other, "begin; select from token_archive where id % 10 = 0 for update")
    done = undo(db, number)
    assert done[:3] == (45, "incomplete", "5 rows stay in the archive: others hold them")
    execute(other, "rollback; begin; lock table token in share mode")
    assert undo(db, number)[:2] == (0, "incomplete")
    assert scalar(
        db,
        "select coalesce(sum(longest_batch), '0 s') < '1 s' from maintenance.run_step"
        " where action = 'undo'",
    )
    execute(other, "rollback")
    assert undo(db, number)[:2] == (5, "exhausted")


@pytest.mark.slow
def test_who_holds_the_table_does_not_cost_a_wait_for_each_row(
    db: Connection, another: Callable[[], Connection]
) -> None:
    number = archived_tokens(db, 1000)
    execute(another(), "begin; lock table token in share mode")
    assert undo(db, number)[:2] == (0, "incomplete")
    assert scalar(
        db,
        "select clock_timestamp() - started_at < '10 s' from maintenance.run_step"
        " order by id desc limit 1",
    )


def test_two_undos_of_a_run_do_not_meet(db: Connection, another: Callable[[], Connection]) -> None:
    number = archived_tokens(db)
    other = another()
    step, token, *_ = open_undo(other, number)
    with pytest.raises(errors.RaiseException, match=f"lease_held: step {step} of process"):
        execute(db, f"call maintenance.undo_run({number})")
    assert run(db)[:2] == (0, "lease_held")
    assert count(db) == 0
    other.close()
    gone = "select 1 from maintenance.run_history where exit_reason = 'interrupted'"
    until(lambda: column(db, gone))
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 20
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="does not hold its lease"):
        execute(db, f"select maintenance.undo_batch({step}, {token})")
    assert column(db, f"select exit_reason from maintenance.run_step where id = {step}") == [
        "interrupted"
    ]


def test_while_a_run_of_the_policy_goes_on_nothing_is_undone(
    db: Connection, another: Callable[[], Connection]
) -> None:
    number = archived_tokens(db)
    other = another()
    going = scalar(other, "select maintenance.open_run('test')")
    execute(other, f"select maintenance.open_step({going}, 'token')")
    with pytest.raises(errors.RaiseException, match="lease_held"):
        execute(db, f"call maintenance.undo_run({number})")
    assert rows(
        db, "select exit_reason, restored from maintenance.run_step where action = 'undo'"
    ) == [("lease_held", 0)]


def test_what_a_killed_run_archived_can_be_undone(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db)
    put(db, "dead", 30)
    an_archive(db)
    other = another()
    number = scalar(other, "select maintenance.open_run('test')")
    [(step, token)] = rows(
        other, f"select step, token from maintenance.open_step({number}, 'token')"
    )
    execute(other, f"select maintenance.run_batch({step}, {token}, batch_size => 10)")
    other.close()
    until(lambda: column(db, "select 1 from maintenance.run_history where exit_reason ="
                             " 'interrupted'"))  # fmt: skip
    waiting = count(db, "token_archive")
    assert waiting > 0
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == waiting
    assert count(db) == 30


def test_an_undo_that_was_killed_can_be_done_again(db: Connection) -> None:
    number = archived_tokens(db, 40)
    gate(db)
    with closed_gate(db), calling(
        db, f"call maintenance.undo_run({number}, batch_size => 10)"
    ) as undoing:  # fmt: skip
        until(lambda: at_the_gate(db))
        execute(db, "select pg_terminate_backend(%s)", undoing.pid)
        undoing.wait()
    assert count(db) + count(db, "token_archive") == 40
    execute(db, "drop trigger gate on token")
    back = count(db)
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 40 - back
    assert column(
        db, "select exit_reason from maintenance.run_step where action = 'undo' order by id"
    ) == ["interrupted", "exhausted"]


def gate(db: Connection, name: str = "id = 5") -> None:
    """Let the return of the row with id 5 wait for the gate."""
    execute(
        db,
        "create function wait_at_the_gate() returns trigger language plpgsql as $$ begin"
        " perform pg_advisory_xact_lock(1); return null; end $$;"
        " alter function wait_at_the_gate() set lock_timeout = 0;"
        f" create trigger gate after insert on token for each row when (new.{name})"
        " execute function wait_at_the_gate()",
    )


def test_a_cancelled_undo_says_so_keeps_what_came_back_and_gives_the_lease_back(
    db: Connection,
) -> None:
    number = archived_tokens(db, 40)
    gate(db)
    with closed_gate(db), calling(
        db, f"call maintenance.undo_run({number}, batch_size => 10)"
    ) as undoing:  # fmt: skip
        until(lambda: at_the_gate(db))
        execute(db, "select pg_cancel_backend(%s)", undoing.pid)
        undoing.wait()
    assert "stopped: canceling statement due to user request" in str(undoing.error)
    assert (count(db), count(db, "token_archive")) == (30, 10)
    assert rows(
        db, "select exit_reason, restored, sqlstate from maintenance.run_step order by id desc"
        " limit 1"
    ) == [("stopped", 30, "57014")]  # fmt: skip
    execute(db, "drop trigger gate on token")
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 10


def test_a_cancelled_undo_goes_on_with_no_other_policy(db: Connection) -> None:
    a_table(db, "other")
    put(db, "dead", 5, table="other")
    an_archive(db, "other", priority=1)
    a_table(db)
    put(db, "dead", 5)
    an_archive(db, priority=2)
    [(number, *_)] = rows(db, "call maintenance.run_operations(array['other', 'token'])")
    gate(db)
    with closed_gate(db), calling(db, f"call maintenance.undo_run({number})") as undoing:
        until(lambda: at_the_gate(db))
        execute(db, "select pg_cancel_backend(%s)", undoing.pid)
        undoing.wait()
    assert "token: stopped" in str(undoing.error)
    assert (count(db), count(db, "other")) == (0, 0)


@pytest.mark.parametrize("how", ["stop", "pause"])
def test_an_undo_ends_with_the_batch_when_somebody_wants_it_to(db: Connection, how: str) -> None:
    number = archived_tokens(db, 40)

    def change(batches: int) -> None:
        if batches == 2 and how == "stop":
            execute(db, "select maintenance.stop_run(max(id)) from maintenance.run")
        elif batches == 2:
            execute(db, "select maintenance.pause_runs('lunch')")

    done = undo(db, number, 10, between=change)
    assert done[:2] == (20, "stopped")
    assert ("somebody asked it to stop" if how == "stop" else "lunch") in str(done.message)


def test_no_undo_begins_while_housekeeping_is_paused(db: Connection) -> None:
    number = archived_tokens(db)
    execute(db, "select maintenance.pause_runs('lunch')")
    with pytest.raises(errors.RaiseException, match=r"policy token: paused: paused by .*lunch"):
        execute(db, f"call maintenance.undo_run({number})")
    assert count(db) == 0


def test_undoing_wants_read_committed_and_sets_it(db: Connection) -> None:
    number = archived_tokens(db)
    step, token, *_ = open_undo(db, number)
    execute(db, "begin isolation level repeatable read")
    with pytest.raises(errors.InvalidTransactionState, match="run at READ COMMITTED"):
        execute(db, f"select maintenance.undo_batch({step}, {token})")
    execute(db, "rollback; set default_transaction_isolation = serializable")
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 20


def test_the_procedure_leaves_the_session_as_it_was_and_wants_no_transaction(
    db: Connection,
) -> None:
    number = archived_tokens(db)
    execute(db, "set search_path = public, pg_catalog")
    with pytest.raises(errors.ActiveSqlTransaction), db.transaction():
        execute(db, f"call maintenance.undo_run({number})")
    execute(db, f"call maintenance.undo_run({number})")
    assert scalar(db, "show search_path") == "public, pg_catalog"
    assert scalar(db, "show synchronous_commit") == scalar(
        db, "select reset_val from pg_settings where name = 'synchronous_commit'"
    )


@pytest.mark.parametrize("size", [0, 100001])
def test_a_batch_has_a_size(tx: Connection, size: int) -> None:
    number = archived_tokens(tx)
    with pytest.raises(errors.InvalidParameterValue, match="between 1 and 100000"):
        undo(tx, number, size)


def test_in_a_copy_nothing_is_undone_until_it_was_adopted(tx: Connection) -> None:
    number = archived_tokens(tx)
    step, token, *_ = open_undo(tx, number)
    execute(tx, "update maintenance.installation set database_oid = 1")
    for statement in (
        f"select maintenance.undo_batch({step}, {token})",
        f"select maintenance.open_undo(1, {step})",
    ):
        with (
            pytest.raises(errors.ObjectNotInPrerequisiteState, match="is a copy"),
            tx.transaction(),
        ):
            execute(tx, statement)


def test_runs_that_archived_stay_in_the_log_while_there_is_an_archive(tx: Connection) -> None:
    number = archived_tokens(tx)
    a_table(tx, "other")
    put(tx, "dead", table="other")
    register(tx, "other")
    deleting = archive(tx, "other")
    execute(tx, "update maintenance.run set ended_at = ended_at - interval '91 days'")
    execute(tx, "select maintenance.open_run('test')")
    known = "select id from maintenance.run where id in (%s, %s)"
    assert column(tx, known, number, deleting) == [number]
    assert undo(tx, number).restored == 20
    execute(tx, "drop table token_archive; update maintenance.run set ended_at = now()"
                " - interval '91 days'; select maintenance.open_run('test')")  # fmt: skip
    assert column(tx, known, number, deleting) == []


def test_an_undo_is_no_run_of_the_policy(tx: Connection) -> None:
    number = archived_tokens(tx)
    stands = (
        "select last_run_at, last_removed, last_finished_at, arriving_per_hour, leaving_per_hour,"
        " backlog, outlook from maintenance.policy_status where policy = 'token'"
    )
    before = rows(tx, stands)
    undo(tx, number)
    assert rows(tx, stands) == before
    alter(tx, retention="1 hour")
    archive(tx)


def test_an_undo_takes_nothing_from_what_a_run_came_not_to(db: Connection) -> None:
    a_table(db)
    put(db, "dead", 40)
    an_archive(db, guard_share=1)
    assert run(db, max_rows=20, batch_size=4)[:2] == (20, "budget")
    number = scalar(db, "select max(id) from maintenance.run")
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 20
    after = scalar(db, "select maintenance.open_run('a driver')")
    assert scalar(
        db, "select resume is not null from maintenance.open_step(%s, 'token')", after
    )  # fmt: skip


@pytest.mark.parametrize(("archived", "is_kept"), [(1, True), (0, False)])
def test_the_log_keeps_a_run_that_archived_for_as_long_as_its_archive_is_there(
    tx: Connection, archived: int, is_kept: bool
) -> None:
    number = archived_tokens(tx, archived)
    known = f"select exists (select from maintenance.run where id = {number})"
    execute(tx, "update maintenance.run set ended_at = now() - interval '91 days'")
    execute(tx, "select maintenance.open_run('another')")
    assert scalar(tx, known) is is_kept
    execute(tx, "drop table token_archive")
    execute(tx, "select maintenance.open_run('one more')")
    assert scalar(tx, known) is False


# Rights


@pytest.fixture
def owned(role: Callable[[str], str], db: Connection) -> tuple[str, int]:
    """A role that owns tokens and their archive, and the run that archived them."""
    owner = role("owner")
    a_table(db)
    put(db, "dead", 20)
    execute(db, f"alter table token owner to {owner}; grant usage, create on schema public"
                f" to {owner}")  # fmt: skip
    an_archive(db)
    assert column(db, "select tableowner from pg_tables where tablename = 'token_archive'") == [
        owner
    ]
    return owner, archive(db)


def as_role(db: Connection, name: str) -> Connection:
    return psycopg.connect(db.info.dsn, user=name, autocommit=True)


def test_an_operator_undoes_without_any_right_on_the_tables_and_a_monitor_looks(
    role: Callable[[str], str], db: Connection, owned: tuple[str, int]
) -> None:
    operator, monitor = role("operator"), role("monitor")
    execute(db, f"select maintenance.grant_operator('{operator}'),"
                f" maintenance.grant_monitor('{monitor}')")  # fmt: skip
    with as_role(db, monitor) as session:
        assert plan(session, owned[1]) == [("ready", 20, None)]
        with pytest.raises(errors.InsufficientPrivilege):
            execute(session, f"call maintenance.undo_run({owned[1]})")
    with as_role(db, operator) as session:
        assert rows(session, f"call maintenance.undo_run({owned[1]})")[0][1] == 20
        assert column(
            session, "select started_by from maintenance.run_history where action = 'undo'"
        ) == [operator]
        with pytest.raises(errors.InsufficientPrivilege):
            execute(session, "select from token")
    assert count(db) == 20


@pytest.mark.parametrize(
    "hostile",
    [
        "create trigger hostile before insert on token for each row execute function hostile()",
        "create trigger hostile after insert on token for each row execute function hostile()",
        "create trigger hostile before delete on token_archive for each row"
        " execute function hostile()",
        "create function public.same(text) returns text language plpgsql as"
        " $$ begin insert into public.noted values (current_user); return $1; end $$;"
        " alter table token add check (public.same(name) > '')",
        "create table public.count (x integer);"
        " create function public.count() returns bigint language sql as 'select 1::bigint';"
        " create trigger hostile before insert on token for each row execute function hostile()",
    ],
)
def test_what_the_owner_has_on_his_tables_runs_as_the_owner(
    db: Connection, owned: tuple[str, int], hostile: str
) -> None:
    owner, number = owned
    execute(
        db,
        f"set role {owner}; create table noted (who text);"
        " create function hostile() returns trigger language plpgsql as $$ begin"
        " perform set_config('search_path', 'public', false);"
        " insert into public.noted values (current_user); return coalesce(new, old); end $$;"
        f" {hostile}; reset role",
    )
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 20
    assert column(db, "select distinct who from noted") == [owner]
    assert scalar(db, "show search_path") == '"$user", public'


def test_an_owner_who_altered_what_acts_for_him_is_refused(
    db: Connection, owned: tuple[str, int]
) -> None:
    owner, number = owned
    execute(
        db,
        f"alter function maintenance.act_as_{owner}(text, bigint, tid[], boolean) security invoker",
    )
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="cannot be tended"):
        execute(db, f"call maintenance.undo_run({number})")
    assert count(db) == 0


def test_forced_row_security_hides_nothing_silently(db: Connection, owned: tuple[str, int]) -> None:
    execute(db, "alter table token_archive enable row level security, force row level security")
    with pytest.raises(psycopg.Error, match="row-level security policy"):
        execute(db, f"call maintenance.undo_run({owned[1]})")
    assert count(db, "token_archive") == 20


# How much it costs


def test_with_an_index_undo_reads_what_the_step_left_and_no_more(db: Connection) -> None:
    number = archived_tokens(db, 50)
    execute(
        db,
        "insert into token_archive (id, _archived_by_step)"
        " select 10000 + n, 1000 + n / 1000 from generate_series(1, 200000) as n",
    )
    execute(db, "create index on token_archive (_archived_by_step)")
    execute(db, "vacuum analyze token_archive")
    pages = scalar(db, "select pg_relation_size('token_archive') / 8192")
    before = blocks_read(db)
    assert undo(db, number)[:2] == (50, "exhausted")
    assert blocks_read(db) - before < pages / 2


def blocks_read(db: Connection) -> int:
    execute(db, "select pg_stat_force_next_flush()")
    return scalar(
        db,
        "select heap_blks_read + heap_blks_hit from pg_statio_user_tables"
        " where relname = 'token_archive'",
    )


@pytest.mark.slow
def test_a_hundred_thousand_rows_come_back_in_short_batches(db: Connection) -> None:
    number = archived_tokens(db, 100000, guard_rows="none")
    assert rows(db, f"call maintenance.undo_run({number})")[0][1] == 100000
    assert rows(
        db,
        "select batches between 10 and 500, longest_batch < '1 s' from maintenance.run_step"
        " order by id desc limit 1",
    ) == [(True, True)]


@pytest.mark.slow
def test_a_thousand_conflicts_among_many_rows_are_all_found(db: Connection) -> None:
    number = archived_tokens(db, 20000, guard_rows="none")
    execute(db, "insert into token select n * 20, now(), 'live' from generate_series(1, 1000) as n")
    with pytest.raises(errors.RaiseException, match="incomplete: 1000 rows stay in the archive"):
        execute(db, f"call maintenance.undo_run({number})")
    assert (count(db), count(db, "token_archive")) == (20000, 1000)
    assert scalar(
        db, "select longest_batch < '1 s' from maintenance.run_step order by id desc limit 1"
    )
