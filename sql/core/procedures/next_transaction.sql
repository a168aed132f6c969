-- Ends the transaction of a run, and begins the next as each of them has to begin.
--
-- A procedure that commits can have no SET clause. So the level comes first, which nothing may
-- precede, and then the path, before any expression that the session's own path would read.

create or replace procedure maintenance.next_transaction()
language plpgsql
as $procedure$
begin
    commit;
    set transaction isolation level read committed;
    perform pg_catalog.set_config('search_path', 'pg_catalog, pg_temp', true);
end;
$procedure$;

revoke all on procedure maintenance.next_transaction() from public;

comment on procedure maintenance.next_transaction() is
    'Commit, and begin a transaction at READ COMMITTED with a pinned search_path.';
