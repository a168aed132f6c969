-- Removes the password reset tokens: links that were sent stop working.

delete from maintenance.watched_token
where token_type = 'password_reset';

select maintenance.release_index(
    'public.password_reset_tokens', 'idx_password_reset_tokens_user_id'
);

select maintenance.give_back('matcha', 'table', 'public.password_reset_tokens');
