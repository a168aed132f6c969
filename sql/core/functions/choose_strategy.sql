-- Chooses how to walk a table: along its blocks, or along the indexes of the branches.
--
-- Along the blocks each page is read once, whatever part of its rows goes. Along an index only the
-- rows that go are read, but those of a page one by one, in the order of their key. Measured
-- (docs/benchmarks.md), an index wins up to 30 % of the rows where they lie in that order, and else
-- up to one row in two pages. A table of 1,000 pages is read faster than it is thought about.

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
    v_correlation numeric;
    v_limit numeric;
begin
    rows := maintenance.estimate_eligible(policy, leaf, bounds);
    strategy := 'heap';

    select string_agg(branch::text, ', ')
    into v_unserved
    from generate_series(1, jsonb_array_length(policy.branches)) as branch
    where maintenance.branch_index(policy, leaf, branch, bounds) is null;

    if policy.selector is not null then
        reason := 'a view selects the rows';
        return;
    elsif v_pages <= 1000 then
        reason := format('the table has %s pages', v_pages);
        return;
    elsif v_unserved is not null then
        reason := format('no index serves branch %s', v_unserved);
        return;
    elsif v_total < 0 then
        reason := 'the table was never analyzed';
        return;
    end if;

    -- The statistics show themselves to who may read the column: the table's owner.
    v_correlation := maintenance.run_as_owner(
        policy.relation,
        format(
            'select to_jsonb(min(coalesce(abs(stats.correlation), 0)))'
            ' from pg_catalog.unnest(%L::name[]) as key (name)'
            ' left join pg_catalog.pg_stats as stats on stats.attname = key.name'
            ' and stats.schemaname = %L and stats.tablename = %L and not stats.inherited',
            array(
                select maintenance.branch_key(policy, branch)
                from generate_series(1, jsonb_array_length(policy.branches)) as branch
            ),
            class.relnamespace::regnamespace::name,
            class.relname
        )
    )::numeric
    from pg_catalog.pg_class as class
    where class.oid = leaf;

    v_limit := greatest(
        v_pages * 0.5, case when v_correlation > 0.9 then 0.3 * v_total::numeric end
    );
    strategy := case when rows > v_limit then 'heap' else 'window' end;
    reason := format(
        'about %s %% of the rows go, %s', round((100 * rows / greatest(v_total, 1))::numeric, 1),
        case
            when v_correlation > 0.9 then 'which lie together'
            else format('which lie in up to %s of %s pages', least(rows, v_pages), v_pages)
        end
    );
end;
$function$;

revoke all on function maintenance.choose_strategy(maintenance.policy, regclass, text[])
    from public;

comment on function maintenance.choose_strategy(maintenance.policy, regclass, text[]) is
    'Choose how a policy walks a table: heap or window, why, and how many rows it expects.';
