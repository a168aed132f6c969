-- Says of each step of a run what undoing it would put back, and why not where it cannot. Steps
-- come in the order in which they are undone: the last one first.
--
-- verdict: ready; nothing, where there is nothing to put back; cannot.

create or replace function maintenance.plan_undo(run bigint)
returns table (
    step bigint,
    policy text,
    relation text,
    action text,
    removed bigint,
    waiting bigint,
    verdict text,
    reason text
)
language plpgsql
security definer  -- operators need no right on the tables: see install_executor
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
declare
    v_step maintenance.run_step;
    v_pair record;
begin
    if not exists (select from maintenance.run as known where known.id = plan_undo.run) then
        raise exception using
            errcode = 'undefined_object',
            message = format('there is no run %s', coalesce(plan_undo.run::text, 'null')),
            hint = 'maintenance.run_history has the runs.';
    end if;

    for v_step in
        select known.*
        from maintenance.run_step as known
        where known.run = plan_undo.run
        order by known.id desc
    loop
        step := v_step.id;
        policy := v_step.policy;
        relation := v_step.relation;
        action := v_step.action;
        removed := v_step.removed;
        waiting := 0;
        verdict := 'cannot';
        reason := case
            when v_step.action = 'undo' then
                'it is an undo itself: the next run of the policy archives the rows again'
            when v_step.removed = 0 then 'it removed no rows'
            when v_step.action = 'delete' then
                format('it deleted %s rows, and kept none of them', v_step.removed)
            when v_step.action = 'set' then
                format('it changed %s rows in place, and kept nothing of what they were',
                    v_step.removed)
        end;

        if v_step.removed = 0 and v_step.action <> 'undo' then
            verdict := 'nothing';
        end if;

        if reason is not null then
            return next;
            continue;
        end if;

        for v_pair in
            select undone.archive, undone.source, undone.place, problem.text
            from maintenance.undo_archives(v_step.id) as undone
            cross join lateral (
                select maintenance.find_undo_problem(undone.source, undone.archive)
            ) as problem (text)
            order by undone.place
        loop
            reason := v_pair.text;
            exit when reason is not null;

            waiting := waiting + (
                select sum(
                    maintenance.run_as_owner(
                        v_pair.source,
                        format(
                            'select to_jsonb(count(*)) from only %s where _archived_by_step = %s',
                            leaf, v_step.id
                        )
                    )::bigint
                )
                from maintenance.leaves_of(v_pair.archive) as leaf
            );
        end loop;

        if reason is null and waiting = 0 then
            verdict := 'nothing';
            reason := 'nothing of it is in its archive any more';
        elsif reason is null then
            verdict := 'ready';
            reason := nullif(
                concat_ws(
                    '; ',
                    case
                        when waiting < v_step.removed + v_step.dependents then
                            format('of %s rows that went, %s are in archives',
                                v_step.removed + v_step.dependents, waiting)
                    end,
                    case
                        when v_step.cascaded > 0 then
                            format('foreign keys deleted %s more, and they are gone',
                                v_step.cascaded)
                    end
                ),
                ''
            );
        end if;

        return next;
    end loop;
end;
$function$;

revoke all on function maintenance.plan_undo(bigint) from public;

comment on function maintenance.plan_undo(bigint) is
    'Say what undoing a run would put back, step by step, and what it could not; writes nothing.';
