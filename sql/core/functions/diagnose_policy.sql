-- Says what is wrong with a policy: its definition, its table, and how its runs went.

create or replace function maintenance.diagnose_policy(policy text)
returns table (subject text, name text, state text, message text, remedy text)
language plpgsql
security definer  -- monitors need no right on the table
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_policy maintenance.policy := maintenance.read_policy(policy);
    v_status record;
    v_nulls record;
    v_leaf regclass;
    v_is_sound boolean;
    v_found boolean := false;
begin
    subject := 'policy';
    name := v_policy.name;

    if not exists (
        select from pg_catalog.pg_class as class where class.oid = v_policy.relation
    ) then
        state := 'problem';
        message := 'its table is gone';
        remedy := format(
            case
                when v_policy.chain is null then 'select maintenance.remove_policy(%L)'
                else 'select maintenance.enable_policy(%L, false)'
            end,
            v_policy.name
        );
        return next;
        return;
    end if;

    if not v_policy.is_enabled then
        state := 'notice';
        message := 'it is switched off';
        remedy := format('select maintenance.enable_policy(%L)', v_policy.name);
        return next;
        return;
    end if;

    for message in
        select maintenance.find_policy_errors(v_policy)
    loop
        v_found := true;
        state := 'problem';
        remedy := 'maintenance.alter_policy changes its settings, if it is not the table''s fault';
        return next;
    end loop;

    v_is_sound := not v_found;

    -- Where the definition is at fault, that has been said.
    message := maintenance.find_archive_drift(v_policy);

    if v_is_sound and message is not null then
        v_found := true;
        state := 'problem';
        remedy := 'no run archives anything until then';
        return next;
    end if;

    for message, remedy in
        select risky.message, risky.statement
        from maintenance.find_policy_risks(v_policy) as risky
        where risky.risk in ('kept_forever', 'no_undo', 'lost_dependents')
          and v_is_sound
    loop
        v_found := true;
        state := 'notice';
        return next;
    end loop;

    select status.*
    into v_status
    from maintenance.policy_status as status
    where status.policy = v_policy.name;

    for state, message, remedy in
        select judged.state, judged.message, judged.remedy
        from (
            values
                (
                    v_status.last_run_at is null,
                    'notice',
                    'it never ran',
                    format('call maintenance.run_policy(%L)', v_policy.name)
                ),
                (
                    v_status.is_overdue,
                    'problem',
                    format(
                        'it is overdue: it did not come to its end within %s', v_policy.max_silence
                    ),
                    'run it, or look after what is to run it'
                ),
                (
                    v_status.last_exit_reason in ('error', 'incomplete', 'guard'),
                    'problem',
                    format(
                        'its last run ended with %s: %s', v_status.last_exit_reason,
                        (
                            select history.message
                            from maintenance.run_history as history
                            where history.policy = v_policy.name
                            order by history.started_at desc
                            limit 1
                        )
                    ),
                    case v_status.last_exit_reason
                        when 'guard' then
                            format('select * from maintenance.preview(%L)', v_policy.name)
                        else format('call maintenance.run_policy(%L)', v_policy.name)
                    end
                ),
                (
                    v_status.last_exit_reason = 'interrupted',
                    'notice',
                    'its last run was interrupted',
                    'the next run goes on where it ended'
                ),
                (
                    v_status.outlook = 'will never catch up',
                    'problem',
                    format(
                        'it will never catch up: %s rows arrive in an hour, and %s go',
                        v_status.arriving_per_hour, v_status.leaving_per_hour
                    ),
                    'run it more often, or for longer'
                )
        ) as judged (is_so, state, message, remedy)
        where judged.is_so
    loop
        v_found := true;
        return next;
    end loop;

    -- Without statistics nothing is said: the table was never analyzed.
    select
        count(*) filter (where statistics.null_frac is not null) > 0
            and bool_and(coalesce(statistics.null_frac = 1, false)) as is_null_everywhere,
        bool_and(has_column_privilege(v_policy.relation, branch.value ->> 'column', 'select'))
            as is_readable,
        string_agg(quote_ident(branch.value ->> 'column'), ', ' order by branch.ordinality)
            as columns
    into v_nulls
    from jsonb_array_elements(v_policy.branches) with ordinality as branch
    join pg_catalog.pg_class as class on class.oid = v_policy.relation
    join pg_catalog.pg_namespace as namespace on namespace.oid = class.relnamespace
    left join pg_catalog.pg_stats as statistics
        on statistics.schemaname = namespace.nspname
        and statistics.tablename = class.relname
        and statistics.attname = branch.value ->> 'column'
        and statistics.inherited = (class.relkind = 'p')
    where v_is_sound;

    if v_nulls.is_null_everywhere then
        v_found := true;
        state := 'notice';
        message := format('no row can ever expire: %s is null everywhere', v_nulls.columns);
        remedy := 'look after what is to fill the column, or take another';
        return next;
    elsif not v_nulls.is_readable then
        v_found := true;
        state := 'unknown';
        message := format('whether %s is null everywhere', v_nulls.columns);
        remedy := format('needs SELECT on %s', v_policy.relation);
        return next;
    end if;

    for v_leaf in
        select leaf
        from maintenance.leaves_of(v_policy.relation) as leaf
        join pg_catalog.pg_class as class on class.oid = leaf
        cross join lateral pg_options_to_table(class.reloptions) as given
        where given.option_name = 'autovacuum_enabled'
          and not given.option_value::boolean
    loop
        v_found := true;
        state := 'notice';
        message := format('autovacuum is off for %s', v_leaf);
        remedy := format('alter table %s reset (autovacuum_enabled)', v_leaf);
        return next;
    end loop;

    if not v_found then
        state := 'ok';
        message := v_status.outlook;
        remedy := null;
        return next;
    end if;
end;
$function$;

revoke all on function maintenance.diagnose_policy(text) from public;

comment on function maintenance.diagnose_policy(text) is
    'Say what is wrong with a policy, its table and its runs.';
