-- Tells applications what came of a run: those of run_listener, which have a record of their own.
-- A driver calls it last, once for each run. Without a document they are told what the log has, and
-- the error that it does not have.
--
-- One that cannot take it in is a finding, and no failure of the run: what went is gone, and is in
-- the log. It is noted there, doctor names it, and the answer is what drivers warn of.

create or replace function maintenance.report_run(
    run bigint,
    document jsonb default null,
    error text default null
)
returns text
language plpgsql
security definer  -- an operator need not be able to write to the tables of applications
set search_path = pg_catalog, pg_temp
as $function$
declare
    v_document jsonb := coalesce(
        report_run.document, maintenance.run_document(report_run.run, report_run.error)
    );
    v_listener maintenance.run_listener;
    v_routine regprocedure;
    v_problem text;
begin
    update maintenance.run as reported
    set reported_at = clock_timestamp()
    where reported.id = report_run.run
      and reported.ended_at is not null
      and reported.reported_at is null
      and (
          reported.owner_pid = pg_backend_pid()
          or not maintenance.is_alive(
              reported.owner_pid, reported.owner_start, reported.started_at
          )
      );

    if not found then
        return null;
    end if;

    for v_listener in
        select listener.*
        from maintenance.run_listener as listener
        order by listener.chain
    loop
        begin
            v_routine := to_regprocedure(v_listener.routine);

            if v_routine is null then
                raise exception using
                    errcode = 'undefined_function',
                    message = format('there is no function %s', v_listener.routine);
            end if;

            execute format('select %s($1, $2)', v_routine::regproc)
            using report_run.run, v_document;
        exception
            when query_canceled or others then
                v_problem := concat_ws(
                    '; ', v_problem, format('%s: %s', v_listener.chain, sqlerrm)
                );
        end;
    end loop;

    update maintenance.run as reported
    set report_problem = v_problem
    where reported.id = report_run.run
      and v_problem is not null;

    return v_problem;
end;
$function$;

revoke all on function maintenance.report_run(bigint, jsonb, text) from public;

comment on function maintenance.report_run(bigint, jsonb, text) is
    'Tell applications what came of a run; return which could not take it in, and why.';
