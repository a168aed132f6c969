-- Chooses how to walk a table: along its blocks, or along the indexes of the branches.
--
-- Along the blocks each page is read once, whatever part of its rows goes. Along an index only the
-- rows that go are read, but those of a page one by one. Measured, blocks win from a share of about
-- 3 % upwards (docs/benchmarks.md); a table of 1,000 pages is read faster than it is thought about.

create or replace function maintenance.choose_strategy(
    policy maintenance.policy,
    leaf regclass,
    bounds text[],
    out strategy text,
    out reason text,
    out rows bigint
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_pages bigint := pg_relation_size(leaf) / current_setting('block_size')::bigint;
    v_total real := (
        select class.reltuples from pg_catalog.pg_class as class where class.oid = leaf
    );
    v_unserved text;
begin
    rows := maintenance.estimate_eligible(policy, leaf, bounds);
    strategy := 'heap';

    select string_agg(branch::text, ', ')
    into v_unserved
    from generate_series(1, jsonb_array_length(policy.branches)) as branch
    where maintenance.branch_index(policy, leaf, branch, bounds) is null;

    if policy.selector is not null then
        reason := 'a view selects the rows';
    elsif v_pages <= 1000 then
        reason := format('the table has %s pages', v_pages);
    elsif v_unserved is not null then
        reason := format('no index serves branch %s', v_unserved);
    elsif v_total < 0 then
        reason := 'the table was never analyzed';
    elsif rows > 0.03 * v_total then
        reason := format('about %s %% of the rows go', round(100 * rows / greatest(v_total, 1)));
    else
        strategy := 'window';
        reason := format(
            'about %s %% of the rows go, and an index serves each branch',
            round((100 * rows / greatest(v_total, 1))::numeric, 1)
        );
    end if;
end;
$function$;

revoke all on function maintenance.choose_strategy(maintenance.policy, regclass, text[])
    from public;

comment on function maintenance.choose_strategy(maintenance.policy, regclass, text[]) is
    'Choose how a policy walks a table: heap or window, why, and how many rows it expects.';
