-- What the operation analyze executes, what changed most first.

create or replace view maintenance.needed_analyze
with (security_invoker = true)
as
select
    format('%I.%I', needs.schema_name, needs.table_name) as object,
    needs.statement,
    needs.reason,
    true as is_patient
from maintenance.analyze_needs as needs
order by needs.changed_rows desc nulls last;

revoke all on table maintenance.needed_analyze from public;

comment on view maintenance.needed_analyze is 'ANALYZE statements that there is need of.';
comment on column maintenance.needed_analyze.object is 'What the statement is about.';
comment on column maintenance.needed_analyze.statement is 'What to execute.';
comment on column maintenance.needed_analyze.reason is 'Why.';
comment on column maintenance.needed_analyze.is_patient is
    'Whether it may wait for its locks: nobody who reads or writes queues behind it.';
