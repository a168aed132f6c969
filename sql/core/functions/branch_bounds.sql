-- Computes what the time column of each branch is compared with, given the moment of the run.

create or replace function maintenance.branch_bounds(
    policy maintenance.policy,
    moment timestamptz
)
returns text[]
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set datestyle = 'ISO'
set extra_float_digits = 1
as $function$
declare
    v_bounds text[];
begin
    execute (
        select 'select array[' || string_agg(
            coalesce(
                '(' || maintenance.branch_bound(policy, series, moment => '$1') || ')::text',
                'null'
            ),
            ', ' order by series
        ) || ']::text[]'
        from generate_series(1, greatest(jsonb_array_length(policy.branches), 1)) as series
    )
    into v_bounds
    using branch_bounds.moment;
    return v_bounds;
end;
$function$;

revoke all on function maintenance.branch_bounds(maintenance.policy, timestamptz) from public;

comment on function maintenance.branch_bounds(maintenance.policy, timestamptz) is
    'Return, for each branch, the value below which its time column makes a row eligible.';
