-- Refuses the isolation levels at which a row that somebody else changes meanwhile is an error.

create or replace function maintenance.assert_read_committed()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
begin
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        raise exception using
            errcode = 'invalid_transaction_state',
            message = format(
                'policies run at READ COMMITTED, and this transaction is %s',
                upper(current_setting('transaction_isolation'))
            ),
            hint = 'set default_transaction_isolation = ''read committed''';
    end if;
end;
$function$;

revoke all on function maintenance.assert_read_committed() from public;

comment on function maintenance.assert_read_committed() is
    'Raise an error unless the transaction is at READ COMMITTED.';
