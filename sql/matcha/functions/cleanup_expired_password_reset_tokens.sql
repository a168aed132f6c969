-- Deletes every password reset token that is of no use any more, in the caller's transaction.
--
-- The condition names both cases apart, so that each has its own index: one test of expires_at for
-- used and unused tokens alike would fit neither.

create or replace function public.cleanup_expired_password_reset_tokens()
returns integer
language plpgsql
set search_path = pg_catalog, pg_temp
set row_security = off  -- rows that a policy hides are an error, not a success with fewer rows
as $function$
declare
    v_deleted integer;
begin
    delete from public.password_reset_tokens as token
    where (token.used_at is null and token.expires_at < now())
       or token.used_at is not null;

    get diagnostics v_deleted = row_count;
    return v_deleted;
end;
$function$;

comment on function public.cleanup_expired_password_reset_tokens() is
    'Delete password reset tokens that have expired or were used; returns how many.';
