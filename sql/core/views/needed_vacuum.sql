-- What the operation vacuum executes, the most urgent first.

create or replace view maintenance.needed_vacuum
with (security_invoker = true)
as
select
    format('%I.%I', needs.schema_name, needs.table_name) as object,
    needs.statement,
    concat_ws('; ', needs.reason, needs.hint, 'held up by ' || nullif(needs.held_by, 'nobody'))
        as reason,
    true as is_patient
from maintenance.vacuum_needs as needs
order by needs.priority, needs.dead_rows desc nulls last;

revoke all on table maintenance.needed_vacuum from public;

comment on view maintenance.needed_vacuum is 'VACUUM statements that there is need of.';
comment on column maintenance.needed_vacuum.object is 'What the statement is about.';
comment on column maintenance.needed_vacuum.statement is 'What to execute.';
comment on column maintenance.needed_vacuum.reason is 'Why.';
comment on column maintenance.needed_vacuum.is_patient is
    'Whether it may wait for its locks: nobody who reads or writes queues behind it.';
