"""maintenance.purge_batch, and how batches walk a table: which rows go, and which never."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.conftest import scalar
from tests.core.runs import (
    DEAD,
    LIVE,
    a_sparse_table,
    a_table,
    alter,
    calling,
    count,
    names,
    purge,
    purge_all,
    put,
    register,
    run,
    steps,
    strategy,
)
from tests.statements import column, execute, rows, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection


# What goes, by blocks


@pytest.mark.parametrize("size", [1, 7, 64, 10000])
def test_batches_remove_every_eligible_row_and_no_other_and_keep_to_their_size(
    tx: Connection, size: int
) -> None:
    a_table(tx)
    for _ in range(10):
        put(tx, "dead", 40)
        put(tx, "live", 50, expires=LIVE)
    put(tx, "eternal", 3, expires="'infinity'")
    put(tx, "unknown", 3, expires="null")
    register(tx)
    removed = purge_all(tx, size=size)
    assert sum(removed) == 400
    assert max(removed) <= size
    assert names(tx) == ["eternal", "live", "unknown"]
    assert count(tx) == 506


def test_a_row_goes_when_its_time_has_passed_and_not_when_it_comes(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    put(tx, "on time", expires="'2020-01-01 00:00:00+00'")
    put(tx, "before", expires="'2019-12-31 23:59:59.999999+00'")
    execute(tx, "select maintenance.purge_batch('token', moment => '2020-01-01 00:00:00+00')")
    assert names(tx) == ["on time"]
    alter(tx, comparison="<=")
    execute(tx, "select maintenance.purge_batch('token', moment => '2020-01-01 00:00:00+00')")
    assert names(tx) == []


def test_an_empty_table_is_done_at_once(tx: Connection) -> None:
    a_table(tx)
    register(tx)
    assert purge(tx)[:3] == (0, 0, True)


@pytest.mark.parametrize("more", [0, 1])
def test_after_a_full_batch_there_may_be_more(tx: Connection, more: int) -> None:
    a_table(tx)
    put(tx, "dead", 10 + more)
    register(tx)
    removed, left_over, is_done, cursor = purge(tx, size=10)
    assert (removed, left_over, is_done) == (10, 0, False)
    assert purge(tx, cursor=cursor, size=10)[:3] == (more, 0, True)


def test_a_table_needs_no_key(tx: Connection) -> None:
    execute(
        tx,
        f"create table event (at timestamptz, name text);"
        f" insert into event select {DEAD}, 'dead' from generate_series(1, 30);"
        f" insert into event select {LIVE}, 'live' from generate_series(1, 30)",
    )
    register(tx, "event", column="at")
    assert sum(purge_all(tx, "event", 7)) == 30
    assert names(tx, "event") == ["live"]


def test_rows_of_inheriting_tables_stay(tx: Connection) -> None:
    a_table(tx)
    execute(tx, "create table child () inherits (token)")
    put(tx, "dead")
    execute(tx, f"insert into child values (1, {DEAD}, 'a child')")
    register(tx)
    assert purge_all(tx) == [1]
    assert names(tx) == ["a child"]


def test_the_condition_and_a_hold_keep_rows(tx: Connection) -> None:
    a_table(tx, more=", held boolean, kind text")
    execute(
        tx,
        f"insert into token (expires_at, name, held, kind) values"
        f" ({DEAD}, 'held', true, 'a'), ({DEAD}, 'other kind', false, 'b'),"
        f" ({DEAD}, 'no kind', false, null), ({DEAD}, 'free', false, 'a'),"
        f" ({DEAD}, 'unsaid', null, 'a')",
    )
    register(tx, hold_column="held", condition="kind = 'a' -- only these")
    assert purge_all(tx) == [2]
    assert names(tx) == ["held", "no kind", "other kind"]


def test_a_hold_of_another_type_is_anything_but_null(tx: Connection) -> None:
    a_table(tx, more=", held_by text")
    execute(
        tx,
        f"insert into token (expires_at, name, held_by)"
        f" values ({DEAD}, 'held', 'court'), ({DEAD}, 'free', null)",
    )
    register(tx, hold_column="held_by")
    assert purge_all(tx) == [1]
    assert names(tx) == ["held"]


def test_several_branches_remove_a_row_by_any_one_of_them(tx: Connection) -> None:
    a_table(tx, more=", used_at timestamptz")
    execute(
        tx,
        f"insert into token (expires_at, name, used_at) values"
        f" ({DEAD}, 'expired', null), ({LIVE}, 'used', now() - interval '2 h'),"
        f" ({LIVE}, 'just used', now() - interval '10 min'), ({LIVE}, 'live', null)",
    )
    register(tx, branches=[{"column": "expires_at"}, {"column": "used_at", "retention": "1 h"}])
    assert purge_all(tx, size=1) == [1, 1] or sum(purge_all(tx, size=1)) == 0
    assert names(tx) == ["just used", "live"]


def test_a_row_that_became_live_between_batches_stays(tx: Connection) -> None:
    a_table(tx)
    put(tx, "dead", 20)
    register(tx)

    def revive(number: int) -> None:
        if number == 1:
            execute(tx, f"update token set name = 'live', expires_at = {LIVE} where id % 2 = 0")

    removed = purge_all(tx, size=4, between=revive)
    assert names(tx) == ["live"]
    assert sum(removed) + count(tx) == 20


# What goes, along an index


@pytest.mark.parametrize("size", [1, 7, 10000])
def test_a_walk_along_an_index_removes_the_same(tx: Connection, size: int) -> None:
    a_sparse_table(tx)
    put(tx, "dead", 60, expires="now() - n * interval '1 min'")
    put(tx, "oldest", expires="'-infinity'")
    execute(tx, "analyze token")
    register(tx)
    assert strategy(tx) == "window"
    removed = purge_all(tx, size=size)
    assert sum(removed) == 61
    assert max(removed) <= size
    assert count(tx, where="name like 'live%'") == count(tx) == 7000


@pytest.mark.parametrize("size", [5, 7])
def test_more_rows_of_one_time_than_a_batch_holds_are_no_obstacle(
    tx: Connection, size: int
) -> None:
    a_sparse_table(tx)
    put(tx, "before", 5, expires="'2020-01-01'::timestamptz - n * interval '1 s'")
    put(tx, "same", 40, expires="'2020-01-01'")
    put(tx, "after", 5, expires="'2020-01-01'::timestamptz + n * interval '1 s'")
    execute(tx, "analyze token")
    register(tx)
    assert strategy(tx) == "window"
    removed = purge_all(tx, size=size)
    assert sum(removed) == 50
    assert max(removed) <= size
    assert count(tx) == 7000


def test_each_branch_is_walked_along_its_own_index(tx: Connection) -> None:
    a_sparse_table(tx, more=", used_at timestamptz, number bigint, is_void boolean")
    execute(
        tx,
        "create index token_used_at on token (used_at);"
        " create index token_number on token (number) where is_void;"
        f" insert into token (expires_at, used_at) select {LIVE}, {DEAD}"
        " from generate_series(1, 20);"
        f" insert into token (expires_at, number, is_void) select {LIVE}, n, true"
        " from generate_series(-10, 9) as n;"
        f" insert into token (expires_at, name) select {LIVE}, 'no number'"
        " from generate_series(1, 3)",
    )
    put(tx, "dead", 20)
    execute(tx, "analyze token")
    register(
        tx,
        branches=[
            {"column": "expires_at"},
            {"column": "used_at"},
            {"condition": "is_void", "key": "number"},
        ],
    )
    assert strategy(tx) == "window"
    removed = purge_all(tx, size=7)
    assert sum(removed) == 60
    assert max(removed) <= 7
    assert count(tx) == 7003


@pytest.mark.parametrize("key", [{}, {"key": "id"}])
def test_a_condition_alone_asks_nothing_of_time(tx: Connection, key: dict[str, str]) -> None:
    a_table(tx, more=", is_void boolean")
    execute(
        tx,
        f"insert into token (expires_at, name, is_void) values ({LIVE}, 'void', true),"
        f" ({DEAD}, 'valid', false), ({DEAD}, 'unsaid', null)",
    )
    register(tx, branches=[{"condition": "is_void", **key}])
    assert purge_all(tx) == [1]
    assert names(tx) == ["unsaid", "valid"]


# Partitions, and tables that change while they are walked


def a_partitioned_table(db: Connection) -> None:
    execute(
        db,
        "create table token (region integer, expires_at timestamptz, name text)"
        " partition by list (region);"
        " create table token_1 partition of token for values in (1);"
        " create table token_2 partition of token for values in (2);"
        " create table token_3 partition of token for values in (3)",
    )
    for region in (1, 2, 3):
        # the rows that go have other places in each partition
        execute(
            db,
            "insert into token select %s, case when n %% 3 = %s then"
            f" {DEAD} else {LIVE} end, case when n %% 3 = %s then 'dead' else 'live' end"
            " from generate_series(1, 30) as n",
            region,
            region - 1,
            region - 1,
        )


@pytest.mark.parametrize("size", [1, 4, 100])
def test_partitions_are_walked_one_by_one(tx: Connection, size: int) -> None:
    a_partitioned_table(tx)
    register(tx)
    removed = purge_all(tx, size=size)
    assert sum(removed) == 30
    assert max(removed) <= size
    assert names(tx) == ["live"]
    assert count(tx) == 60


def test_a_partition_that_was_detached_meanwhile_keeps_its_rows(tx: Connection) -> None:
    a_partitioned_table(tx)
    register(tx)
    removed, _, _, cursor = purge(tx, size=4)
    assert removed == 4
    execute(tx, "alter table token detach partition token_1")
    while True:
        _, _, is_done, cursor = purge(tx, cursor=cursor, size=4)
        if is_done:
            break
    assert count(tx, "token_1", "name = 'dead'") == 6
    assert names(tx) == ["live"]


def test_a_partition_that_was_dropped_meanwhile_is_no_obstacle(tx: Connection) -> None:
    a_partitioned_table(tx)
    register(tx)

    def drop(number: int) -> None:
        if number == 1:
            execute(tx, "drop table token_1")

    purge_all(tx, size=4, between=drop)
    assert names(tx) == ["live"]


def test_a_partition_that_was_attached_meanwhile_is_walked_too(tx: Connection) -> None:
    a_partitioned_table(tx)
    register(tx)

    def attach(number: int) -> None:
        if number == 1:
            execute(tx, "create table token_4 partition of token for values in (4)")
            execute(tx, f"insert into token values (4, {DEAD}, 'dead'), (4, {LIVE}, 'live')")

    assert sum(purge_all(tx, size=4, between=attach)) == 31
    assert names(tx) == ["live"]


@pytest.mark.parametrize("noted", [False, True])
def test_a_cursor_cannot_lead_into_a_table_of_another_policy(tx: Connection, noted: bool) -> None:
    a_table(tx)
    a_table(tx, "other")
    put(tx, "dead", table="other")
    register(tx)
    oid, file = rows(tx, "select 'other'::regclass::oid::bigint, pg_relation_filenode('other')")[0]
    place = {"leaf": oid, "file": file, "branch": 0}
    if noted:
        place |= {"low": "0", "high": "9", "left": 1, "holders": []}
        cursor: dict[str, Any] = {"noted": [place], "again": [], "pass": 1, "after": oid}
    else:
        place |= {"at": "0", "end": 9, "span": 64}
        cursor = {"noted": [], "again": [], "pass": 0, **place}
    while True:
        removed, _, is_done, cursor = purge(tx, cursor=cursor)
        assert removed == 0
        if is_done:
            break
    assert names(tx, "other") == ["dead"]


def test_a_table_that_is_rewritten_between_batches_loses_the_same_rows(db: Connection) -> None:
    a_table(db)
    put(db, "live", 300, expires=LIVE)
    for _ in range(5):
        put(db, "dead", 100)
        put(db, "live", 20, expires=LIVE)
    execute(db, "delete from token where id <= 300")
    register(db)

    def rewrite(number: int) -> None:
        if number % 10 == 5:
            execute(db, "vacuum full token")

    assert sum(purge_all(db, size=20, between=rewrite)) == 500
    assert names(db) == ["live"]
    assert count(db) == 100


# Rows that others change at the same time


def test_a_token_that_is_extended_while_the_purge_waits_for_it_stays(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db)
    put(db, "extended")
    put(db, "dead", 3)
    register(db)
    user, observer = another(), another()
    for _ in range(5):  # the wait is so short that the commit may come after it
        execute(user, f"begin; update token set expires_at = {LIVE} where name = 'extended'")
        with calling(db, "select * from maintenance.purge_batch('token')") as purging:
            until_blocked(observer, purging.session)
            execute(user, "commit")
            purging.result()
        assert names(db)[-1] == "extended"
        execute(user, f"update token set expires_at = {DEAD} where name = 'extended'")
    assert sum(purge_all(db)) == 1


def test_a_row_that_another_session_holds_is_left_and_said(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db)
    put(db, "held")
    put(db, "dead", 3)
    register(db)
    holder = another()
    execute(holder, "begin; select from token where name = 'held' for update")
    removed, left_over, is_done, cursor = purge(db)
    assert (removed, left_over, is_done) == (3, 1, False)
    execute(holder, "commit")
    while not is_done:
        removed, _, is_done, cursor = purge(db, cursor=cursor)
    assert names(db) == []


def test_two_sessions_do_not_purge_at_once(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db)
    put(db, "dead")
    register(db)
    other = another()
    execute(other, "begin; select maintenance.purge_batch('token')")
    with pytest.raises(errors.LockNotAvailable, match="is being run by another session"):
        purge(db)
    execute(other, "rollback")
    assert purge_all(db) == [1]


# Archives


def an_archive(db: Connection) -> None:
    a_table(db)
    execute(db, "create table archived (like token, archived_at timestamptz default now())")
    put(db, "dead", 20)
    put(db, "live", 5, expires=LIVE)
    register(db, action="archive", archive_table="public.archived")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_archived_rows_are_in_the_archive_as_they_were(tx: Connection, size: int) -> None:
    an_archive(tx)
    before = rows(tx, "select * from token where name = 'dead' order by id")
    assert sum(purge_all(tx, size=size)) == 20
    assert rows(tx, "select id, expires_at, name from archived order by id") == before
    assert names(tx) == ["live"]


@pytest.mark.parametrize("size", [1, 7, 100])
def test_an_archive_that_keeps_rows_out_loses_nothing(tx: Connection, size: int) -> None:
    an_archive(tx)
    execute(
        tx,
        "create function refuse() returns trigger language plpgsql as"
        " $$ begin return case when new.id % 7 = 0 then null else new end; end $$;"
        " create trigger refuse before insert on archived for each row execute function refuse()",
    )
    with pytest.raises(errors.DataException) as refusal, tx.transaction():
        purge_all(tx, size=size)
    assert "rows left public.token, and" in str(refusal.value.diag.message_primary)
    assert refusal.value.diag.message_hint == "A trigger or a rule of the archive keeps rows out."
    assert count(tx) == 25
    assert count(tx, "archived") == 0


def test_a_column_that_the_archive_lacks_stops_the_policy_until_it_has_it(db: Connection) -> None:
    an_archive(db)
    execute(db, "alter table token add column reason text default 'why'")
    with pytest.raises(
        errors.ObjectNotInPrerequisiteState,
        match=r"guard: public\.archived has no column reason of type text:"
        r' "runner policy set token --evolve-archive"',
    ):
        run(db)
    assert steps(db, "step.exit_reason") == ["guard"]
    assert count(db) == 25
    execute(db, "select maintenance.evolve_archive('token')")
    assert run(db)[:2] == (20, "exhausted")
    assert column(db, "select distinct reason from archived") == ["why"]


# Setting instead of deleting


@pytest.mark.parametrize("size", [1, 7, 100])
def test_rows_are_set_once(tx: Connection, size: int) -> None:
    a_table(tx)
    put(tx, "dead", 20)
    put(tx, "live", 5, expires=LIVE)
    register(tx, action="set", assignments="expires_at = null, name = 'anonymous' || id -- new")
    removed = purge_all(tx, size=size)
    assert sum(removed) == 20
    assert max(removed) <= size
    assert count(tx, where="name like 'anonymous%' and expires_at is null") == 20
    assert count(tx, where="name = 'live'") == 5


@pytest.mark.parametrize("size", [1, 7, 100])
def test_assignments_that_leave_rows_eligible_are_an_error_and_change_nothing(
    tx: Connection, size: int
) -> None:
    a_table(tx)
    put(tx, "dead", 20)
    register(tx, action="set", assignments="name = 'seen'")
    with (
        pytest.raises(errors.DataException, match="eligible still after they were set") as refusal,
        tx.transaction(),
    ):
        purge_all(tx, size=size)
    assert refusal.value.diag.message_hint == (
        "The assignments have to make the condition of the policy false."
    )
    assert names(tx) == ["dead"]


# Other tables


@pytest.mark.parametrize(
    "kind", ["", "deferrable initially deferred", "on delete restrict", "on delete cascade"]
)
@pytest.mark.parametrize("size", [1, 7, 100])
def test_dependents_go_first(db: Connection, size: int, kind: str) -> None:
    a_table(db)
    execute(db, f"create table use (token bigint references token {kind}, number integer)")
    put(db, "dead", 15)
    put(db, "live", 5, expires=LIVE)
    execute(db, "insert into use select id, n from token, generate_series(1, 3) as n")
    register(
        db, dependents=[{"relation": "public.use", "columns": ["token"], "references": ["id"]}]
    )
    assert run(db, batch_size=size)[:2] == (15, "exhausted")
    assert steps(db, "(step.removed, step.dependents, step.cascaded)::text") == ["(15,45,0)"]
    assert names(db) == ["live"]
    assert count(db, "use") == 15


USE = {"relation": "public.use", "columns": ["token"], "references": ["id"]}


def goes_jointly(db: Connection) -> bool:
    """Whether rows and their dependents would go in one statement, without being locked first."""
    return scalar(
        db,
        "select maintenance.joint_statement("
        "policy, relation, maintenance.branch_bounds(policy, now()), 'true', 0) is not null"
        " from maintenance.policy where name = 'token'",
    )


A_TRIGGER = (
    "create function seen() returns trigger language plpgsql as $$ begin return null; end $$;"
    " create trigger seen after delete on {} for each row execute function seen()"
)


@pytest.mark.parametrize(
    ("prepared", "jointly"),
    [
        ("", True),
        ("alter table use add foreign key (token) references token", True),
        ("alter table use add foreign key (token) references token on delete cascade", False),
        ("alter table use add foreign key (token) references token on delete set null", False),
        (A_TRIGGER.format("use"), False),
        (A_TRIGGER.format("token"), False),
        ("create table later () inherits (use)", False),
        ("create rule kept as on delete to use do instead nothing", False),
        ("create rule kept as on delete to token do instead nothing", False),
    ],
)
def test_dependents_go_in_one_statement_with_their_rows_where_nobody_can_tell(
    tx: Connection, prepared: str, jointly: bool
) -> None:
    a_table(tx)
    execute(tx, "create table use (token bigint)")
    register(tx, dependents=[USE])
    execute(tx, prepared or "select")
    assert goes_jointly(tx) is jointly


def test_dependents_of_archived_rows_or_in_the_same_table_go_before(tx: Connection) -> None:
    a_table(tx, more=", parent bigint")
    own = {"relation": "public.token", "columns": ["parent"], "references": ["id"]}
    register(tx, dependents=[own])
    assert not goes_jointly(tx)
    put(tx, "dead", 3)
    execute(tx, "insert into token (name, parent) select 'child', id from token")
    assert sum(purge_all(tx)) == 3
    assert count(tx) == 0


def test_several_tables_of_dependents_and_several_columns(db: Connection) -> None:
    a_table(db, more=", tenant integer default 1, unique (tenant, id)")
    execute(
        db,
        "create table use (token bigint references token);"
        ' create table "A use" ("Of tenant" integer, "Of" bigint,'
        ' foreign key ("Of tenant", "Of") references token (tenant, id))',
    )
    put(db, "dead", 5)
    put(db, "live", 2, expires=LIVE)
    execute(db, "insert into use select id from token")
    execute(db, 'insert into "A use" select 1, id from token, generate_series(1, 2)')
    pair = {"columns": ["Of tenant", "Of"], "references": ["tenant", "id"]}
    register(db, dependents=[USE, {"relation": 'public."A use"', **pair}])
    assert goes_jointly(db)
    assert run(db)[:2] == (5, "exhausted")
    assert steps(db, "(step.removed, step.dependents)::text") == ["(5,15)"]
    assert (count(db), count(db, "use"), count(db, '"A use"')) == (2, 2, 4)


def test_a_row_to_which_somebody_is_just_referring_stays(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db)
    execute(db, "create table use (token bigint references token)")
    put(db, "dead", 5)
    execute(db, "insert into use select id from token")
    register(db, dependents=[USE])
    user = another()
    execute(user, "begin; insert into use values (3)")
    assert purge(db)[0] == 4
    assert (count(db), count(db, "use")) == (1, 1)
    execute(user, "commit")
    assert sum(purge_all(db)) == 1
    assert count(db, "use") == 0


@pytest.mark.parametrize("kind", ["", "on delete restrict"])
def test_a_dependent_that_came_too_late_to_be_seen_goes_as_well(
    db: Connection, another: Callable[[], Connection], kind: str
) -> None:
    a_table(db)
    execute(db, f"create table use (token bigint references token {kind})")
    put(db, "dead", 5)
    execute(
        db,
        "create function pause(id bigint) returns boolean language plpgsql"
        " set lock_timeout = 0 as $$ begin"
        " if id = 3 then perform pg_advisory_lock_shared(1); perform pg_advisory_unlock_shared(1);"
        " end if; return true; end $$",
    )
    register(db, dependents=[USE], condition="public.pause(target.id)")
    assert goes_jointly(db)
    user, observer = another(), another()
    execute(user, "select pg_advisory_lock(1)")
    with calling(db, "select removed from maintenance.purge_batch('token')") as purging:
        until_blocked(observer, purging.session)
        execute(user, "insert into use values (5)")
        execute(user, "select pg_advisory_unlock(1)")
        assert purging.result() == (5,)
    assert count(db) == count(db, "use") == 0


def a_use_that_is_checked_late(db: Connection) -> None:
    a_table(db)
    put(db, "dead")
    execute(
        db,
        "create table use (token bigint constraint late references token"
        " deferrable initially deferred); insert into use select id from token",
    )
    register(db)


def test_a_deferred_foreign_key_fails_with_the_batch_and_not_at_commit(db: Connection) -> None:
    a_use_that_is_checked_late(db)
    execute(db, "begin")
    with pytest.raises(errors.ForeignKeyViolation):
        purge(db)
    execute(db, "rollback")
    assert count(db) == 1


def test_a_deferred_foreign_key_with_a_namesake_of_another_owner_fails_at_commit(
    db: Connection, role: Callable[[str], str]
) -> None:
    """To set it would set the other one as well, and run what that one has to check."""
    a_use_that_is_checked_late(db)
    execute(
        db,
        "create table other (id integer unique, parent integer constraint late"
        f" references other (id) deferrable); alter table other owner to {role('other')}",
    )
    execute(db, "begin")
    assert purge(db)[0] == 1
    with pytest.raises(errors.ForeignKeyViolation):
        execute(db, "commit")
    assert count(db) == 1


@pytest.mark.parametrize("kind", ["", "deferrable initially deferred"])
def test_a_foreign_key_that_nobody_thought_of_is_an_error_with_a_log_row(
    db: Connection, kind: str
) -> None:
    a_table(db)
    execute(db, f"create table use (token bigint references token {kind})")
    put(db, "dead", 3)
    execute(db, "insert into use select min(id) from token")
    register(db)
    with pytest.raises(errors.RaiseException, match="violates foreign key constraint") as failure:
        run(db)
    assert failure.value.diag.message_detail == "Run 1 removed 0 rows."
    assert steps(db, "(step.exit_reason, step.sqlstate, step.removed)::text") == ["(error,23503,0)"]
    assert count(db) == 3
    assert steps(db, "step.message")[0].startswith("update or delete on table")


@pytest.mark.parametrize("size", [1, 10, 1000])
def test_rows_that_foreign_keys_delete_along_are_counted_apart(db: Connection, size: int) -> None:
    a_table(db)
    execute(
        db,
        "create table use (id integer primary key, token bigint references token on delete"
        " cascade); create table trace (use integer references use on delete cascade)",
    )
    put(db, "early", 1500, expires=LIVE)  # the ranges grow over them, and are too large then
    put(db, "dead", 30)
    put(db, "live", 5, expires=LIVE)
    execute(
        db,
        "insert into use select 2 * id + n, id from token, generate_series(0, 1) as n"
        " where name <> 'early';"
        " insert into trace select id from use",
    )
    register(db, allow_cascade=True)
    assert run(db, batch_size=size)[:2] == (30, "exhausted")
    assert steps(db, "(step.removed, step.dependents, step.cascaded)::text") == ["(30,0,120)"]
    assert count(db, "use") == count(db, "trace") == 10


def a_selector(db: Connection) -> None:
    a_table(db)
    execute(
        db,
        "create table use (token bigint);"
        " create view orphan as select id from token"
        " where not exists (select from use where use.token = token.id)",
    )
    put(db, "orphan", 20)
    put(db, "used", 20)
    execute(db, "insert into use select id from token where name = 'used'")
    register(db, selector="public.orphan")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_view_may_say_what_goes(tx: Connection, size: int) -> None:
    a_selector(tx)
    removed = purge_all(tx, size=size)
    assert sum(removed) == 20
    assert max(removed) <= size
    assert names(tx) == ["used"]


@pytest.mark.parametrize("with_dependents", [False, True])
@pytest.mark.parametrize("by", ["view", "condition", "condition of a branch"])
def test_a_row_that_another_table_saves_once_it_is_locked_stays(
    db: Connection, another: Callable[[], Connection], by: str, with_dependents: bool
) -> None:
    """A use of the row is committed after it was selected, and before it is removed."""
    a_selector(db)
    execute(db, "create table trace (token bigint); insert into trace select id from token")
    # The condition is slow at one row: the scan has its snapshot, and waits.
    execute(
        db,
        "create function pause(id bigint) returns boolean language plpgsql"
        " set lock_timeout = 0 as $$ begin"
        " if id = 3 then perform pg_advisory_lock_shared(1); perform pg_advisory_unlock_shared(1);"
        " end if; return true; end $$",
    )
    trace = {"relation": "public.trace", "columns": ["token"], "references": ["id"]}
    unused = "not exists (select from public.use where use.token = target.id)"
    asked: dict[str, Any] = {
        "view": {"condition": "public.pause(target.id)"},
        "condition": {"condition": f"{unused} and public.pause(target.id)", "column": "expires_at"},
        "condition of a branch": {
            "condition": "public.pause(target.id)",
            "branches": [{"column": "expires_at", "condition": unused}],
        },
    }[by]
    if by != "view":
        execute(db, "select maintenance.remove_policy('token')")
        register(db, **asked)
    alter(db, dependents=[trace] if with_dependents else [], condition=asked["condition"])
    user, observer = another(), another()
    execute(user, "select pg_advisory_lock(1)")
    with calling(db, "select removed from maintenance.purge_batch('token')") as purging:
        until_blocked(observer, purging.session)
        execute(user, "insert into use values (3)")
        execute(user, "select pg_advisory_unlock(1)")
        assert purging.result() == (0 if with_dependents else 19,)
    purge_all(db)
    assert column(db, "select id from token where name = 'orphan'") == [3]
    assert count(db, "trace", "token = 3") == 1
    assert count(db, "trace", "token in (select id from token)") == 21


@pytest.mark.parametrize("size", [1, 100])
def test_a_trigger_that_keeps_a_row_is_an_error_and_no_endless_loop(
    db: Connection, size: int
) -> None:
    a_table(db)
    execute(
        db,
        "create function keep() returns trigger language plpgsql as $$ begin return null; end $$;"
        " create trigger keep before delete on token for each row when (old.name = 'kept')"
        " execute function keep()",
    )
    put(db, "dead", 10)
    put(db, "kept")
    put(db, "dead", 10)
    register(db)
    with pytest.raises(errors.RaiseException, match="stayed, though nobody held them"):
        run(db, batch_size=size)
    assert steps(db, "(step.exit_reason, step.sqlstate)::text") == ["(error,09000)"]
    assert "kept" in names(db)
    alter(db, condition="target.name <> 'kept'")
    run(db, batch_size=size)
    assert names(db) == ["kept"]


# What it refuses


@pytest.mark.parametrize("size", [0, -1, 100_001])
def test_a_size_that_cannot_be_meant_is_refused(tx: Connection, size: int) -> None:
    a_table(tx)
    register(tx)
    with pytest.raises(errors.InvalidParameterValue, match="between 1 and 100000"):
        purge(tx, size=size)


def test_a_moment_to_come_is_refused(tx: Connection) -> None:
    a_table(tx)
    put(tx, "live", expires=LIVE)
    register(tx)
    with pytest.raises(errors.InvalidParameterValue, match="moment must be in the past"):
        execute(tx, f"select maintenance.purge_batch('token', {LIVE} + interval '1 day')")


def test_a_policy_that_is_switched_off_is_refused(tx: Connection) -> None:
    a_table(tx)
    register(tx, is_enabled=False)
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="switched off"):
        purge(tx)


def test_a_cursor_of_an_earlier_version_of_the_policy_is_refused(tx: Connection) -> None:
    a_table(tx)
    put(tx, "dead", 5)
    register(tx)
    *_, cursor = purge(tx, size=2)
    alter(tx, retention="7 days")
    with pytest.raises(errors.ObjectNotInPrerequisiteState, match="has changed since") as refusal:
        purge(tx, cursor=cursor)
    assert refusal.value.diag.message_hint == "Start again without a cursor."


@pytest.mark.parametrize("level", ["repeatable read", "serializable"])
def test_a_stricter_transaction_is_refused(db: Connection, level: str) -> None:
    a_table(db)
    put(db, "dead")
    register(db)
    execute(db, f"begin isolation level {level}")
    with pytest.raises(errors.InvalidTransactionState, match="READ COMMITTED"):
        purge(db)
    execute(db, "rollback")
    assert names(db) == ["dead"]


def test_it_removes_nothing_that_its_caller_rolls_back(db: Connection) -> None:
    a_table(db)
    put(db, "dead", 3)
    register(db)
    execute(db, "begin")
    assert purge_all(db) == [3]
    execute(db, "rollback")
    assert count(db) == 3
    assert scalar(db, "select count(*) from maintenance.run") == 0


@pytest.mark.parametrize(("walk", "least"), [("heap", 48), ("window", 500)])
def test_no_goal_makes_ranges_smaller_than_what_a_batch_costs_anyway(
    db: Connection, walk: str, least: int
) -> None:
    """A batch that never meets its goal would else be halved until it is a page, or a row."""
    if walk == "heap":
        a_table(db)
        execute(db, "alter table token set (fillfactor = 10)")
        put(db, "x" * 300, 1000)
    else:
        a_sparse_table(db)
        put(db, "dead", 500, expires=f"{DEAD} - n * interval '1 s'")
    execute(db, "analyze token")
    register(db)
    assert strategy(db) == walk
    number = scalar(db, "select maintenance.open_run('a driver')")
    [(step, token)] = rows(db, "select step, token from maintenance.open_step(%s, 'token')", number)
    spans: list[int] = []
    cursor, is_done = None, False
    while not is_done:
        [(is_done, cursor)] = rows(
            db, "select is_done, next_cursor from maintenance.run_batch(%s, %s, %s, %s, '1 us')",
            step, token, None if cursor is None else Jsonb(cursor), 10000 if walk == "heap" else 50,
        )  # fmt: skip
        if "leaf" in cursor:
            spans.append(cursor["span"])
    assert spans[-1] == min(spans) == least


def test_rows_that_are_dense_after_many_free_pages_cost_no_more_than_a_batch(
    db: Connection,
) -> None:
    """Ranges grow while nothing in them goes; the next may be full of rows that do."""
    a_table(db)
    put(db, "live", 60_000, expires=LIVE)
    put(db, "dead", 20_000)
    execute(
        db,
        "analyze token; create sequence seen minvalue 0; select setval('seen', 0);"
        " create function look() returns trigger language plpgsql as $$ begin"
        " perform setval('public.seen', greatest(last_value, (select count(*) from gone)))"
        " from public.seen; return null; end $$;"
        " create trigger look after delete on token referencing old table as gone"
        " for each statement execute function look()",
    )
    register(db, guard_share="none")
    assert run(db, batch_size=500)[:2] == (20_000, "exhausted")
    # A sequence remembers what was rolled back as well.
    assert scalar(db, "select last_value from seen") <= 5 * 500 + 300
