-- Says at which values of its key the eligible rows of a leaf can be cut into parts of equal size,
-- as far as the statistics tell: not at all where several branches overlap.

create or replace function maintenance.key_edges(
    policy maintenance.policy,
    leaf regclass,
    eligible bigint,
    parts integer
)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_key name := maintenance.branch_key(policy, 1);
    v_values text[];
    v_last integer;
begin
    if jsonb_array_length(policy.branches) > 1 then
        return '{}';
    end if;

    -- The statistics show themselves to who may read the column: the table's owner.
    select array(
        select jsonb_array_elements_text(
            maintenance.run_as_owner(
                policy.relation,
                format(
                    'select pg_catalog.to_jsonb(stats.histogram_bounds::text::text[])'
                    ' from pg_catalog.pg_stats as stats where stats.schemaname = %L'
                    ' and stats.tablename = %L and stats.attname = %L and not stats.inherited',
                    class.relnamespace::regnamespace::name, class.relname, v_key
                )
            )
        )
    )
    into v_values
    from pg_catalog.pg_class as class
    where class.oid = key_edges.leaf
      and class.reltuples > 0;

    -- Rows go by a time from the lowest value on; by a key, from anywhere.
    v_last := case
        when policy.branches #>> '{0,column}' is null then cardinality(v_values)
        else (
            select least(cardinality(v_values) * eligible / class.reltuples, cardinality(v_values))
            from pg_catalog.pg_class as class
            where class.oid = key_edges.leaf
        )
    end;

    return array(
        select v_values[place]
        from generate_series(1, parts - 1) as part
        cross join lateral (select (v_last::bigint * part / parts)::integer) as cut (place)
        where place between 2 and cardinality(v_values) - 1
        group by v_values[place]
        order by min(place)
    );
end;
$function$;

revoke all on function maintenance.key_edges(maintenance.policy, regclass, bigint, integer)
    from public;

comment on function maintenance.key_edges(maintenance.policy, regclass, bigint, integer) is
    'Return the values of its key at which the eligible rows of a leaf can be cut into parts.';
