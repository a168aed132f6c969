-- Lists what a policy archives into what, in the order in which undoing it puts rows back: the rows
-- of its own table, and then their dependents, the last that went first.

create or replace function maintenance.policy_archives(policy maintenance.policy)
returns table (place bigint, source regclass, archive regclass)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select 0, (policy).relation, (policy).archive_table
    where (policy).action = 'archive'
    union all
    select
        jsonb_array_length((policy).dependents) - element.ordinality + 1,
        to_regclass(element.value ->> 'relation'),
        to_regclass(element.value ->> 'archive_table')
    from jsonb_array_elements((policy).dependents) with ordinality as element
    where element.value ? 'archive_table'
    order by 1;
$function$;

revoke all on function maintenance.policy_archives(maintenance.policy) from public;

comment on function maintenance.policy_archives(maintenance.policy) is
    'List the tables that a policy archives rows of, and into which.';
