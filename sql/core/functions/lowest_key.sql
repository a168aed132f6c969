-- Says where a walk along the key of a branch begins; null for a branch without a key.

create or replace function maintenance.lowest_key(policy maintenance.policy, branch integer)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select case maintenance.column_type(
        (policy).relation, maintenance.branch_key(policy, branch)
    )
        when 'bigint' then '-9223372036854775808'
        else '-infinity'
    end;
$function$;

revoke all on function maintenance.lowest_key(maintenance.policy, integer) from public;

comment on function maintenance.lowest_key(maintenance.policy, integer) is
    'Return the lowest value that the key of a branch can have.';
