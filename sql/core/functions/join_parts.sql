-- Makes one cursor of finished parts: it visits again what others held, and ends the step.

create or replace function maintenance.join_parts(cursors jsonb)
returns jsonb
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    select jsonb_build_object(
        'noted', jsonb_path_query_array(join_parts.cursors, '$[*].noted[*]'),
        'again', '[]'::jsonb,
        'pass', 0,
        'after', 4294967295  -- beyond the last oid there can be
    );
$function$;

revoke all on function maintenance.join_parts(jsonb) from public;

comment on function maintenance.join_parts(jsonb) is
    'Return the cursor with which a step goes on when all of its parts are done.';
