-- Puts the next batch of a step's rows back, and keeps the log, in the transaction of the caller.
-- is_done comes with the reason, and close_step with that reason is what follows.
--
-- The walk goes archive by archive, backwards along the blocks in which the step left rows: what
-- went last comes first, as a row goes only after what refers to it. Rows are locked where nobody
-- else holds them, and put back in as many statements as there is time for.
--
-- Rows that refer to what is not there are left for another walk. Rows of one table may refer to
-- one another across batches, so a walk that came to nothing is followed by one with larger batches
-- than were asked for, and at last by one that tries row by row, and says which of them cannot come
-- back. What others hold, or have moved behind the walk, is tried three times more, with growing
-- pauses. At its end the archives are asked what is still there: that is the truth of the log.

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
as $function$
#variable_conflict use_variable
declare
    c_logged constant integer := 100;
    c_largest constant integer := 1000;  -- times batch_size
    c_passes constant integer := 3;
    c_waits constant integer := 25;  -- in a row: who holds the table holds every row
    v_began timestamptz := clock_timestamp();
    v_cursor jsonb := '{"scale": 1, "pass": 0}' || coalesce(cursor, '{}');
    v_scale integer := least((v_cursor ->> 'scale')::integer, c_largest);  -- 0: row by row
    v_pass integer := (v_cursor ->> 'pass')::integer;
    v_size integer := batch_size * greatest(v_scale, 1);
    v_step maintenance.run_step;
    v_pair record;
    v_leaf regclass;
    v_edges jsonb;
    v_mine text;
    v_low text;
    v_pace integer;
    v_limit integer;
    v_is_proved boolean;
    v_seen bigint;
    v_taken tid[];
    v_done record;
    v_conflicts jsonb := '[]'::jsonb;
    v_left bigint;
    v_orphans bigint;
