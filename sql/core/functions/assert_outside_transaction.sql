-- Refuses a call within a transaction block, which could not commit its batches.
--
-- No function tells whether there is one, and the clocks do not: where a driver sends parameters,
-- the transaction begins before the statement. COMMIT tells. A procedure tries one where it has to
-- fail, under an exception handler, and failure is what it says. Within a transaction block that is
-- what it says in a function as well; outside, it says that the handler is in the way.

create or replace function maintenance.assert_outside_transaction(failure text)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
begin
    commit;
exception
    when invalid_transaction_termination then
        if sqlerrm = failure then
            raise exception using
                errcode = 'active_sql_transaction',
                message = 'a run commits its batches and cannot be part of a transaction',
                hint = 'Call it outside of BEGIN and COMMIT. Within, '
                    'maintenance.purge_batch(policy) removes one batch.';
        end if;
end;
$function$;

revoke all on function maintenance.assert_outside_transaction(text) from public;

comment on function maintenance.assert_outside_transaction(text) is
    'Raise an error if this is how COMMIT fails within a transaction block.';
