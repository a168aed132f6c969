-- Refuses to undo a run of which nothing can be put back: what was deleted is gone.

create or replace function maintenance.assert_undoable(run bigint, policy text default null)
returns void
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_reason text;
begin
    if exists (
        select
        from maintenance.plan_undo(assert_undoable.run) as planned
        where planned.verdict = 'ready'
          and planned.policy = coalesce(assert_undoable.policy, planned.policy)
    ) then
        return;
    end if;

    select string_agg(format('policy %s: %s', planned.policy, planned.reason), '; ')
    into v_reason
    from maintenance.plan_undo(assert_undoable.run) as planned
    where planned.policy = coalesce(assert_undoable.policy, planned.policy);

    raise exception using
        errcode = 'object_not_in_prerequisite_state',
        message = format('run %s cannot be undone', run),
        detail = coalesce(
            v_reason,
            case
                when policy is null then 'It came to no policy.'
                else format('It did not carry out policy %s.', policy)
            end
        ),
        hint = 'Only rows that a policy archived can be put back, from its archive.';
end;
$function$;

revoke all on function maintenance.assert_undoable(bigint, text) from public;

comment on function maintenance.assert_undoable(bigint, text) is
    'Raise an error unless something of what a run removed can be put back.';
