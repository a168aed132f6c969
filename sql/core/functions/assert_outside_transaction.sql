-- Refuses a call within a transaction block, which could not commit its batches.
--
-- A block that an earlier statement began is older than this statement. COMMIT itself refuses all
-- other cases.

create or replace function maintenance.assert_outside_transaction()
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
begin
    if transaction_timestamp() <> statement_timestamp() then
        raise exception using
            errcode = 'active_sql_transaction',
            message = 'a run commits its batches and cannot be part of a transaction',
            hint = 'Call it outside of BEGIN and COMMIT. Within, '
                'maintenance.purge_batch(policy) removes one batch.';
    end if;
end;
$function$;

revoke all on function maintenance.assert_outside_transaction() from public;

comment on function maintenance.assert_outside_transaction() is
    'Raise an error within a transaction block that an earlier statement began.';
