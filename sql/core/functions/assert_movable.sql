-- Refuses a table whose rows could not be moved out of it or into it exactly, or not by the caller.
--
-- event is delete or insert. A trigger, a rule or a foreign key could keep a row, change it, or
-- take others along; a generated column would be computed again. Asked under the lock of the move.

create or replace function maintenance.assert_movable(relation regclass, event text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_obstacle text;
begin
    perform maintenance.assert_adopted();
    perform maintenance.assert_owner(assert_movable.relation);

    if not exists (
        select
        from pg_catalog.pg_class as class
        where class.oid = assert_movable.relation
          and class.relkind in ('r', 'p')
          and class.relpersistence <> 't'
    ) then
        raise exception using
            errcode = 'wrong_object_type',
            message = format('%s is not a table that rows can be moved out of or into', relation),
            hint = 'Name an archive: maintenance.archive_status lists them.';
    end if;

    select found.obstacle
    into v_obstacle
    from (
        select 1, format('trigger %I on %s', trigger.tgname, part)
        from maintenance.parts_of(assert_movable.relation) as part
        join pg_catalog.pg_trigger as trigger on trigger.tgrelid = part
        where not trigger.tgisinternal
          and trigger.tgenabled <> 'D'
          and trigger.tgtype & case event when 'delete' then 8 else 4 end <> 0
        union all
        select 2, format('rule %I on %s', rule.rulename, part)
        from maintenance.parts_of(assert_movable.relation) as part
        join pg_catalog.pg_rewrite as rule on rule.ev_class = part
        where rule.ev_type = case event when 'delete' then '4' else '3' end
        union all
        select 3, format('foreign key %I of %s', referring.conname, referring.conrelid::regclass)
        from maintenance.parts_of(assert_movable.relation) as part
        join pg_catalog.pg_constraint as referring
            on referring.confrelid = part and referring.contype = 'f'
        where event = 'delete'
        union all
        select 4, format('forced row-level security on %s', part)
        from maintenance.parts_of(assert_movable.relation) as part
        join pg_catalog.pg_class as class on class.oid = part
        where class.relrowsecurity
          and class.relforcerowsecurity
        union all
        select 5, format('generated column %I of %s', attribute.attname, relation)
        from pg_catalog.pg_attribute as attribute
        where attribute.attrelid = assert_movable.relation
          and attribute.attgenerated <> ''
          and not attribute.attisdropped
        union all
        select 6, format('%s, which is no plain table', part)
        from maintenance.parts_of(assert_movable.relation) as part
        join pg_catalog.pg_class as class on class.oid = part
        where class.relkind not in ('r', 'p')
        order by 1, 2
        limit 1
    ) as found (place, obstacle);

    if v_obstacle is not null then
        raise exception using
            errcode = 'object_not_in_prerequisite_state',
            message = format('rows of %s cannot be moved exactly as they are', relation),
            detail = format('In the way: %s.', v_obstacle),
            hint = 'Take it away, or switch it off, while rows are moved.';
    end if;
end;
$function$;

revoke all on function maintenance.assert_movable(regclass, text) from public;

comment on function maintenance.assert_movable(regclass, text) is
    'Raise an error unless the caller may move rows of a table, and they move exactly.';
