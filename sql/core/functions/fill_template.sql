-- Puts texts where a template has their {{names}}; what is put in is not looked at again.

create or replace function maintenance.fill_template(template text, texts jsonb)
returns text
language sql
immutable
set search_path = pg_catalog, pg_temp
as $function$
    -- Every second piece is a name.
    select string_agg(
        case
            when piece.place % 2 = 1 then piece.text
            else coalesce(texts ->> piece.text, '{{' || piece.text || '}}')
        end,
        '' order by piece.place
    )
    from regexp_split_to_table(template, '\{\{|\}\}') with ordinality as piece (text, place);
$function$;

revoke all on function maintenance.fill_template(text, jsonb) from public;

comment on function maintenance.fill_template(text, jsonb) is
    'Return a template with texts in place of their names in double braces.';
