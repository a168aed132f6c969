-- Removes the refresh tokens: every device is signed out.

delete from maintenance.watched_token
where token_type = 'refresh_tokens';

select maintenance.release_index('public.refresh_tokens', 'idx_refresh_tokens_user');

select maintenance.give_back('matcha', 'table', 'public.refresh_tokens');
