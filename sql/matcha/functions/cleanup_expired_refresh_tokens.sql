-- Deletes every refresh token that is of no use any more, in the caller's transaction.
--
-- A refresh token is used many times: only its time ends it.

create or replace function public.cleanup_expired_refresh_tokens()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off  -- rows that a policy hides are an error, not a success with fewer rows
as $function$
declare
    v_deleted integer;
begin
    delete from public.refresh_tokens as token
    where token.expires_at < now();

    get diagnostics v_deleted = row_count;
    return v_deleted;
end;
$function$;

comment on function public.cleanup_expired_refresh_tokens() is
    'Delete refresh tokens that have expired; returns how many.';
