-- Says why the table of a policy must not be swept by inserts: of_policy is what the policy itself
-- says, and otherwise it is the table that is not fit for it.
--
-- A sweep runs within a transaction of the application, so that nothing may go wrong or have to be
-- judged there: it deletes rows that nothing else depends on, and does nothing else.

create or replace function maintenance.find_sweep_errors(
    policy maintenance.policy,
    at_once boolean
)
returns table (message text, of_policy boolean)
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    with part as (
        select class.*
        from maintenance.parts_of((policy).relation) as part (oid)
        join pg_catalog.pg_class as class on class.oid = part.oid
    )
    select wrong.message, true
    from (
        select format('its action is %s, and a sweep only deletes', (policy).action)
        where (policy).action <> 'delete'

        union all
        select 'it has a selector, and a sweep walks the rows of its branches'
        where (policy).selector is not null

        union all
        select 'rows of other tables have to go first'
        where jsonb_array_length((policy).dependents) > 0

        union all
        select 'it needs a backup before rows go, which an insert cannot see to'
        where (policy).backup_within is not null

        union all
        select 'a condition reads other tables, whose locks an insert would wait for'
        where maintenance.reads_other_tables(policy)

        union all
        select format('branch %s has neither a column nor a key to walk its rows by', series)
        from generate_series(1, jsonb_array_length((policy).branches)) as series
        where maintenance.branch_key(policy, series) is null
    ) as wrong (message)

    union all
    select wrong.message, false
    from (
        select format(
            'branch %s has no index on %I: each sweep would read the whole table',
            series,
            maintenance.branch_key(policy, series)
        )
        from generate_series(1, jsonb_array_length((policy).branches)) as series
        where maintenance.branch_key(policy, series) is not null
          and not exists (
              select
              from pg_catalog.pg_index as index
              join pg_catalog.pg_class as of_index on of_index.oid = index.indexrelid
              join pg_catalog.pg_am as method on method.oid = of_index.relam
              join pg_catalog.pg_attribute as attribute
                  on attribute.attrelid = index.indrelid
                  and attribute.attnum = index.indkey[0]
              where index.indrelid = (policy).relation
                and index.indisvalid
                and method.amname = 'btree'
                and attribute.attname = maintenance.branch_key(policy, series)
          )
          -- one that a chain has declared is built after the chain's scripts
          and not exists (
              select
              from maintenance.required_index as declared
              where declared.relation = (policy).relation
                and split_part(declared.keys, ',', 1)
                    = quote_ident(maintenance.branch_key(policy, series))
          )

        union all
        select format(
            'foreign key %I of %s refers to %s',
            key.conname, key.conrelid::regclass, part.oid::regclass
        )
        from part
        join pg_catalog.pg_constraint as key on key.confrelid = part.oid
        where key.contype = 'f'
          and key.conparentid = 0

        union all
        -- 8 is the bit of DELETE in pg_trigger.tgtype (PostgreSQL's catalog/pg_trigger.h).
        select format('%s has the trigger %I on DELETE', part.oid::regclass, deleting.tgname)
        from part
        join pg_catalog.pg_trigger as deleting on deleting.tgrelid = part.oid
        where deleting.tgtype & 8 <> 0
          and not deleting.tgisinternal
          and deleting.tgparentid = 0

        union all
        select format('%s forces row-level security on its owner', part.oid::regclass)
        from part
        where part.oid = (policy).relation
          and part.relforcerowsecurity

        union all
        select format(
            'publication %I sends deletes, and %s has no replica identity: they would fail',
            published.pubname,
            part.oid::regclass
        )
        from part
        join pg_catalog.pg_publication_tables as published
            on published.schemaname = part.relnamespace::regnamespace::name
            and published.tablename = part.relname
        join pg_catalog.pg_publication as publication on publication.pubname = published.pubname
        where publication.pubdelete
          and not maintenance.has_replica_identity(part.oid)

        union all
        select format(
            '%s has no primary key, which %s', part.oid::regclass,
            case
                when part.relkind = 'p' then 'names the rows of a partitioned table'
                else 'at_once needs to find the rows of an insert: give at_once => false'
            end
        )
        from part
        where part.oid = (policy).relation
          and (part.relkind = 'p' or at_once)
          and maintenance.primary_key_of(part.oid) is null

        union all
        select format('partition %s belongs to another role', part.oid::regclass)
        from part
        join part as whole on whole.oid = (policy).relation
        where part.relowner <> whole.relowner
          and part.relkind <> 'f'

        union all
        select format('partition %s is a foreign table', part.oid::regclass)
        from part
        where part.relkind = 'f'
    ) as wrong (message);
$function$;

revoke all on function maintenance.find_sweep_errors(maintenance.policy, boolean) from public;

comment on function maintenance.find_sweep_errors(maintenance.policy, boolean) is
    'List why the table of a policy must not be swept by inserts.';
