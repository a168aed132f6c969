-- Creates the enumeration that a table needs which the script is about to create.
--
-- A table that was found brings its own types, and needs none of ours.

create or replace function maintenance.adopt_enum(
    chain text,
    name text,
    labels text[],
    used_by text,
    comment text
)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_found regtype := to_regtype(adopt_enum.name);
    v_path text[] := parse_ident(adopt_enum.name);
    v_labels text[];
begin
    if not maintenance.is_created(kind => 'table', name => used_by) then
        return;
    end if;

    if v_found is null then
        insert into maintenance.owned_object (chain, kind, name, origin)
        values (adopt_enum.chain, 'type', adopt_enum.name, 'created');

        execute format(
            'create type %I.%I as enum (%s)',
            v_path[1],
            v_path[2],
            (
                select string_agg(quote_literal(label.text), ', ' order by label.position)
                from unnest(labels) with ordinality as label (text, position)
            )
        );
        execute format('comment on type %I.%I is %L', v_path[1], v_path[2], adopt_enum.comment);
        return;
    end if;

    v_labels := array(
        select label.enumlabel::text
        from pg_catalog.pg_enum as label
        where label.enumtypid = v_found
    );

    if not v_labels @> labels then
        raise exception using
            errcode = 'datatype_mismatch',
            message = format(
                'type %s is no enumeration of %s', adopt_enum.name, array_to_string(labels, ', ')
            ),
            detail = format('%s is to be created with it.', used_by),
            hint = 'Rename the type, or create the table yourself.';
    end if;

    insert into maintenance.owned_object (chain, kind, name, origin)
    values (adopt_enum.chain, 'type', adopt_enum.name, 'adopted');
end;
$function$;

revoke all on function maintenance.adopt_enum(text, text, text[], text, text) from public;

comment on function maintenance.adopt_enum(text, text, text[], text, text) is
    'Create an enumeration for a table that the script creates, or take over one that fits.';
