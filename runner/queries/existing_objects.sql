-- Which of the objects that the scripts would create exist already: kinds[i], names[i] as given.
select wanted.kind, wanted.name
from unnest(%(kinds)s::text[], %(names)s::text[]) as wanted (kind, name)
where case
    when wanted.kind in ('table', 'view', 'materialized view')
        then to_regclass(wanted.name) is not null or to_regtype(wanted.name) is not null
    when wanted.kind = 'type' then to_regtype(wanted.name) is not null
    when wanted.kind in ('function', 'procedure') then exists (
        select
        from pg_proc as routine
        where routine.pronamespace = to_regnamespace(split_part(wanted.name, '.', 1))
          and routine.proname = split_part(wanted.name, '.', 2)
    )
    when wanted.kind = 'trigger' then exists (
        select
        from pg_trigger as installed
        where installed.tgname = split_part(wanted.name, '.', 3)
          and installed.tgrelid = to_regclass(
              split_part(wanted.name, '.', 1) || '.' || split_part(wanted.name, '.', 2)
          )
    )
    else false
end
order by array_position(
    array['table', 'view', 'materialized view', 'type', 'function', 'procedure'], wanted.kind
), wanted.name
