-- What the operation vacuum executes with --all-tables: every table, whether there is need or not.

create or replace view maintenance.every_vacuum
with (security_invoker = true)
as
select
    format('%I.%I', sizes.schema_name, sizes.table_name) as object,
    maintenance.vacuum_statement(
        format('%I.%I', sizes.schema_name, sizes.table_name)
    ) as statement,
    'every table was asked for' as reason,
    true as is_patient
from maintenance.table_sizes as sizes
order by sizes.total_bytes;

revoke all on table maintenance.every_vacuum from public;

comment on view maintenance.every_vacuum is 'VACUUM statements for all tables, the smallest first.';
comment on column maintenance.every_vacuum.object is 'Table.';
comment on column maintenance.every_vacuum.statement is 'What to execute.';
comment on column maintenance.every_vacuum.reason is 'Why.';
comment on column maintenance.every_vacuum.is_patient is
    'That it may wait for its locks: nobody who reads or writes queues behind it.';
