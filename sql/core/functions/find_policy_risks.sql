-- Says what could make a policy slow, incomplete or surprising, with a remedy where there is one.

create or replace function maintenance.find_policy_risks(policy maintenance.policy)
returns table (risk text, message text, statement text)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    v_bounds text[] := maintenance.branch_bounds(policy, now());
    v_leaf regclass := (
        select leaf from maintenance.leaves_of(policy.relation) as leaf limit 1
    );
begin
    return query
    select
        'missing_index',
        format('branch %s has no index: every run reads the whole table', branch.number),
        format(
            'create index %son %s',
            case when class.relkind <> 'p' then 'concurrently ' end,
            policy.relation
        )
        || ' (' || quote_ident(branch.key) || ')'
        || coalesce(
            -- An index knows neither the name "target" nor what may change: only plain conditions.
            ' where ' || substring(
                branch.condition from '^(?!.*(\(|--|\mtarget\M|\mcurrent_|\mlocaltime)).*$'
            ),
            ''
        )
    from (
        select
            series,
            maintenance.branch_key(policy, series),
            policy.branches -> (series - 1) ->> 'condition'
        from generate_series(1, jsonb_array_length(policy.branches)) as series
    ) as branch (number, key, condition)
    join pg_catalog.pg_class as class on class.oid = policy.relation
    where v_leaf is not null
      and maintenance.branch_index(policy, v_leaf, branch.number, v_bounds) is null;

    return query
    select
        'unindexed_foreign_key',
        format(
            'foreign key %I of %s has no index: each row that goes reads that table whole',
            referring.conname,
            referring.conrelid::regclass
        ),
        format(
            'create index %son %s (%s)',
            case when class.relkind <> 'p' then 'concurrently ' end,
            referring.conrelid::regclass,
            (
                select string_agg(
                    format('%I', attribute.attname), ', ' order by keyed.ordinality
                )
                from unnest(referring.conkey) with ordinality as keyed (number, ordinality)
                join pg_catalog.pg_attribute as attribute
                    on attribute.attrelid = referring.conrelid
                    and attribute.attnum = keyed.number
            )
        )
    from pg_catalog.pg_constraint as referring
    join pg_catalog.pg_class as class on class.oid = referring.conrelid
    where referring.contype = 'f'
      and referring.confrelid = policy.relation
      and referring.conparentid = 0
      and policy.action <> 'set'
      and not exists (
          select
          from pg_catalog.pg_index as index
          where index.indrelid = referring.conrelid
            and index.indisvalid
            and index.indpred is null
            and (index.indkey::smallint[])[0:cardinality(referring.conkey) - 1]
                @> referring.conkey
      );

    return query
    select
        'referenced',
        format(
            'foreign key %I of %s holds rows that are referred to: a run fails on them',
            referring.conname,
            referring.conrelid::regclass
        ),
        null::text
    from pg_catalog.pg_constraint as referring
    where referring.contype = 'f'
      and referring.confrelid = policy.relation
      and referring.conparentid = 0
      and referring.confdeltype in ('a', 'r')
      and policy.action <> 'set'
      and not exists (
          select
          from jsonb_array_elements(policy.dependents) as dependent
          where to_regclass(dependent.value ->> 'relation') = referring.conrelid
      );

    return query
    select
        'deferrable_constraint',
        format(
            'foreign key %I of %s is deferrable: a run checks it in each batch',
            referring.conname,
            referring.conrelid::regclass
        ),
        null::text
    from pg_catalog.pg_constraint as referring
    where referring.contype = 'f'
      and referring.confrelid = policy.relation
      and referring.conparentid = 0
      and referring.condeferrable;

    return query
    select
        'row_security',
        case
            when class.relforcerowsecurity then
                'row-level security is forced on the owner as well: a run fails where it hides rows'
            else 'row-level security is on: the owner of the table is exempt, and so are runs'
        end,
        null::text
    from pg_catalog.pg_class as class
    where class.oid = policy.relation
      and class.relrowsecurity;

    return query
    select
        'trigger',
        format('trigger %I runs for each row or batch that goes, as the owner', trigger.tgname),
        null::text
    from pg_catalog.pg_trigger as trigger
    where trigger.tgrelid = policy.relation
      and not trigger.tgisinternal
      and trigger.tgenabled <> 'D'
      -- 8 and 16 are the bits of DELETE and UPDATE (PostgreSQL's catalog/pg_trigger.h).
      and trigger.tgtype & case policy.action when 'set' then 16 else 8 end <> 0;

    -- Since 18, what is deferred runs as whoever caused it.
    return query
    select
        'deferring_owner',
        format(
            'before PostgreSQL 18, what a trigger of %I defers runs as whoever runs the policy: '
            'let an operator run it, and not a superuser',
            pg_get_userbyid(class.relowner)
        ),
        null::text
    from pg_catalog.pg_class as class
    join pg_catalog.pg_namespace as namespace on namespace.nspname = 'maintenance'
    where class.oid = policy.relation
      and class.relowner <> namespace.nspowner
      and current_setting('server_version_num')::integer < 180000;

    return query
    select
        'replica_identity',
        format(
            'publication %I sends deletes, and %s has no replica identity: they fail',
            published.pubname,
            policy.relation
        ),
        format('alter table %s replica identity full', policy.relation)
    from pg_catalog.pg_publication_tables as published
    join pg_catalog.pg_publication as publication on publication.pubname = published.pubname
    join pg_catalog.pg_namespace as namespace on namespace.nspname = published.schemaname
    join pg_catalog.pg_class as class
        on class.relnamespace = namespace.oid
        and class.relname = published.tablename
    where class.oid = policy.relation
      and publication.pubdelete
      and not maintenance.has_replica_identity(policy.relation);

    return query
    select
        'no_primary_key',
        format('%s has no primary key: its rows cannot be named in the log', policy.relation),
        null::text
    where maintenance.primary_key_of(policy.relation) is null;

    return query
    select
        'kept_forever',
        format('no policy tends %s: what is archived there stays for ever', archived.archive),
        case
            when maintenance.column_type(archived.archive, '_archived_at') is not null then
                format(
                    'select * from maintenance.register_policy(%L, %L, '
                    '''{"column": "_archived_at", "retention": "2 years"}'')',
                    concat(left(policy.name, 40), '_archive', nullif(archived.place, 0)),
                    archived.archive
                )
        end
    from maintenance.policy_archives(policy) as archived
    where archived.archive is not null
      and not exists (
          select
          from maintenance.policy as tending
          where tending.relation = archived.archive
      )
    order by archived.place;

    return query
    select
        'no_undo',
        format('%s does not note which run archived a row: no run can be undone', archived.archive),
        (
            select format('alter table %s ', archived.archive)
                || string_agg(
                    format('add column %I %s', noted.name, noted.type), ', ' order by noted.name
                )
            from (values ('_archived_at', 'timestamptz'), ('_archived_by_step', 'bigint'))
                as noted (name, type)
            where maintenance.column_type(archived.archive, noted.name) is null
            having bool_and(maintenance.column_type(archived.source, noted.name) is null)
        )
    from maintenance.policy_archives(policy) as archived
    where archived.archive is not null
      and not maintenance.records_steps(archived.source, archived.archive)
    order by archived.place;

    return query
    select
        'lost_dependents',
        format('rows of %s go with those that are archived, and no undo brings them back',
            lost.relation),
        null::text
    from (
        select dependent.value ->> 'relation'
        from jsonb_array_elements(policy.dependents) as dependent
        where not dependent.value ? 'archive_table'
        union
        select referring.conrelid::regclass::text
        from pg_catalog.pg_constraint as referring
        where referring.contype = 'f'
          and referring.confrelid = policy.relation
          and referring.conparentid = 0
          and referring.confdeltype in ('c', 'n', 'd')
          and not exists (
              select
              from jsonb_array_elements(policy.dependents) as dependent
              where to_regclass(dependent.value ->> 'relation') = referring.conrelid
          )
        order by 1
    ) as lost (relation)
    where policy.action = 'archive';

    return query
    select
        'inheritance',
        format('rows of %s, which inherits from the table, stay', child.inhrelid::regclass),
        null::text
    from pg_catalog.pg_inherits as child
    join pg_catalog.pg_class as class on class.oid = child.inhparent
    where child.inhparent = policy.relation
      and class.relkind = 'r';
end;
$function$;

revoke all on function maintenance.find_policy_risks(maintenance.policy) from public;

comment on function maintenance.find_policy_risks(maintenance.policy) is
    'List the risks of a policy, and the statement that removes a risk where there is one.';
