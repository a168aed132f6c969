-- Closes a step in the log, and gives its lease back. A step that lost its lease stays as it is.
--
-- remaining are the cursors of what it came not to: the next step begins there (see open_step).

create or replace function maintenance.close_step(
    step bigint,
    token bigint,
    exit_reason text,
    message text default null,
    sqlstate text default null,
    remaining jsonb default null
)
returns void
language plpgsql
security definer  -- nobody writes log and leases but functions that say what they write
set search_path = pg_catalog, pg_temp
as $function$
#variable_conflict use_variable
declare
    v_relation regclass;
begin
    update maintenance.lease as lease
    set step = null, owner_pid = null, owner_start = null
    where lease.step = step
      and lease.token = token;

    if not found then
        return;
    end if;

    select policy.relation
    into v_relation
    from maintenance.run_step as closing
    join maintenance.policy as policy on policy.name = closing.policy
    where closing.id = step;

    update maintenance.run_step as closing
    set
        ended_at = clock_timestamp(),
        exit_reason = exit_reason,
        message = message,
        sqlstate = sqlstate,
        remaining = (
            select jsonb_agg('{"part": "rest"}' || part.value)
            from jsonb_array_elements(remaining) as part
            where exit_reason in ('budget', 'stopped')
              and jsonb_typeof(part.value) = 'object'
        ),
        bytes = (
            select (
                closing.removed * sum(class.relpages) * current_setting('block_size')::bigint
                / nullif(sum(class.reltuples), 0)
            )::bigint
            from maintenance.leaves_of(v_relation) as leaf
            join pg_catalog.pg_class as class on class.oid = leaf
            where class.reltuples > 0
        )
    where closing.id = step
      and closing.ended_at is null;
end;
$function$;

revoke all on function maintenance.close_step(bigint, bigint, text, text, text, jsonb) from public;

comment on function maintenance.close_step(bigint, bigint, text, text, text, jsonb) is
    'Close a step in the log with the reason why it ended, and give its lease back.';
