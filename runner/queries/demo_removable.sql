-- How many rows cleanup_all_expired_tokens() would remove now, in the columns that it returns.
select reset.rows, verification.rows, refresh.rows, reset.rows + verification.rows + refresh.rows
from (
    select count(*) as rows
    from public.password_reset_tokens as token
    where token.used_at is not null or token.expires_at < now()
) as reset
cross join (
    select count(*) as rows
    from public.email_verification_tokens as token
    where token.used_at is not null or token.expires_at < now()
) as verification
cross join (
    select count(*) as rows from public.refresh_tokens as token where token.expires_at < now()
) as refresh
