-- Puts the next batch of a step's rows back, and keeps the log, in the transaction of the caller.
-- is_done comes with the reason, and close_step with that reason is what follows.
--
-- The walk goes archive by archive, backwards along the blocks in which the step left rows: what
-- went last comes first, as a row goes only after what refers to it. A batch that refers to what is
-- not there is left for another walk. Rows of one table may refer to one another across batches, so
-- a walk that came to nothing is followed by one with larger batches than were asked for, and at
-- last by one that tries row by row, and says which of them cannot come back.

create or replace function maintenance.undo_batch(
    step bigint,
    token bigint,
    cursor jsonb default null,
    batch_size integer default 10000,
    time_goal interval default '50 ms',
    out restored bigint,
    out is_done boolean,
    out exit_reason text,
    out message text,
    out next_cursor jsonb
)
language plpgsql
security definer  -- operators need no right on the table: see install_executor
set search_path = pg_catalog, pg_temp
set lock_timeout = '20ms'  -- to see how large a table is takes a lock as well
as $function$
#variable_conflict use_variable
declare
    c_logged constant integer := 100;
    v_began timestamptz := clock_timestamp();
    c_largest constant integer := 1000;  -- times batch_size
    v_cursor jsonb := coalesce(cursor, '{"scale": 1}');
    v_scale integer := (v_cursor ->> 'scale')::integer;  -- 0: row by row
    v_size integer := batch_size * greatest(v_scale, 1);
    v_step maintenance.run_step;
    v_pair record;
    v_leaf regclass;
    v_edges jsonb;
    v_low text;
    v_taken tid[];
    v_done record;
    v_pace numeric := 2;  -- what is empty is passed faster and faster
