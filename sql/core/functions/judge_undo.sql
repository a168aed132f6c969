-- Judges whether a step can be undone: how many of its rows are in archives, and if none can be put
-- back, why. See plan_undo, which asks of each step of a run.

create or replace function maintenance.judge_undo(
    undone maintenance.run_step,
    out waiting bigint,
    out verdict text,
    out reason text
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_in_files text;
begin
    waiting := 0;
    verdict := 'cannot';
    reason := case
        when undone.action = 'undo' then
            'it is an undo itself: the next run of the policy archives the rows again'
        when undone.removed = 0 then 'it removed no rows'
        when undone.action = 'delete' then
            format('it deleted %s rows, and kept none of them', undone.removed)
        when undone.action = 'set' then
            format('it changed %s rows in place, and kept nothing of what they were',
                undone.removed)
        else (
            select problem
            from maintenance.undo_archives(undone.id) as moved
            cross join lateral maintenance.find_undo_problem(moved.source, moved.archive) as problem
            where problem is not null
            order by moved.place
            limit 1
        )
    end;

    if undone.removed = 0 and undone.action <> 'undo' then
        verdict := 'nothing';
    end if;

    if reason is not null then
        return;
    end if;

    waiting := maintenance.count_archived(undone.id);

    v_in_files := case
        when exists (
            select
            from maintenance.archive_file as file
            where undone.id = any (file.steps)
              and file.imported_at is null
        )
            then 'rows of it are in files: "runner archive list --files" names them'
    end;

    if waiting = 0 then
        verdict := 'nothing';
        reason := coalesce(v_in_files, 'nothing of it is in its archive any more');
        return;
    end if;

    verdict := 'ready';
    reason := nullif(
        concat_ws(
            '; ',
            case
                when waiting < undone.removed + undone.dependents then
                    format('of %s rows that went, %s are in archives',
                        undone.removed + undone.dependents, waiting)
            end,
            v_in_files,
            case
                when undone.cascaded > 0 then
                    format('foreign keys deleted %s more, and they are gone', undone.cascaded)
            end
        ),
        ''
    );
end;
$function$;

revoke all on function maintenance.judge_undo(maintenance.run_step) from public;

comment on function maintenance.judge_undo(maintenance.run_step) is
    'Judge whether a step can be undone: ready, nothing or cannot; and why.';
