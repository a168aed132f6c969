-- Cleans all three token tables in the caller's transaction, and says what went.

create or replace function public.cleanup_all_expired_tokens()
returns table (
    password_reset_cleaned integer,
    email_verification_cleaned integer,
    refresh_tokens_cleaned integer,
    total_cleaned integer
)
language plpgsql
set search_path = pg_catalog, pg_temp
as $function$
begin
    password_reset_cleaned := public.cleanup_expired_password_reset_tokens();
    email_verification_cleaned := public.cleanup_expired_email_verification_tokens();
    refresh_tokens_cleaned := public.cleanup_expired_refresh_tokens();
    total_cleaned := password_reset_cleaned + email_verification_cleaned + refresh_tokens_cleaned;
    return next;
end;
$function$;

comment on function public.cleanup_all_expired_tokens() is
    'Delete expired and used tokens of every kind; returns one row: how many of each, and in all.';
