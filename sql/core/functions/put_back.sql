-- Puts rows of an archive back into their table, all of them or all but those that it refuses.
--
-- Where one of many is refused, halves are tried, down to single rows. A row that the table refuses
-- stays in the archive: its key is taken again, what it refers to is gone, a constraint or a
-- trigger is against it, or it would not come back as it went. Nothing is overwritten.
--
-- postpones leaves rows together that one of them is refused with for want of what it refers to: it
-- may come back after them.

create or replace function maintenance.put_back(
    source regclass,
    archive regclass,
    leaf regclass,
    taken tid[],
    is_proved boolean,
    postpones boolean,
    out restored bigint,
    out postponed bigint,
    out conflicts jsonb
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_half integer := cardinality(taken) / 2;
    v_answer jsonb;
    v_stayed bigint;
    v_refused jsonb;
    v_done record;
begin
    postponed := 0;
    conflicts := '[]';

    begin
        v_answer := maintenance.run_as_owner(
            source, maintenance.undo_statement(source, archive, leaf, is_proved), taken => taken
        );
        restored := (v_answer ->> 'taken')::bigint;

        if is_proved then
            select sum(
                maintenance.run_as_owner(
                    source,
                    format(
                        'select to_jsonb(count(*)) from only %s as target '
                        'where target.ctid = any ($2)',
                        part.key
                    ),
                    taken => array(select jsonb_array_elements_text(part.value)::tid)
                )::bigint
            )
            into v_stayed
            from jsonb_each(v_answer -> 'parts') as part;
        end if;

        v_refused := case
            when v_answer ->> 'put' <> v_answer ->> 'taken' or v_stayed < restored then
                '"a trigger or a rule of the table keeps it out"'::jsonb
            when v_answer ->> 'homeless' <> '0' then
                '"it has a value in a column that the table has no more"'::jsonb
            when v_answer ->> 'changed' <> '0' then
                '"it would come back changed, by a trigger or a generated column"'::jsonb
        end;

        if v_refused is null then
            return;
        end if;

        raise exception using
            errcode = 'triggered_action_exception',
            message = v_refused #>> '{}';
    exception
        when foreign_key_violation then
            if postpones then
                restored := 0;
                postponed := cardinality(taken);
                return;
            end if;

            v_refused := jsonb_build_object('message', sqlerrm, 'sqlstate', sqlstate);
        when others then
            -- Of the statement, the server or the session, and not of a row.
            if sqlstate ~ '^(42|53|54|57|58|F0|XX|40001|55(?!P03))' then
                raise;
            end if;

            v_refused := jsonb_build_object('message', sqlerrm, 'sqlstate', sqlstate);
    end;

    if cardinality(taken) > 1 then
        restored := 0;

        -- The last that went come back first.
        for v_done in
            select done.*
            from (values (taken[v_half + 1:]), (taken[:v_half])) as half (rows)
            cross join lateral maintenance.put_back(
                source, archive, leaf, half.rows, is_proved, postpones
            ) as done
        loop
            restored := restored + v_done.restored;
            postponed := postponed + v_done.postponed;
            conflicts := conflicts || v_done.conflicts;
        end loop;

        return;
    end if;

    restored := 0;
    conflicts := jsonb_build_array(
        jsonb_build_object(
            'relation', source,
            'archive', archive,
            'key', coalesce(
                (
                    select maintenance.run_as_owner(
                        source,
                        format(
                            'select to_jsonb(found) from (select %s from only %s as target '
                            'where target.ctid = any ($2)) as found',
                            string_agg(format('target.%I', key.name), ', ' order by key.place),
                            leaf
                        ),
                        taken => taken
                    )
                    from unnest(maintenance.primary_key_of(source))
                        with ordinality as key (name, place)
                    having count(*) > 0
                ),
                jsonb_build_object('ctid', taken[1]::text)
            )
        )
        || v_refused
    );
end;
$function$;

revoke all on function maintenance.put_back(regclass, regclass, regclass, tid[], boolean, boolean)
    from public;

comment on function maintenance.put_back(regclass, regclass, regclass, tid[], boolean, boolean) is
    'Move rows of an archive back into their table, and say which ones it refuses, and why.';
