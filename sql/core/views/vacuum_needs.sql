-- Lists the tables that want a VACUUM, and why: dead rows beyond 50 and a fifth of the rows,
-- counted by the server or known from our own log; or half the age at which autovacuum has to
-- freeze.

create or replace view maintenance.vacuum_needs
with (security_invoker = true)
as
select
    upkeep.schema_name,
    upkeep.table_name,
    case
        when why.is_urgent then 1
        when why.is_old then 2
        else 3
    end as priority,
    case
        when why.is_old then format(
            '%s transactions and %s shared row locks are not frozen; autovacuum has to from %s and '
            '%s on',
            upkeep.transaction_age, upkeep.multixact_age, freezing.transactions, freezing.multixacts
        )
        when why.is_counted then format(
            '%s dead rows beside %s live ones', upkeep.dead_rows, upkeep.estimated_rows::bigint
        )
        else format(
            'runs removed or changed %s rows since the last VACUUM', upkeep.removed_since_vacuum
        )
    end as reason,
    greatest(upkeep.dead_rows, upkeep.removed_since_vacuum) as dead_rows,
    maintenance.vacuum_statement(
        object => format('%I.%I', upkeep.schema_name, upkeep.table_name),
        freeze => why.is_old
    ) as statement,
    case
        when bloat.wasted_percent > 10 then format(
            'about %s %% of it is empty or dead: VACUUM makes that space usable again, and gives '
            'back what is at the end', round(bloat.wasted_percent::numeric)
        )
    end as hint,
    facts.xmin_holder as held_by
from maintenance.table_upkeep as upkeep
cross join (
    select
        current_setting('autovacuum_freeze_max_age')::bigint as transactions,
        current_setting('autovacuum_multixact_freeze_max_age')::bigint as multixacts
) as freezing
cross join lateral (
    select
        upkeep.transaction_age > freezing.transactions
        or upkeep.multixact_age > freezing.multixacts as is_urgent,
        upkeep.transaction_age > freezing.transactions / 2
        or upkeep.multixact_age > freezing.multixacts / 2 as is_old,
        upkeep.dead_rows > 50 + 0.2 * upkeep.estimated_rows as is_counted,
        upkeep.removed_since_vacuum > 50 + 0.2 * upkeep.estimated_rows as is_logged
) as why
cross join maintenance.database_facts as facts
left join maintenance.table_bloat as bloat
    on bloat.schema_name = upkeep.schema_name
    and bloat.table_name = upkeep.table_name
where upkeep.kind in ('r', 'm')
  and (why.is_old or why.is_counted or why.is_logged)
order by priority, dead_rows desc, upkeep.schema_name, upkeep.table_name;

revoke all on table maintenance.vacuum_needs from public;

comment on view maintenance.vacuum_needs is
    'Tables that want a VACUUM, the most urgent first, with the statement that does it.';
comment on column maintenance.vacuum_needs.schema_name is 'Schema of the table.';
comment on column maintenance.vacuum_needs.table_name is 'Name of the table, unquoted.';
comment on column maintenance.vacuum_needs.priority is
    '1: autovacuum has to freeze it; 2: soon; 3: dead rows.';
comment on column maintenance.vacuum_needs.reason is 'Why.';
comment on column maintenance.vacuum_needs.dead_rows is
    'Dead rows that the server counted, or rows that our runs removed since: whichever is more.';
comment on column maintenance.vacuum_needs.statement is
    'What to execute, outside any transaction, as the owner of the table.';
comment on column maintenance.vacuum_needs.hint is
    'How much of the table is empty, where that is more than a tenth and known.';
comment on column maintenance.vacuum_needs.held_by is
    'Who keeps the newest dead rows from being removed: see xmin_horizon.';
