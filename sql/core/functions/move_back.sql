-- Carries out a statement that puts rows of an archive back into their table (see undo_statement),
-- and says how many it were; an error where the table refuses one of them, or one would not come
-- back as it went.

create or replace function maintenance.move_back(
    source regclass,
    statement text,
    taken tid[],
    is_proved boolean
)
returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_answer jsonb := maintenance.run_as_owner(source, statement, taken => taken);
    v_stayed bigint;
    v_message text;
begin
    if is_proved then
        select coalesce(
            sum(
                maintenance.run_as_owner(
                    source,
                    format(
                        'select to_jsonb(count(*)) from only %s as target '
                        'where target.ctid = any ($2)',
                        part.key::oid::regclass
                    ),
                    taken => array(select jsonb_array_elements_text(part.value)::tid)
                )::bigint
            ),
            0
        )::bigint
        into v_stayed
        from jsonb_each(v_answer -> 'parts') as part;
    end if;

    v_message := case
        when v_answer ->> 'put' <> v_answer ->> 'taken'
            or v_stayed < (v_answer ->> 'put')::bigint
        then
            'a trigger of the table keeps it out'
        when v_answer ->> 'homeless' <> '0' then
            'it has a value in a column that the table has no more'
        when v_answer ->> 'changed' <> '0' then
            'it would come back changed, by a trigger or a generated column'
    end;

    if v_message is not null then
        raise exception using
            errcode = 'triggered_action_exception',
            message = v_message;
    end if;

    return (v_answer ->> 'taken')::bigint;
end;
$function$;

revoke all on function maintenance.move_back(regclass, text, tid[], boolean) from public;

comment on function maintenance.move_back(regclass, text, tid[], boolean) is
    'Put rows of an archive back into their table, and prove that they are there as they were.';
