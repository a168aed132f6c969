"""Runs beside sessions that hold rows or the whole table: nobody waits long, nothing is lost."""

from __future__ import annotations

from threading import Event, Thread
from time import monotonic, sleep
from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg import errors

from tests.conftest import scalar
from tests.core.runs import (
    DEAD,
    LIVE,
    a_sparse_table,
    a_table,
    calling,
    count,
    names,
    purge,
    put,
    register,
    run,
    steps,
    strategy,
    until,
)
from tests.statements import column, execute, rows, until_blocked

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from psycopg import Connection

LONGEST_WAIT = 0.2
"""Seconds that a lock may be waited for: 20 ms, and what a busy machine adds."""


class Watch:
    """A session that looks all the time how long another one waits for a lock."""

    def __init__(self, db: Connection, pid: int) -> None:
        self.longest = 0.0
        self.waits = 0
        self._pid = pid
        self._session = psycopg.connect(db.info.dsn, autocommit=True)
        self._end = Event()
        self._thread = Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._end.is_set():
            waited = scalar(
                self._session,
                "select extract(epoch from max(statement_timestamp() - waitstart))::float"
                " from pg_locks where pid = %s and not granted",
                self._pid,
            )
            if waited is not None:
                self.waits += 1
                self.longest = max(self.longest, waited)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._session.close()


def tokens(db: Connection, pages: int = 40) -> None:
    """Make a table of some pages, each of them with rows that go and one that stays."""
    a_table(db)
    execute(db, "alter table token set (fillfactor = 20)")
    for _ in range(pages):
        put(db, "dead", 10)
        put(db, "held")
        put(db, "live", expires=LIVE)
    register(db)


def hold(session: Connection, where: str = "name = 'held'") -> None:
    """Hold rows from now on."""
    execute(session, f"begin; select from token where {where} for update")


def test_the_rest_goes_at_once_and_what_was_held_for_a_second_later(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db)
    holder = another()
    hold(holder)
    began = monotonic()
    with calling(db) as call, Watch(db, call.pid) as watch:
        until(lambda: count(db) <= 80, seconds=0.6)
        sleep(max(0.0, began + 1 - monotonic()))
        assert not call.is_done
        execute(holder, "commit")
        assert call.result()[1:3] == (440, "exhausted")
    assert names(db) == ["live"]
    assert watch.waits > 0, "it never met the locks"
    assert watch.longest < LONGEST_WAIT
    assert steps(db, f"step.longest_batch < interval '{2 * LONGEST_WAIT} s'") == [True]


def test_what_is_held_for_good_is_named_with_its_holder(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db, pages=3)
    holder = another()
    execute(holder, "set application_name = 'the holder'")
    hold(holder)
    with pytest.raises(errors.RaiseException) as failure:
        run(db)
    assert failure.value.diag.message_primary == (
        "policy token: incomplete: others hold 3 rows: process"
        f" {holder.info.backend_pid} (the holder, role {db.info.user}, idle in transaction)"
    )
    assert failure.value.diag.message_detail == "Run 1 removed 30 rows."
    assert steps(db, "(step.exit_reason, step.left_over, step.removed)::text") == [
        "(incomplete,3,30)"
    ]
    execute(holder, "commit")
    assert run(db)[:2] == (3, "exhausted")


def test_who_waits_for_a_row_is_not_its_holder(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db, pages=1)
    holder, observer = another(), another()
    hold(holder)
    with calling(db, "update token set name = 'waited' where name = 'held'") as waiting:
        until_blocked(observer, waiting.session)
        with pytest.raises(errors.RaiseException) as failure:
            run(db)
        named = str(failure.value.diag.message_primary)
        assert f"process {holder.info.backend_pid} " in named
        assert f"process {waiting.pid} " not in named
        execute(holder, "commit")
        waiting.wait()


def test_of_rows_that_several_share_it_does_not_say_that_nobody_holds_them(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db, pages=1)
    for _ in range(2):
        execute(another(), "begin; select from token where name = 'held' for share")
    with pytest.raises(errors.RaiseException, match="others hold 1 rows: several at once, or"):
        run(db)
    assert names(db) == ["held", "live"]


def test_rows_that_are_held_are_let_live(db: Connection, another: Callable[[], Connection]) -> None:
    tokens(db)
    holder = another()
    execute(holder, f"begin; update token set expires_at = {LIVE} where name = 'held'")
    with calling(db) as call:
        until(lambda: count(db) <= 80)
        execute(holder, "commit")
        assert call.result()[1:3] == (400, "exhausted")
    assert names(db) == ["held", "live"]
    assert count(db, where="name = 'held'") == 40


