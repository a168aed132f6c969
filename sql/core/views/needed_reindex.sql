-- What the operation reindex executes, what gives back most first.

create or replace view maintenance.needed_reindex
with (security_invoker = true)
as
select
    format('%I.%I', needs.schema_name, needs.index_name) as object,
    needs.statement,
    needs.reason,
    true as is_patient
from maintenance.reindex_needs as needs
order by needs.gives_back_bytes desc nulls last;

revoke all on table maintenance.needed_reindex from public;

comment on view maintenance.needed_reindex is
    'Statements that rebuild or drop indexes which need it.';
comment on column maintenance.needed_reindex.object is 'What the statement is about.';
comment on column maintenance.needed_reindex.statement is 'What to execute.';
comment on column maintenance.needed_reindex.reason is 'Why.';
comment on column maintenance.needed_reindex.is_patient is
    'Whether it may wait for its locks: nobody who reads or writes queues behind it.';
