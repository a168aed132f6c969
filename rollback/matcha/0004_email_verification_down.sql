-- Removes the verification tokens, and who has verified an address, which is lost.

delete from maintenance.watched_token
where token_type = 'email_verification';

select maintenance.release_index(
    'public.email_verification_tokens', 'idx_email_verification_tokens_user_id'
);

drop table public.email_verification_tokens;

alter table public.users drop column email_verified;