begin
    restored := 0;
    is_done := false;
    v_cursor := jsonb_build_object(
        'place', 1, 'after', 0, 'restored', 0, 'orphans', 0, 'refused', 0, 'waits', 0,
        'span', 16 * greatest(v_scale, 1), 'pace', v_size, 'dense', 300
    ) || v_cursor;

    if batch_size not between 1 and 100000 then
        raise exception using
            errcode = 'invalid_parameter_value',
            message = format('batch_size must be between 1 and 100000, not %s', batch_size);
    end if;

    perform maintenance.hold_lease(step, token);
    perform maintenance.assert_adopted();
    perform maintenance.assert_read_committed();

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
    select undone.source, undone.archive, undone.of_waiting
    into v_pair
    from maintenance.undo_archives(v_step.undoes) as undone
    where undone.place = (v_cursor ->> 'place')::bigint
      and (v_cursor ->> 'waits')::integer < c_waits;

    if not found then
        v_left := maintenance.count_archived(v_step.undoes);
        v_orphans := (v_cursor ->> 'orphans')::bigint;

        if v_left > 0 and v_orphans > 0 and v_cursor -> 'restored' <> '0' then
            next_cursor := jsonb_build_object('scale', greatest(v_scale, 1), 'pass', v_pass);
        elsif v_left > 0 and v_orphans > 0 and v_scale > 0 then
            next_cursor := jsonb_build_object(
                'scale', case when v_scale < c_largest then v_scale * 10 else 0 end,
                'pass', v_pass
            );
        elsif v_left > v_orphans + (v_cursor ->> 'refused')::bigint and v_pass < c_passes then
            perform pg_sleep(0.25 * 2 ^ v_pass);
            next_cursor := jsonb_build_object('scale', 0, 'pass', v_pass + 1);
        end if;

        if next_cursor is not null then
            update maintenance.run_step as logged
            set conflicts = null
            where logged.id = step;
            return;
        end if;

        is_done := true;
        exit_reason := case
            when v_left > 0 then 'incomplete'
            when v_step.restored = 0 then 'nothing_to_do'
            else 'exhausted'
        end;
        message := case
            when v_left > 0 then
                format('%s rows stay in the archive: %s', v_left,
                    coalesce(v_step.conflicts -> 0 ->> 'message', 'others hold them'))
        end;

        update maintenance.run_step as logged
        set left_over = v_left
        where logged.id = step;
        return;
    end if;

    perform maintenance.hasten_constraints(v_pair.source);
    v_leaf := (v_cursor ->> 'leaf')::oid::regclass;

    -- A file that was rewritten has its rows elsewhere. A cursor comes from outside.
    if v_leaf is not null
       and (
           pg_relation_filenode(v_leaf) is distinct from (v_cursor ->> 'file')::oid
           or v_leaf not in (select leaf from maintenance.leaves_of(v_pair.archive) as leaf)
       )
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
            v_left := case
                when v_pair.of_waiting is not null then
                    maintenance.count_archived(v_step.undoes, v_pair.archive, v_pair.of_waiting)
                else 0
            end;
            next_cursor := v_cursor || jsonb_build_object(
                'place', (v_cursor ->> 'place')::bigint + 1, 'after', 0,
                'refused', (v_cursor ->> 'refused')::bigint + v_left
            );

            update maintenance.run_step as logged
            set conflicts = coalesce(logged.conflicts, '[]') || jsonb_build_object(
                'relation', v_pair.source,
                'archive', v_pair.archive,
                'key', '{}'::jsonb,
                'message', format('%s rows went with rows that are in the archive still', v_left),
                'sqlstate', '23503'
            )
            where logged.id = step
              and v_left > 0
              and jsonb_array_length(coalesce(logged.conflicts, '[]')) < c_logged;
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

    v_mine := format('target._archived_by_step = %s', v_step.undoes)
        || coalesce(' and not (' || v_pair.of_waiting || ')', '');

    -- 2. Its rows, put back: those of some blocks, at most so many. While rows are tried one by
    -- one, no more of them are locked than there will be time for.
    v_low := format(
        '(%s,0)',
        greatest(
            ((v_cursor ->> 'at')::point)[0] - (v_cursor ->> 'span')::bigint,
            (v_cursor ->> 'end')::bigint
        )
    );
    v_pace := least((v_cursor ->> 'pace')::integer, v_size);
    v_limit := least(v_size, v_pace * 100::bigint)::integer;
    v_is_proved := exists (
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
    );

    -- What nobody has refused so far goes at once, if that is no more than a batch: a page has less
    -- than 300 rows, or about as many as those before. Else rows are locked first, and tried as
    -- time allows.
    if v_scale > 0
       and v_pace = v_size
       and (v_cursor ->> 'span')::numeric * (v_cursor ->> 'dense')::numeric <= v_size
    then
        begin
            v_seen := maintenance.move_back(
                v_pair.source,
                maintenance.undo_statement(
                    v_pair.source,
                    v_pair.archive,
                    v_leaf,
                    format(
                        'target.ctid >= %L and target.ctid < %L and %s',
                        v_low, v_cursor ->> 'at', v_mine
                    ),
                    v_is_proved
                ),
                taken => null,
                is_proved => v_is_proved
            );

            if v_seen > v_size then
                raise exception using errcode = 'program_limit_exceeded';
            end if;

            restored := v_seen;
        exception
            when program_limit_exceeded then
                v_seen := null;
            when others then
                if not maintenance.is_of_rows(sqlstate) then
                    raise;
                end if;
        end;
    end if;

    if v_seen is null then
        select array_agg(found.value::tid order by found.ordinality)
        into v_taken
        from jsonb_array_elements_text(
            maintenance.run_as_owner(
                v_pair.source,
                format(
                    'select coalesce(jsonb_agg(found.row::text order by found.row), ''[]'') from ('
                    'select target.ctid from only %s as target where target.ctid >= %L '
                    'and target.ctid < %L and %s '
                    'order by target.ctid desc limit $1 for update skip locked) as found (row)',
                    v_leaf, v_low, v_cursor ->> 'at', v_mine
                ),
                size => v_limit
            )
        ) with ordinality as found;

        v_seen := coalesce(cardinality(v_taken), 0)::bigint;
    end if;

    if v_taken is not null then
        v_done := maintenance.put_back(
            v_pair.source,
            v_pair.archive,
            v_leaf,
            v_taken,
            is_proved => v_is_proved,
            postpones => v_scale > 0,
            until => v_began + time_goal * greatest(v_scale, 1),
            pace => v_pace
        );
        restored := v_done.restored;
        v_conflicts := v_done.conflicts;
        v_cursor := v_cursor || jsonb_build_object(
            'orphans', (v_cursor ->> 'orphans')::bigint + v_done.orphans,
            'refused', (v_cursor ->> 'refused')::bigint + v_done.refused,
            'waits', case
                when restored > 0 then 0
                else (v_cursor ->> 'waits')::integer + v_done.waits
            end,
            'pace', least(v_done.pace, v_size)
        );

        if v_done.untried = v_seen then
            v_low := v_cursor ->> 'at';
        elsif v_done.untried > 0 or v_seen = v_limit then
            v_low := v_taken[v_done.untried + 1]::text;
        end if;
    end if;

    update maintenance.run_step as logged
    set
        restored = logged.restored + undo_batch.restored,
        batches = logged.batches + case when undo_batch.restored > 0 then 1 else 0 end,
        longest_batch = greatest(
            logged.longest_batch,
            case when v_seen > 0 then clock_timestamp() - v_began end
        ),
        heartbeat_at = clock_timestamp(),
        conflicts = (
            select jsonb_agg(listed.value order by listed.ordinality)
            from jsonb_array_elements(coalesce(logged.conflicts, '[]') || v_conflicts)
                with ordinality as listed
            where listed.ordinality <= c_logged
        )
    where logged.id = step;

    -- 3. Where the next batch goes on: over as many blocks as the goal and the batch allow, but no
    -- more than twice as many as now.
    next_cursor := v_cursor || jsonb_build_object(
        'at', v_low,
        'restored', (v_cursor ->> 'restored')::bigint + restored,
        'dense', case
            when v_seen = 0 then (v_cursor ->> 'dense')::numeric
            else ceil(v_seen / (v_cursor ->> 'span')::numeric)
        end,
        'span', greatest(
            round(
                (v_cursor ->> 'span')::bigint * least(
                    greatest(
                        extract(epoch from time_goal) * greatest(v_scale, 1)
                        / greatest(extract(epoch from clock_timestamp() - v_began), 0.0001),
                        0.5
                    ),
                    0.9 * v_limit / nullif(v_seen, 0),
                    2
                )
            ),
            1
        )
    );

    if v_low = format('(%s,0)', v_cursor ->> 'end') then
        next_cursor := next_cursor - array['leaf', 'file', 'at', 'end']
            || jsonb_build_object('after', v_leaf::oid::bigint);
    end if;
end;
$function$;

revoke all on function maintenance.undo_batch(bigint, bigint, jsonb, integer, interval)
    from public;

comment on function maintenance.undo_batch(bigint, bigint, jsonb, integer, interval) is
    'Put the next rows of a step that is being undone back; returns how many, and whether all.';
