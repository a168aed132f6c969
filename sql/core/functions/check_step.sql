-- Says why a step has to end now: null where it may go on. run_batch asks before each batch, and a
-- driver that waits between two of them may ask as well.

create or replace function maintenance.check_step(
    step bigint,
    out exit_reason text,
    out message text
)
language plpgsql
security definer  -- operators need not be able to read the policies
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_step maintenance.run_step;
    v_policy maintenance.policy;
begin
    select opened.*
    into strict v_step
    from maintenance.run_step as opened
    where opened.id = step;

    v_policy := maintenance.read_policy(v_step.policy);

    if v_policy.version <> v_step.version then
        exit_reason := 'stopped';
        message := 'the policy was changed';
    elsif exists (
        select
        from maintenance.run as run
        where run.id = v_step.run
          and run.is_stop_requested
    ) then
        exit_reason := 'stopped';
        message := 'somebody asked it to stop';
    elsif maintenance.pause_reason() is not null then
        exit_reason := 'stopped';
        message := maintenance.pause_reason();
    elsif clock_timestamp() >= v_step.deadline then
        exit_reason := 'budget';
        message := 'the time is up';
    elsif v_step.removed >= v_step.max_rows then
        exit_reason := 'budget';
        message := format('%s rows were allowed', v_step.max_rows);
    elsif v_step.removed >= v_step.bound then
        -- Not in the condition above: where there is no bound, "null and ..." would count as well.
        if maintenance.count_eligible(
            v_policy, maintenance.branch_bounds(v_policy, v_step.moment), at_most => 1
        ) = 0 then
            exit_reason := 'exhausted';
        else
            exit_reason := 'guard';
            message := format('no more than %s rows were accepted', v_step.bound);
        end if;
    end if;
end;
$function$;

revoke all on function maintenance.check_step(bigint) from public;

comment on function maintenance.check_step(bigint) is
    'Return why a step has to end now; null while it may go on.';
