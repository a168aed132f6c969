-- Says at which values of its key the eligible rows of a leaf can be cut into parts of equal size,
-- as far as the statistics tell: not at all where several branches overlap.

create or replace function maintenance.key_edges(
    policy maintenance.policy,
    leaf regclass,
    bounds text[],
    parts integer
)
returns text[]
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_key name := maintenance.branch_key(policy, 1);
    v_values text[];
begin
    if jsonb_array_length(policy.branches) > 1 then
        return array[]::text[];
    end if;

    -- The statistics show themselves to who may read the column: the table's owner. Of a time, the
    -- values that are eligible; rows that go by a key may have any.
    select array(
        select jsonb_array_elements_text(
            maintenance.run_as_owner(
                policy.relation,
                format(
                    'select pg_catalog.to_jsonb(array(select bound.value from pg_catalog.unnest('
                    'stats.histogram_bounds::text::text[]) with ordinality as bound (value, place)'
                    ' where %s order by bound.place)) from pg_catalog.pg_stats as stats'
                    ' where stats.schemaname = %L and stats.tablename = %L and stats.attname = %L'
                    ' and not stats.inherited',
                    case
                        when policy.branches #> '{0,column}' is null then 'true'
                        else format(
                            'bound.value::%1$s < %2$L::%1$s',
                            maintenance.column_type(policy.relation, v_key), bounds[1]
                        )
                    end,
                    class.relnamespace::regnamespace::name, class.relname, v_key
                )
            )
        )
    )
    into v_values
    from pg_catalog.pg_class as class
    where class.oid = key_edges.leaf;

    return array(
        select v_values[place]
        from generate_series(1, parts - 1) as part
        cross join lateral (select cardinality(v_values) * part / parts) as cut (place)
        where place > 1
        group by v_values[place]
        order by min(place)
    );
end;
$function$;

revoke all on function maintenance.key_edges(maintenance.policy, regclass, text[], integer)
    from public;

comment on function maintenance.key_edges(maintenance.policy, regclass, text[], integer) is
    'Return the values of its key at which the eligible rows of a leaf can be cut into parts.';