begin
    restored := 0;
    is_done := false;
    v_cursor := jsonb_build_object(
        'place', 1, 'after', 0, 'restored', 0, 'postponed', 0, 'orphans', 0,
        'span', 16 * greatest(v_scale, 1)
    ) || v_cursor;

    if batch_size not between 1 and 100000 then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('batch_size must be between 1 and 100000, not %s', batch_size);
    end if;

    perform maintenance.hold_lease(step, token);
    perform maintenance.assert_adopted();

    select opened.*
    into strict v_step
    from maintenance.run_step as opened
    where opened.id = step
      and opened.action = 'undo';

    if maintenance.pause_reason() is not null or exists (
        select
        from maintenance.run as run
        where run.id = v_step.run
          and run.is_stop_requested
    ) then
        is_done := true;
        exit_reason := 'stopped';
        message := coalesce(maintenance.pause_reason(), 'somebody asked it to stop');
        return;
    end if;

    -- 1. Which archive, and which part of it.
    select undone.source, undone.archive
    into v_pair
    from maintenance.undo_archives(v_step.undoes) as undone
    where undone.place = (v_cursor ->> 'place')::bigint;

    if not found then
        if v_cursor -> 'postponed' <> '0'
           or (v_cursor -> 'restored' <> '0' and v_cursor -> 'orphans' <> '0')
        then
            update maintenance.run_step as logged
            set left_over = 0, conflicts = null
            where logged.id = step;

            next_cursor := jsonb_build_object(
                'scale', case
                    when v_cursor -> 'restored' <> '0' then greatest(v_scale, 1)
                    when v_scale < c_largest then v_scale * 10
                    else 0
                end
            );
            return;
        end if;

        is_done := true;
        exit_reason := case
            when v_step.left_over > 0 then 'incomplete'
            when v_step.restored = 0 then 'nothing_to_do'
            else 'exhausted'
        end;
        message := case
            when v_step.left_over > 0 then
                format('%s rows stay in the archive: %s', v_step.left_over,
                    v_step.conflicts -> 0 ->> 'message')
        end;
        return;
    end if;

    perform maintenance.hasten_constraints(v_pair.source);
    v_leaf := (v_cursor ->> 'leaf')::oid::regclass;

    -- A file that was rewritten has its rows elsewhere.
    if v_leaf is not null
       and pg_relation_filenode(v_leaf) is distinct from (v_cursor ->> 'file')::oid
    then
        v_cursor := v_cursor - 'leaf'
            || jsonb_build_object('after', greatest(v_leaf::oid::bigint - 1, 0));
        v_leaf := null;
    end if;

    if v_leaf is null then
        select leaf
        into v_leaf
        from maintenance.leaves_of(v_pair.archive) as leaf
        where leaf::oid::bigint > (v_cursor ->> 'after')::bigint
        order by leaf::oid
        limit 1;

        if v_leaf is null then
            next_cursor := v_cursor || jsonb_build_object(
                'place', (v_cursor ->> 'place')::bigint + 1, 'after', 0
            );
            return;
        end if;

        v_edges := maintenance.run_as_owner(
            v_pair.source,
            format(
                'select jsonb_build_object(''first'', min(target.ctid)::text, '
                '''last'', max(target.ctid)::text) from only %s as target '
                'where target._archived_by_step = %s',
                v_leaf, v_step.undoes
            )
        );

        if v_edges -> 'first' = 'null' then
            next_cursor := v_cursor || jsonb_build_object('after', v_leaf::oid::bigint);
            return;
        end if;

        v_cursor := v_cursor || jsonb_build_object(
            'leaf', v_leaf::oid::bigint,
            'file', pg_relation_filenode(v_leaf)::bigint,
            'at', format('(%s,0)', ((v_edges ->> 'last')::point)[0] + 1),  -- written like a point
            'end', ((v_edges ->> 'first')::point)[0]
        );
    end if;

    -- 2. Its rows, put back: those of some blocks, at most so many.
    v_low := format(
        '(%s,0)',
        greatest(
            ((v_cursor ->> 'at')::point)[0] - (v_cursor ->> 'span')::bigint,
            (v_cursor ->> 'end')::bigint
        )
    );

    select array_agg(found.value::tid order by found.ordinality)
    into v_taken
    from jsonb_array_elements_text(
        maintenance.run_as_owner(
            v_pair.source,
            format(
                'select coalesce(jsonb_agg(found.row::text order by found.row), ''[]'') from ('
                'select target.ctid from only %s as target where target.ctid >= %L '
                'and target.ctid < %L and target._archived_by_step = %s) as found (row)',
                v_leaf, v_low, v_cursor ->> 'at', v_step.undoes
            )
        )
    ) with ordinality as found;

    if cardinality(v_taken) > v_size then
        v_taken := v_taken[cardinality(v_taken) - v_size + 1:];
        v_low := v_taken[1]::text;
    end if;

    if v_taken is not null then
        v_done := maintenance.put_back(
            v_pair.source,
            v_pair.archive,
            v_leaf,
            v_taken,
            is_proved => exists (
                select
                from pg_catalog.pg_trigger as trigger
                join maintenance.parts_of(v_pair.source) as part on part = trigger.tgrelid
                where not trigger.tgisinternal
                  and trigger.tgtype & 4 <> 0  -- on insert
                union all
                select
                from pg_catalog.pg_attribute as attribute
                where attribute.attrelid = v_pair.source
                  and attribute.attgenerated <> ''
            ),
            postpones => v_scale > 0
        );
        restored := v_done.restored;
        v_cursor := v_cursor || jsonb_build_object(
            'restored', (v_cursor ->> 'restored')::bigint + restored,
            'postponed', (v_cursor ->> 'postponed')::bigint + v_done.postponed,
            'orphans', (v_cursor ->> 'orphans')::bigint + jsonb_array_length(
                -- foreign_key_violation
                jsonb_path_query_array(v_done.conflicts, '$[*] ? (@.sqlstate == "23503")')
            )
        );
        v_pace := least(
            greatest(
                extract(epoch from time_goal) * greatest(v_scale, 1)
                / greatest(extract(epoch from clock_timestamp() - v_began), 0.0001),
                0.5
            ),
            0.9 * v_size / cardinality(v_taken),
            2
        );

        update maintenance.run_step as logged
        set
            restored = logged.restored + v_done.restored,
            batches = logged.batches + case when v_done.restored > 0 then 1 else 0 end,
            longest_batch = greatest(logged.longest_batch, clock_timestamp() - v_began),
            left_over = coalesce(logged.left_over, 0) + jsonb_array_length(v_done.conflicts),
            conflicts = (
                select jsonb_agg(listed.value order by listed.ordinality)
                from jsonb_array_elements(coalesce(logged.conflicts, '[]') || v_done.conflicts)
                    with ordinality as listed
                where listed.ordinality <= c_logged
            )
        where logged.id = step;
    end if;

    -- 3. Where the next batch goes on.
    next_cursor := v_cursor || jsonb_build_object(
        'at', v_low,
        'span', least(greatest(round((v_cursor ->> 'span')::bigint * v_pace), 1), 100000)
    );

    if v_low = format('(%s,0)', v_cursor ->> 'end') then
        next_cursor := next_cursor - array['leaf', 'file', 'at', 'end']
            || jsonb_build_object('after', v_leaf::oid::bigint);
    end if;

    update maintenance.run_step as logged
    set heartbeat_at = clock_timestamp()
    where logged.id = step;
end;
$function$;

revoke all on function maintenance.undo_batch(bigint, bigint, jsonb, integer, interval)
    from public;

comment on function maintenance.undo_batch(bigint, bigint, jsonb, integer, interval) is
    'Put the next rows of a step that is being undone back; returns how many, and whether all.';
