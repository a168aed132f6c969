-- Lists the tables that want an ANALYZE: never analyzed, or a tenth of the rows, and 50, changed
-- since, counted by the server or known from our own log. Autovacuum never analyzes a partitioned
-- table.

create or replace view maintenance.analyze_needs
with (security_invoker = true)
as
select
    upkeep.schema_name,
    upkeep.table_name,
    case
        when why.is_never then 'it was never analyzed'
        when why.is_counted then format(
            '%s rows changed since the last ANALYZE, of %s',
            upkeep.changed_rows, upkeep.estimated_rows::bigint
        )
        else format(
            'runs removed or changed %s rows since the last ANALYZE', upkeep.removed_since_analyze
        )
    end as reason,
    greatest(upkeep.changed_rows, upkeep.removed_since_analyze) as changed_rows,
    format('analyze %I.%I', upkeep.schema_name, upkeep.table_name) as statement
from maintenance.table_upkeep as upkeep
cross join lateral (
    select
        not upkeep.is_counted
        and case
            when upkeep.kind <> 'p' then upkeep.heap_bytes > 0
            else exists (
                select
                from pg_partition_tree(upkeep.relation) as tree
                where tree.isleaf
                  and pg_relation_size(tree.relid) > 0
            )
        end as is_never,
        upkeep.changed_rows > 50 + 0.1 * upkeep.estimated_rows as is_counted,
        upkeep.removed_since_analyze > 50 + 0.1 * upkeep.estimated_rows as is_logged
) as why
where why.is_never
   or (upkeep.kind <> 'p' and (why.is_counted or why.is_logged))
order by changed_rows desc, upkeep.schema_name, upkeep.table_name;

revoke all on table maintenance.analyze_needs from public;

comment on view maintenance.analyze_needs is
    'Tables that want an ANALYZE, those with the most changes first.';
comment on column maintenance.analyze_needs.schema_name is 'Schema of the table.';
comment on column maintenance.analyze_needs.table_name is 'Name of the table, unquoted.';
comment on column maintenance.analyze_needs.reason is 'Why.';
comment on column maintenance.analyze_needs.changed_rows is
    'Rows that changed, as the server or our log counted: whichever is more.';
comment on column maintenance.analyze_needs.statement is
    'What to execute, as the owner of the table.';
