-- Counts the tokens of every watched table, by state. Reads each table once, in full.
--
-- A token that was used and has expired since counts in both columns, so that each of them says
-- how many rows its rule would remove.

create or replace function maintenance.count_tokens()
returns table (token_type text, expired bigint, used bigint, active bigint)
language plpgsql
stable
set search_path = pg_catalog, pg_temp
set row_security = off  -- rows that a policy hides are an error, not a lower number
as $function$
declare
    v_watched maintenance.watched_token;
begin
    for v_watched in
        select watched.*
        from maintenance.watched_token as watched
        join pg_catalog.pg_class as class on class.oid = watched.relation  -- not dropped since
        order by watched.token_type
    loop
        return query execute format(
            'select %L::text,'
            ' count(*) filter (where token.%2$I < now()),'
            ' %3$s,'
            ' count(*) filter (where token.%2$I >= now() and %4$s)'
            ' from %5$s as token',
            v_watched.token_type,
            v_watched.expires_column,
            case
                when v_watched.used_column is null then 'null::bigint'
                else format('count(token.%I)', v_watched.used_column)
            end,
            case
                when v_watched.used_column is null then 'true'
                else format('token.%I is null', v_watched.used_column)
            end,
            v_watched.relation
        );
    end loop;
end;
$function$;

revoke all on function maintenance.count_tokens() from public;

comment on function maintenance.count_tokens() is
    'Count expired, used and active tokens of every watched table; used is null where nothing is.';
