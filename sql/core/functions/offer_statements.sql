-- Lets a view of a chain say which statements an operation executes.
--
-- It has the columns object, statement and reason, and is_patient: whether the statement may wait
-- for its locks, because nobody who reads or writes queues behind it.

create or replace function maintenance.offer_statements(
    operation text,
    source text,
    chain text,
    scope text default 'needed'
)
returns void
language sql
set search_path = pg_catalog, pg_temp
as $function$
    insert into maintenance.statement_source (operation, source, scope, chain)
    values (
        offer_statements.operation, offer_statements.source, offer_statements.scope,
        offer_statements.chain
    );
$function$;

revoke all on function maintenance.offer_statements(text, text, text, text) from public;

comment on function maintenance.offer_statements(text, text, text, text) is
    'Let a view list statements that an operation executes.';
