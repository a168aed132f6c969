-- Runs DDL on a table as its owner, and tries again while the table is in use.
--
-- Whoever waits for a table makes everybody behind him wait as well: each try gives up after 20 ms,
-- and inserts go on between two of them.

create or replace function maintenance.run_with_patience(relation regclass, statement text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
begin
    for v_try in 1..42 loop
        begin
            perform maintenance.run_as_owner(relation, statement, answers => false);
            return;
        exception
            when lock_not_available then
                perform pg_sleep(0.1);
        end;
    end loop;

    raise exception using
        errcode = 'lock_not_available',
        message = format('%s is in use, and could not be changed within 5 s', relation),
        detail = 'Nothing was changed.',
        hint = 'Try again when the transactions that use it have ended.';
end;
$function$;

revoke all on function maintenance.run_with_patience(regclass, text) from public;

comment on function maintenance.run_with_patience(regclass, text) is
    'Run DDL on a table as its owner, with short waits for its lock.';