def test_rows_that_are_held_are_left_along_an_index_too(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_sparse_table(db)
    put(db, "dead", 60, expires="now() - n * interval '1 min'")
    put(db, "held", 3, expires="now() - n * interval '7 min 30 s'")
    execute(db, "analyze token")
    register(db)
    assert strategy(db) == "window"
    holder = another()
    hold(holder)
    with calling(db, "call maintenance.run_policy('token', batch_size => 7)") as call:
        until(lambda: count(db) == 7003)
        execute(holder, "commit")
        assert call.result()[1:3] == (63, "exhausted")
    assert steps(db, f"step.longest_batch < interval '{2 * LONGEST_WAIT} s'") == [True]


def test_a_table_that_is_locked_is_left_and_its_holder_named(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db, pages=2)
    holder = another()
    execute(holder, "begin; lock table token in share mode")
    with (
        calling(db) as call,
        Watch(db, call.pid) as watch,
        pytest.raises(errors.RaiseException, match="incomplete") as failure,
    ):
        call.result()
    assert f"process {holder.info.backend_pid} " in str(failure.value.diag.message_primary)
    assert watch.waits > 0
    assert watch.longest < LONGEST_WAIT
    assert count(holder) == 24
    execute(holder, "commit")
    assert run(db)[:2] == (22, "exhausted")


def test_a_table_that_is_locked_for_a_moment_is_come_back_to(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db, pages=2)
    holder = another()
    execute(holder, "begin; lock table token in exclusive mode")
    with calling(db) as call:
        sleep(0.3)
        execute(holder, "commit")
        assert call.result()[1:3] == (22, "exhausted")


def test_a_table_that_nobody_may_read_is_an_error_at_once(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db, pages=2)
    holder = another()
    execute(holder, "begin; lock table token")
    began = monotonic()
    with pytest.raises(errors.RaiseException, match="error: canceling statement due to lock time"):
        run(db)
    assert monotonic() - began < 1
    assert steps(db, "(step.exit_reason, step.sqlstate)::text") == ["(error,55P03)"]
    execute(holder, "commit")
    assert run(db)[:2] == (22, "exhausted")


def test_a_partition_that_is_locked_does_not_keep_a_batch_waiting(
    db: Connection, another: Callable[[], Connection]
) -> None:
    execute(
        db,
        "create table token (region integer, expires_at timestamptz) partition by list (region);"
        " create table token_1 partition of token for values in (1);"
        " create table token_2 partition of token for values in (2);"
        f" insert into token select n % 2 + 1, {DEAD} from generate_series(1, 20) as n",
    )
    register(db)
    _, _, _, cursor = purge(db, size=4)
    holder = another()
    execute(holder, "begin; lock table only token_2")
    began = monotonic()
    for expected in (4, 2):
        removed, *_, cursor = purge(db, cursor=cursor, size=4)
        assert removed == expected
    with pytest.raises(errors.LockNotAvailable):
        purge(db, cursor=cursor, size=4)
    assert monotonic() - began < 1
    execute(holder, "commit")
    assert count(db, "token_1") == 0
    assert run(db)[:2] == (10, "exhausted")


def test_rows_that_are_held_through_a_cascade_are_come_back_to(
    db: Connection, another: Callable[[], Connection]
) -> None:
    a_table(db)
    execute(db, "create table use (token bigint references token on delete cascade)")
    put(db, "dead", 10)
    execute(db, "insert into use select id from token")
    register(db, allow_cascade=True)
    holder = another()
    execute(holder, "begin; select from use where token = 1 for update")
    with calling(db) as call, Watch(db, call.pid) as watch:
        sleep(0.3)
        execute(holder, "commit")
        assert call.result()[1:3] == (10, "exhausted")
    assert watch.longest < LONGEST_WAIT
    assert steps(db, "step.cascaded") == [10]


@pytest.mark.parametrize("outcome", ["commit", "rollback"])
def test_a_row_that_gets_a_child_stays_or_goes_as_the_child_does(
    db: Connection, another: Callable[[], Connection], outcome: str
) -> None:
    a_table(db)
    execute(db, "create table use (token bigint references token)")
    put(db, "dead", 10)
    register(db, condition="not exists (select from public.use where use.token = target.id)")
    user = another()
    execute(user, "begin; insert into use values (5)")
    with calling(db) as call:
        until(lambda: count(db) == 1)
        execute(user, outcome)
        removed, reason = call.result()[1:3]
    kept = [5] if outcome == "commit" else []
    assert (removed, reason) == (10 - len(kept), "exhausted")
    assert column(db, "select id from token") == kept


def test_more_ranges_than_it_remembers_are_remembered_as_larger_ones(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db, pages=20)
    holder = another()
    hold(holder)
    *_, cursor = purge(db, size=10)
    while not cursor["noted"]:
        *_, cursor = purge(db, cursor=cursor, size=10)
    cursor["noted"] = 64 * cursor["noted"]
    while "leaf" in cursor:
        *_, cursor = purge(db, cursor=cursor, size=10)
    assert names(db) == ["held", "live"]
    assert len(cursor["noted"]) == 64
    [pages] = column(db, "select pg_relation_size('token') / 8192")
    assert cursor["noted"][-1]["high"] == str(pages)
    execute(holder, "commit")
    is_done = False
    while not is_done:
        batch, _, is_done, cursor = purge(db, cursor=cursor, size=10)
        assert batch <= 10
    assert names(db) == ["live"]


def test_a_run_waits_for_nobody_who_waits_for_it(
    db: Connection, another: Callable[[], Connection]
) -> None:
    """What would be a deadlock ends with the run giving way."""
    tokens(db, pages=1)
    execute(db, "create table other (id integer primary key); insert into other values (1)")
    execute(
        db,
        "create function touch() returns trigger language plpgsql as $$ begin"
        " perform from public.other for update; return null; end $$;"
        " create trigger touch after delete on token for each row when (old.id = 1)"
        " execute function touch()",
    )
    holder, observer = another(), another()
    execute(holder, "begin; select from other for update")
    with calling(db) as call:
        until(lambda: bool(column(observer, "select pg_blocking_pids(%s)", call.pid)[0]))
        execute(holder, "select from token where id = 1 for update")
        execute(holder, "commit")
        assert call.result()[1:3] == (11, "exhausted")
    assert rows(db, "select distinct name from token") == [("live",)]


def test_a_session_that_wants_a_row_of_a_batch_waits_no_longer_than_the_batch(
    db: Connection, another: Callable[[], Connection]
) -> None:
    tokens(db, pages=1)
    user, observer = another(), another()
    execute(db, "begin")
    purge(db)
    with calling(db, "update token set name = 'mine' where name = 'held' returning 1") as call:
        until_blocked(observer, call.session)
        execute(db, "commit")
        call.wait()
        assert call.rows == []
    assert names(user) == ["live"]
