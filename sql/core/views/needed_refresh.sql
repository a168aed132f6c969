-- What the operation views executes: those that others read come first.

create or replace view maintenance.needed_refresh
with (security_invoker = true)
as
select
    format('%I.%I', refreshing.schema_name, refreshing.view_name) as object,
    refreshing.statement,
    case
        when refreshing.is_concurrent then 'readers go on meanwhile'
        else concat_ws('; ', 'it locks readers out: ' || refreshing.lock, refreshing.proposed_index)
    end as reason,
    refreshing.is_concurrent as is_patient
from maintenance.refresh_order as refreshing
order by refreshing.place;

revoke all on table maintenance.needed_refresh from public;

comment on view maintenance.needed_refresh is
    'REFRESH statements of all materialized views, in their order.';
comment on column maintenance.needed_refresh.object is 'What the statement is about.';
comment on column maintenance.needed_refresh.statement is 'What to execute.';
comment on column maintenance.needed_refresh.reason is 'Why.';
comment on column maintenance.needed_refresh.is_patient is
    'Whether it may wait for its locks: nobody who reads or writes queues behind it.';
