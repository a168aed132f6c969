-- Says whether there are decks whose figures are an hour old. A function, and no view: a view would
-- stand in the way of the application's own changes to the table.

create or replace function maintenance.find_stale_progress()
returns table (object text, statement text, reason text, is_patient boolean)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
begin
    return query
    select
        'public.user_deck_progress',
        'call maintenance.refresh_stale_progress()',
        format('%s decks of %s users are an hour old', count(*), count(distinct progress.user_id)),
        true
    from public.user_deck_progress as progress
    where progress.updated_at < now() - interval '1 hour'
       or progress.updated_at is null
    having count(*) > 0;
end;
$function$;

revoke all on function maintenance.find_stale_progress() from public;

comment on function maintenance.find_stale_progress() is
    'List the statement that adds up stale decks, if there are any.';
