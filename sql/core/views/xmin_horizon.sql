-- Who keeps vacuum from removing dead rows of this database: the oldest first.
--
-- Sessions of other databases do not count, and neither does a vacuum. What sessions of other roles
-- hold is hidden from whoever is no member of pg_read_all_stats: diagnose says so.

create or replace view maintenance.xmin_horizon
with (security_invoker = true)
as
select
    holder.kind,
    holder.name,
    holder.pid,
    holder.role,
    holder.age,
    holder.since
from (
    select
        case activity.backend_type when 'walsender' then 'standby' else 'session' end as kind,
        activity.application_name as name,
        activity.pid,
        activity.usename as role,
        greatest(age(activity.backend_xmin), age(activity.backend_xid))::bigint as age,
        activity.xact_start as since
    from pg_catalog.pg_stat_activity as activity
    where activity.pid <> pg_backend_pid()
      and activity.backend_type <> 'autovacuum worker'
      and (
          activity.datname = current_database()
          or activity.backend_type = 'walsender'
      )
    union all
    select
        'prepared transaction' as kind,
        prepared.gid,
        null as pid,
        prepared.owner,
        age(prepared.transaction),
        prepared.prepared
    from pg_catalog.pg_prepared_xacts as prepared
    where prepared.database = current_database()
    union all
    select
        'replication slot' as kind,
        slot.slot_name,
        slot.active_pid,
        null as role,
        greatest(age(slot.xmin), age(slot.catalog_xmin)),
        (to_jsonb(slot) ->> 'inactive_since')::timestamptz  -- since PostgreSQL 17
    from pg_catalog.pg_replication_slots as slot
) as holder
where holder.age is not null
order by holder.age desc, holder.kind, holder.name;

revoke all on table maintenance.xmin_horizon from public;

comment on view maintenance.xmin_horizon is
    'Who keeps vacuum from removing dead rows: sessions, prepared transactions, slots, standbys.';
comment on column maintenance.xmin_horizon.kind is
    'session, prepared transaction, replication slot, or standby.';
comment on column maintenance.xmin_horizon.name is
    'Name of the application, of the prepared transaction, or of the slot.';
comment on column maintenance.xmin_horizon.pid is 'Its process, where it has one.';
comment on column maintenance.xmin_horizon.role is 'Its role, where it has one.';
comment on column maintenance.xmin_horizon.age is
    'Transactions that were begun since the one it might still want to see.';
comment on column maintenance.xmin_horizon.since is
    'When its transaction began, or its slot was left; null where nobody knows.';
