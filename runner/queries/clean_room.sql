-- What is in schema public, which nothing but scripts has filled. Triggers of sweeps are left out:
-- they have the name that their policy's owner gave them.
select
    case class.relkind when 'v' then 'view' when 'm' then 'materialized view' else 'table' end
        as kind,
    class.oid::regclass::text as name
from pg_class as class
where class.relnamespace = to_regnamespace('public')
  and class.relkind in ('r', 'p', 'v', 'm', 'f')
union all
select 'column', format('%s.%I', class.oid::regclass, attribute.attname)
from pg_attribute as attribute
join pg_class as class on class.oid = attribute.attrelid
where class.relnamespace = to_regnamespace('public')
  and class.relkind in ('r', 'p')
  and attribute.attnum > 0
  and not attribute.attisdropped
union all
select
    case routine.prokind when 'p' then 'procedure' else 'function' end,
    routine.oid::regprocedure::text
from pg_proc as routine
where routine.pronamespace = to_regnamespace('public')
union all
select 'type', type.oid::regtype::text
from pg_type as type
left join pg_class as class on class.oid = type.typrelid
where type.typnamespace = to_regnamespace('public')
  and (type.typtype in ('d', 'e', 'r') or class.relkind = 'c')
union all
select 'trigger', format('%s.%I', class.oid::regclass, trigger.tgname)
from pg_trigger as trigger
join pg_class as class on class.oid = trigger.tgrelid
join pg_proc as routine on routine.oid = trigger.tgfoid
where class.relnamespace = to_regnamespace('public')
  and not trigger.tgisinternal
  and routine.pronamespace = to_regnamespace('public')
