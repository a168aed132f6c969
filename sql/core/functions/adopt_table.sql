-- Takes over a table that is there, or notes that the script creates it now.
--
-- A script calls this and then says create table if not exists. What does not fit is refused, and
-- so is a database that has the table in another schema: an empty one beside it would help nobody.
-- While scripts are tried beside what is there (maintenance.clean_room), that is not looked for.

create or replace function maintenance.adopt_table(chain text, relation text, needs text[])
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_found pg_catalog.pg_class;
    v_elsewhere regclass;
    v_name text := (parse_ident(adopt_table.relation))[2];
begin
    select class.*
    into v_found
    from pg_catalog.pg_class as class
    where class.oid = to_regclass(adopt_table.relation);

    if v_found.oid is null then
        for v_elsewhere in
            select class.oid::regclass
            from pg_catalog.pg_class as class
            join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
            where class.relname = v_name
              and class.relkind in ('r', 'p')
              and class.relpersistence <> 't'
              and namespace.nspname not in ('pg_catalog', 'information_schema')
              and current_setting('maintenance.clean_room', true) is distinct from 'on'
            order by class.oid::regclass::text
        loop
            begin
                perform maintenance.assert_columns(v_elsewhere, needs);
            exception
                when datatype_mismatch then
                    continue;  -- a table of the same name, and for something else
            end;

            raise exception using
                errcode = 'undefined_table',
                message = format(
                    'there is no table %s, but there is %s', relation, v_elsewhere
                ),
                hint = format(
                    'Application %s tends tables where its own migrations put them. Tend yours by '
                    'policies of your own, or move them: alter table %s set schema %I.',
                    chain, v_elsewhere, (parse_ident(relation))[1]
                );
        end loop;

        insert into maintenance.owned_object (chain, kind, name, origin)
        values (adopt_table.chain, 'table', adopt_table.relation, 'created');
        return;
    end if;

    if v_found.relkind not in ('r', 'p') then
        raise exception using
            errcode = 'wrong_object_type',
            message = format(
                '%s is a %s, and a table is needed',
                relation,
                case v_found.relkind
                    when 'v' then 'view'
                    when 'm' then 'materialized view'
                    when 'f' then 'foreign table'
                    when 'S' then 'sequence'
                    when 'c' then 'composite type'
                    else 'relation of another kind'
                end
            ),
            hint = 'Rename it, or tend the table behind it by policies of your own.';
    end if;

    perform maintenance.assert_columns(v_found.oid::regclass, needs);

    perform maintenance.assert_member(
        owner => v_found.relowner, deed => format('tend %s', relation)
    );

    insert into maintenance.owned_object (chain, kind, name, origin)
    values (adopt_table.chain, 'table', adopt_table.relation, 'adopted');
end;
$function$;

revoke all on function maintenance.adopt_table(text, text, text[]) from public;

comment on function maintenance.adopt_table(text, text, text[]) is
    'Take over a table that has the needed columns, or note that the script creates it.';
