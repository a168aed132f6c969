-- Judges whether a run may go ahead: whether its archive fits, whether there is the backup that the
-- policy asks for, how much it would remove, and how far its cutoff jumped.
--
-- A token lifts the last two, which are refused; the first two want to be mended. The token says
-- version, moment, bound and time of its issue; the run then uses that very moment, and removes no
-- more than the bound, a tenth over what was counted.

create or replace function maintenance.judge_run(
    policy maintenance.policy,
    accept text default null,
    out verdict text,
    out reason text,
    out moment timestamptz,
    out bound bigint,
    out eligible bigint
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    c_small_run constant bigint := 10000::bigint;
    v_token text[] := string_to_array(accept, '-');
    v_bounds text[];
    v_total numeric;
    v_age interval;
    v_last_age interval;
    v_limit bigint;
    v_most bigint;
begin
    verdict := 'archive_differs';
    moment := clock_timestamp();
    reason := maintenance.find_archive_drift(policy);

    if reason is not null then
        return;
    end if;

    verdict := 'refused';
    v_age := maintenance.shortest_retention(policy);

    if policy.backup_within is not null and not exists (
        select
        from maintenance.backup_attestation as attested
        where attested.taken_at >= clock_timestamp() - policy.backup_within
    ) then
        verdict := 'needs_backup';
        reason := format(
            'no backup of the last %s is attested; maintenance.attest_backup(kind, reference, '
            'taken_at) does so',
            policy.backup_within
        );
        return;
    end if;

    if accept is not null then
        if cardinality(v_token) <> 5
           or v_token[5] is distinct from maintenance.sign_token(
               policy.name, array_to_string(v_token[1:4], '-')
           )
        then
            reason := 'the token is not one of this policy''s; preview prints one';
        elsif v_token[1]::bigint <> policy.version then
            reason := 'the policy has changed since the token was printed; preview prints another';
        elsif to_timestamp(v_token[4]::bigint) < clock_timestamp() - interval '24 hours' then
            reason := 'the token is older than 24 hours; preview prints another';
        elsif exists (
            select from maintenance.run_step as step where step.accepted = judge_run.accept
        ) then
            reason := 'the token was used before; preview prints another';
        else
            verdict := 'accepted';
            moment := to_timestamp(v_token[2]::bigint / 1000000)
                + v_token[2]::bigint % 1000000 * interval '1 microsecond';
            bound := v_token[3]::bigint;
            eligible := bound * 10 / 11;  -- what was counted, since the bound is a tenth over it
        end if;
        return;
    end if;

    v_bounds := maintenance.branch_bounds(policy, moment);

    -- Of a table that was never analyzed the share is not known, and not asked for.
    select
        case when min(class.reltuples) >= 0 then sum(class.reltuples)::numeric end,
        sum(maintenance.estimate_eligible(policy, leaf, v_bounds))::bigint,
        sum(pg_relation_size(leaf))::bigint / current_setting('block_size')::bigint * 300
    into v_total, eligible, v_most
    from maintenance.leaves_of(policy.relation) as leaf
    join pg_catalog.pg_class as class on class.oid = leaf;

    -- More than the limit by rows or by share is one row above the lower of them. What the table
    -- cannot hold, at less than 300 rows a page, need not be counted.
    v_limit := least(
        policy.guard_rows,
        case
            when policy.guard_share < 1 and v_total is not null then
                greatest((policy.guard_share * v_total)::bigint, c_small_run)
        end
    );

    if v_limit < v_most then
        eligible := maintenance.count_eligible(policy, v_bounds, at_most => v_limit + 1);

        if eligible > v_limit then
            reason := format(
                'more than %s rows would go: %s', v_limit,
                case
                    when v_limit = policy.guard_rows then 'guard_rows'
                    else format('guard_share is %s of about %s rows', policy.guard_share,
                        v_total::bigint)
                end
            );
            return;
        end if;
    end if;

    select step.age
    into v_last_age
    from maintenance.run_step as step
    where step.policy = policy.name
      and step.exit_reason in ('exhausted', 'nothing_to_do', 'budget', 'stopped', 'incomplete')
      and step.age is not null  -- what never began went by none
    order by step.started_at desc
    limit 1;

    if v_last_age > interval '1 h'
       and v_age < v_last_age / 2
       and maintenance.count_eligible(policy, v_bounds, at_most => 1) > 0
    then
        reason := format('rows went after %s so far, and would go after %s now', v_last_age, v_age);
        return;
    end if;

    verdict := 'pass';
end;
$function$;

revoke all on function maintenance.judge_run(maintenance.policy, text) from public;

comment on function maintenance.judge_run(maintenance.policy, text) is
    'Judge whether a run of a policy may go ahead: pass, accepted, refused and others; and why.';
