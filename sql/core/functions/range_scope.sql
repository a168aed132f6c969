-- Writes the condition of a range: of blocks (branch 0), or of values of a branch's key. The end is
-- not part of it; null is no end.

create or replace function maintenance.range_scope(
    policy maintenance.policy,
    branch integer,
    low text,
    high text
)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select case
        when branch = 0 then
            format(
                'target.ctid >= %L::tid and target.ctid < %L::tid',
                format('(%s,0)', low), format('(%s,0)', high)
            )
        else
            concat_ws(
                ' and ',
                format('target.%I >= %L::%s', key.name, low, key.type),
                case
                    when high is not null then
                        format('target.%I < %L::%s', key.name, high, key.type)
                end
            )
    end
    from (
        select
            maintenance.branch_key(policy, branch),
            maintenance.column_type(
                (policy).relation, maintenance.branch_key(policy, branch)
            )
    ) as key (name, type);
$function$;

revoke all on function maintenance.range_scope(maintenance.policy, integer, text, text)
    from public;

comment on function maintenance.range_scope(maintenance.policy, integer, text, text) is
    'Return the condition of a range of blocks or of key values.';
