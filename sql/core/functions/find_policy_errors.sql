-- Says what is wrong with a policy, each time with the column or the table and the reason.
--
-- What the catalog knows comes first. Only where that is right are the user's own conditions
-- planned, with the rights of the table's owner and never executed.

create or replace function maintenance.find_policy_errors(policy maintenance.policy)
returns setof text
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_table pg_catalog.pg_class;
    v_found boolean := false;
    v_error text;
    v_tried record;
begin
    select class.*
    into v_table
    from pg_catalog.pg_class as class
    where class.oid = policy.relation;

    if v_table.relkind not in ('r', 'p') then
        return next format('%s is not a table', policy.relation);
        return;
    end if;

    if v_table.relpersistence = 't'
       or v_table.relnamespace::regnamespace::text in ('pg_catalog', 'information_schema')
       or (v_table.relnamespace = 'maintenance'::regnamespace and policy.chain is distinct from
           'core')
    then
        return next format('%s is not a table of an application', policy.relation);
        return;
    end if;

    begin
        perform now() at time zone policy.zone;
    exception
        when invalid_parameter_value then
            return next format('there is no time zone %L', policy.zone);
            return;
    end;

    for v_tried in
        select
            format('branch %s: retention: ', branch.ordinality) as place,
            branch.value ->> 'retention' as text
        from jsonb_array_elements(policy.branches) with ordinality as branch
    loop
        begin
            perform v_tried.text::interval;
        exception
            when data_exception then
                return next v_tried.place || sqlerrm;
                return;
        end;
    end loop;

    for v_error in
        select problem.message
        from jsonb_array_elements(policy.branches) with ordinality as branch
        cross join lateral (
            select
                maintenance.column_type(policy.relation, (branch.value ->> 'column')::name),
                maintenance.column_type(policy.relation, (branch.value ->> 'key')::name),
                format('branch %s: ', branch.ordinality)
        ) as seen (time_type, key_type, place)
        cross join lateral (
            select (branch.value ->> 'retention')::interval
        ) as kept (retention)
        cross join lateral (
            values
                (
                    jsonb_typeof(branch.value) <> 'object',
                    seen.place || 'must be an object'
                ),
                (
                    not branch.value ? 'column' and not branch.value ? 'condition',
                    seen.place || 'needs a column, a condition, or both'
                ),
                (
                    branch.value ? 'column' and seen.time_type is null,
                    seen.place || format(
                        '%s has no column %s', policy.relation,
                        coalesce(quote_ident(branch.value ->> 'column'), 'null')
                    )
                ),
                (
                    branch.value ? 'key' and seen.key_type is null,
                    seen.place || format(
                        '%s has no column %s', policy.relation,
                        coalesce(quote_ident(branch.value ->> 'key'), 'null')
                    )
                ),
                (
                    branch.value ? 'key' and branch.value ? 'column',
                    seen.place || 'key is for branches without a column'
                ),
                (
                    seen.time_type not in (
                        'timestamp with time zone', 'timestamp without time zone', 'date',
                        'bigint', 'numeric', 'double precision'
                    ),
                    seen.place || format(
                        'column %s is of type %s, which tells no time',
                        quote_ident(branch.value ->> 'column'), seen.time_type
                    )
                ),
                (
                    seen.key_type not in (
                        'timestamp with time zone', 'timestamp without time zone', 'date',
                        'bigint', 'numeric', 'double precision'
                    ),
                    seen.place || format(
                        'key %s is of type %s, which has no lowest value to begin with',
                        quote_ident(branch.value ->> 'key'), seen.key_type
                    )
                ),
                (
                    seen.time_type in ('bigint', 'numeric', 'double precision')
                    and coalesce(branch.value ->> 'unit', '') not in ('s', 'ms'),
                    seen.place || format(
                        'column %s is a number: say whether its unit is s or ms since 1970',
                        quote_ident(branch.value ->> 'column')
                    )
                ),
                (
                    seen.time_type not in ('bigint', 'numeric', 'double precision')
                    and branch.value ? 'unit',
                    seen.place || format(
                        'column %s is of type %s, which has no unit',
                        quote_ident(branch.value ->> 'column'), seen.time_type
                    )
                ),
                (
                    coalesce(branch.value ->> 'comparison', '<') not in ('<', '<='),
                    seen.place || 'comparison must be < or <='
                ),
                (
                    not branch.value ? 'column'
                    and (branch.value ? 'retention' or branch.value ? 'comparison'),
                    seen.place || 'without a column there is nothing to compare'
                ),
                (
                    -- each part by itself: a month less 30 days compares as nothing
                    date_trunc('month', kept.retention) < '0 s'
                    or date_trunc('day', kept.retention) < date_trunc('month', kept.retention)
                    or kept.retention < date_trunc('day', kept.retention),
                    seen.place || 'retention must not be negative'
                )
        ) as problem (is_there, message)
        where problem.is_there

        union all
        select format('branch %s: there is no setting %s', branch.ordinality, given.key)
        from jsonb_array_elements(policy.branches) with ordinality as branch
        cross join lateral jsonb_object_keys(
            case jsonb_typeof(branch.value) when 'object' then branch.value else '{}' end
        ) as given (key)
        where given.key not in ('column', 'key', 'unit', 'comparison', 'retention', 'condition')

        union all
        select format('hold_column: %s has no column %I', policy.relation, policy.hold_column)
        where policy.hold_column is not null
          and maintenance.column_type(policy.relation, policy.hold_column) is null

        union all
        select format('%s has a rule on %s', policy.relation, doing.what)
        from pg_catalog.pg_rewrite as rewrite
        cross join lateral (
            select case rewrite.ev_type when '2' then 'UPDATE' when '4' then 'DELETE' end
        ) as doing (what)
        where rewrite.ev_class = policy.relation
          and doing.what is not null

        union all
        select format(
            'foreign key %I deletes or changes rows of %s along: '
            'set allow_cascade if that is meant',
            referring.conname,
            referring.conrelid::regclass
        )
        from pg_catalog.pg_constraint as referring
        where referring.contype = 'f'
          and referring.confrelid = policy.relation
          and referring.conparentid = 0
          and referring.confdeltype in ('c', 'n', 'd')
          and policy.action <> 'set'
          and not policy.allow_cascade
          and not exists (
              select
              from jsonb_array_elements(policy.dependents) as dependent
              where to_regclass(dependent.value ->> 'relation') = referring.conrelid
          )

        union all
        select format('dependents: %s', problem.message)
        from jsonb_array_elements(policy.dependents) as dependent
        cross join lateral (
            select to_regclass(dependent.value ->> 'relation')
        ) as seen (relation)
        cross join lateral (
            select format('there is no table %s', coalesce(dependent.value ->> 'relation', 'null'))
            where seen.relation is null
            union all
            select 'columns and references must be arrays of the same length'
            where not coalesce(
                jsonb_typeof(dependent.value -> 'columns') = 'array'
                and jsonb_typeof(dependent.value -> 'references') = 'array'
                and jsonb_array_length(dependent.value -> 'columns') > 0
                and jsonb_array_length(dependent.value -> 'columns')
                    = jsonb_array_length(dependent.value -> 'references'),
                false
            )
            union all
            select format('%s has no column %I', wanted.relation, wanted.name)
            from (
                select seen.relation, named.value
                from jsonb_array_elements_text(
                    jsonb_path_query_array(dependent.value, 'lax $.columns[*]')
                ) as named
                union all
                select policy.relation, named.value
                from jsonb_array_elements_text(
                    jsonb_path_query_array(dependent.value, 'lax $.references[*]')
                ) as named
            ) as wanted (relation, name)
            where wanted.relation is not null
              and maintenance.column_type(wanted.relation, wanted.name::name) is null
            union all
            select format('%s and %s do not have the same owner', seen.relation, policy.relation)
            from pg_catalog.pg_class as class
            where class.oid = seen.relation
              and class.relowner <> v_table.relowner
            union all
            select format('there is no table %s', dependent.value ->> 'archive_table')
            where dependent.value ? 'archive_table'
              and to_regclass(dependent.value ->> 'archive_table') is null
            union all
            select 'archive_table belongs to action archive'
            where dependent.value ? 'archive_table'
              and policy.action <> 'archive'
            union all
            select format('there is no setting %s', given.key)
            from jsonb_object_keys(
                case jsonb_typeof(dependent.value) when 'object' then dependent.value else '{}' end
            ) as given (key)
            where given.key not in ('relation', 'columns', 'references', 'archive_table')
        ) as problem (message)

        union all
        select 'archive_table: ' || problem.message
        from maintenance.policy_archives(policy) as archived
        join pg_catalog.pg_class as had on had.oid = archived.source
        left join pg_catalog.pg_class as kept on kept.oid = archived.archive
        cross join lateral (
            select format('there is no archive of %s any more', archived.source)
            where kept.oid is null
              and archived.place = 0
            union all
            select format('%s is not a table of an application', archived.archive)
            where kept.relkind not in ('r', 'p')
               or kept.relpersistence = 't'
               or kept.relnamespace = 'maintenance'::regnamespace
            union all
            select format('%s is the table itself', archived.archive)
            where archived.archive in (
                select part from maintenance.parts_of(archived.source) as part
            )
            union all
            select format('%s is the archive of %s', archived.archive, owning.source)
            from (
                select known.relation, known.source
                from maintenance.archive as known
                join pg_catalog.pg_class as class on class.oid = known.source
                union all
                select other.archive, other.source
                from maintenance.policy_archives(policy) as other
            ) as owning (archive, source)
            where owning.archive = archived.archive
              and owning.source <> archived.source
            union all
            select format('%s and %s do not have the same owner', archived.source, archived.archive)
            where kept.relowner <> had.relowner
            union all
            select differing.message || coalesce(': ' || differing.remedy, '')
            from maintenance.archive_drift(archived.source, archived.archive) as differing
            where kept.relkind in ('r', 'p')
              and archived.archive <> archived.source
              and differing.change <> 'dropped'  -- no error: the next run says what to do
        ) as problem (message)

        union all
        select
            'selector: what is set cannot be proved to be eligible no more; delete or archive can'
        where policy.selector is not null
          and policy.action = 'set'

        union all
        select format('selector: %s needs %s', policy.selector, missing.what)
        from (
            select format('column %I, which is in the primary key of the table', key.name)
            from unnest(maintenance.primary_key_of(policy.relation)) as key (name)
            where maintenance.column_type(policy.selector, key.name) is null
            union all
            select format('%s to have a primary key', policy.relation)
            where maintenance.primary_key_of(policy.relation) is null
        ) as missing (what)
        where policy.selector is not null
    loop
        v_found := true;
        return next v_error;
    end loop;

    if v_found then
        return;
    end if;

    return query select * from maintenance.try_policy(policy);
end;
$function$;

revoke all on function maintenance.find_policy_errors(maintenance.policy) from public;

comment on function maintenance.find_policy_errors(maintenance.policy) is
    'List what is wrong with a policy; it cannot be registered with any of that.';
