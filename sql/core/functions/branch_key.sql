-- Names the column by which the rows of a branch are walked: its time, or else its key.

create or replace function maintenance.branch_key(policy maintenance.policy, branch integer)
returns name
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    select coalesce(
        (policy).branches -> (branch - 1) ->> 'key',
        (policy).branches -> (branch - 1) ->> 'column'
    );
$function$;

revoke all on function maintenance.branch_key(maintenance.policy, integer) from public;

comment on function maintenance.branch_key(maintenance.policy, integer) is
    'Return the column by which the rows of a branch are walked; null if it has none.';
