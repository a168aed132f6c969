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
    dependents bigint,
    waiting bigint,
    verdict text,
    reason text
)
language plpgsql
security definer  -- who asks needs no right on the tables: see install_executor
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_column
begin
    if not exists (select from maintenance.run as known where known.id = plan_undo.run) then
        raise exception using
            errcode = 'undefined_object',
            message = format('there is no run %s', coalesce(plan_undo.run::text, 'null')),
            hint = 'maintenance.run_history has the runs.';
    end if;

    return query
    select
        known.id, known.policy, known.relation, known.action, known.removed, known.dependents,
        judged.*
    from maintenance.run_step as known
    cross join lateral maintenance.judge_undo(known) as judged
    where known.run = plan_undo.run
    order by known.id desc;
end;
$function$;

revoke all on function maintenance.plan_undo(bigint) from public;

comment on function maintenance.plan_undo(bigint) is
    'Say what undoing a run would put back, step by step, and what it could not; writes nothing.';
