-- Makes the deferrable constraints of a table and of its partitions fail within the batch, and not
-- at COMMIT, where the batch could no longer say what failed.
--
-- It is the table's owner who does so, and by name: what others deferred in this transaction would
-- else run with our rights. A name that tables of another owner have as well in its schema is left.

create or replace function maintenance.hasten_constraints(relation regclass)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_names text;
begin
    select string_agg(
        distinct format('%I.%I', deferred.connamespace::regnamespace, deferred.conname), ', '
    )
    into v_names
    from pg_catalog.pg_trigger as trigger
    join pg_catalog.pg_constraint as deferred on deferred.oid = trigger.tgconstraint
    join pg_catalog.pg_class as tended on tended.oid = trigger.tgrelid
    where trigger.tgrelid in (
        select part from maintenance.parts_of(hasten_constraints.relation) as part
    )
      and trigger.tgdeferrable
      and not exists (
          select
          from pg_catalog.pg_constraint as namesake
          join pg_catalog.pg_class as class on class.oid = namesake.conrelid
          where namesake.conname = deferred.conname
            and namesake.connamespace = deferred.connamespace
            and class.relowner <> tended.relowner
      );

    if v_names is not null then
        perform maintenance.run_as_owner(
            hasten_constraints.relation,
            format('set constraints %s immediate', v_names),
            answers => false
        );
    end if;
end;
$function$;

revoke all on function maintenance.hasten_constraints(regclass) from public;

comment on function maintenance.hasten_constraints(regclass) is
    'Have the deferrable constraints of a table checked at once in this transaction.';
