-- Says what could make a sweep on insert useless or surprising, though it may be attached.

create or replace function maintenance.find_sweep_risks(policy maintenance.policy)
returns table (risk text, message text)
language sql
stable
security definer  -- monitors may see how a sweep stands
set search_path = pg_catalog, pg_temp
as $function$
    -- What nobody can choose twice cannot be chosen while the row that has it is being removed.
    select
        'reused_key',
        format(
            'an insert with the %s of a row that has just been swept waits for that transaction: '
            'index %I is unique, and its values are neither generated nor random',
            (
                select string_agg(
                    pg_get_indexdef(key.indexrelid, series, true), ', ' order by series
                )
                from generate_series(1, key.indnkeyatts) as series
            ),
            class.relname
        )
    from pg_catalog.pg_index as key
    join pg_catalog.pg_class as class on class.oid = key.indexrelid
    where key.indrelid = (policy).relation
      and key.indisunique
      and not exists (
          select
          from pg_catalog.pg_attribute as attribute
          left join pg_catalog.pg_attrdef as standard
              on standard.adrelid = attribute.attrelid
              and standard.adnum = attribute.attnum
          where attribute.attrelid = key.indrelid
            and attribute.attnum = any ((key.indkey::smallint[])[0:key.indnkeyatts - 1])
            and (
                attribute.attidentity <> ''
                or attribute.atttypid = 'uuid'::regtype
                or pg_get_expr(standard.adbin, standard.adrelid) ~ '(nextval|random|uuid)'
            )
      )

    union all
    select
        'isolation',
        'nothing is swept where transactions are stricter than read committed, which is the '
        'default for ' || array_to_string(maintenance.strict_defaults((policy).relation), ', ')
    where cardinality(maintenance.strict_defaults((policy).relation)) > 0

    union all
    select
        'partition',
        format(
            'inserts into %s do not sweep: a trigger of a partition does not see them',
            part.inhparent::regclass
        )
    from pg_catalog.pg_inherits as part
    join pg_catalog.pg_class as whole on whole.oid = part.inhparent
    where part.inhrelid = (policy).relation
      and whole.relkind = 'p'

    union all
    select
        'inheritance',
        format('rows of %s, which inherits from the table, stay', child.inhrelid::regclass)
    from pg_catalog.pg_inherits as child
    join pg_catalog.pg_class as parent on parent.oid = child.inhparent
    where child.inhparent = (policy).relation
      and parent.relkind = 'r'

    union all
    select
        'subscriber',
        'nothing is swept here: the table is replicated from a publisher, which sweeps it there'
    where exists (
        select
        from maintenance.parts_of((policy).relation) as part (oid)
        join pg_catalog.pg_subscription_rel as replicated on replicated.srrelid = part.oid
    )

    union all
    select 'disabled', 'nothing is swept until the policy is enabled'
    where not (policy).is_enabled;
$function$;

revoke all on function maintenance.find_sweep_risks(maintenance.policy) from public;

comment on function maintenance.find_sweep_risks(maintenance.policy) is
    'List what could make the sweep of a policy useless or surprising.';
