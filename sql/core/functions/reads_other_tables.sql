-- Says whether a policy has a condition with a query in it. A query in a function is not seen.

create or replace function maintenance.reads_other_tables(policy maintenance.policy)
returns boolean
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    select concat_ws(
        ' ',
        (policy).condition,
        jsonb_path_query_array((policy).branches, '$[*].condition')::text
    ) ~* '\mselect\M';
$function$;

revoke all on function maintenance.reads_other_tables(maintenance.policy) from public;

comment on function maintenance.reads_other_tables(maintenance.policy) is
    'Say whether a condition of a policy is, or contains, a query.';
