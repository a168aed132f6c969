-- Removes the verification tokens, and who has verified an address, which is lost.

delete from maintenance.watched_token
where token_type = 'email_verification';

select maintenance.release_index(
    'public.email_verification_tokens', 'idx_email_verification_tokens_user_id'
);

select maintenance.give_back('matcha', 'table', 'public.email_verification_tokens');

select maintenance.give_back('matcha', 'column', 'public.users.email_verified');
