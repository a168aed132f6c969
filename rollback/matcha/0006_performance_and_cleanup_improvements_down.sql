-- Removes the clean-up: from here on the token tables grow, unless the application had one of its
-- own, which is back then. No row of the application is lost, but how its sweeps were set. With a
-- policy goes its sweep; what users changed about the policy stays for its return.

select maintenance.remove_policy('refresh_tokens', chain => 'matcha');
select maintenance.remove_policy('email_verification_tokens', chain => 'matcha');
select maintenance.remove_policy('password_reset_tokens', chain => 'matcha');

delete from maintenance.statement_source
where chain = 'matcha';

drop view maintenance.stale_progress;
drop function maintenance.find_stale_progress();
drop procedure maintenance.refresh_stale_progress(bigint);

select maintenance.give_back(
    'matcha', 'trigger',
    'public.refresh_tokens.trigger_cleanup_refresh_tokens'
);
select maintenance.give_back(
    'matcha', 'trigger',
    'public.email_verification_tokens.trigger_cleanup_email_verification_tokens'
);
select maintenance.give_back(
    'matcha', 'trigger',
    'public.password_reset_tokens.trigger_cleanup_password_reset_tokens'
);

select maintenance.give_back('matcha', 'function', 'public.refresh_stale_deck_progress(uuid)');
select maintenance.give_back('matcha', 'function', 'public.refresh_deck_progress(uuid,uuid)');
select maintenance.give_back('matcha', 'function', 'public.cleanup_all_expired_tokens()');
select maintenance.give_back('matcha', 'function', 'public.cleanup_expired_refresh_tokens()');
select maintenance.give_back(
    'matcha', 'function', 'public.cleanup_expired_email_verification_tokens()'
);
select maintenance.give_back(
    'matcha', 'function', 'public.cleanup_expired_password_reset_tokens()'
);

select maintenance.release_index('public.refresh_tokens', 'idx_refresh_tokens_expires_at');
select maintenance.release_index(
    'public.email_verification_tokens', 'idx_email_verification_tokens_used_at'
);
select maintenance.release_index(
    'public.email_verification_tokens', 'idx_email_verification_tokens_expires_at'
);
select maintenance.release_index(
    'public.password_reset_tokens', 'idx_password_reset_tokens_used_at'
);
select maintenance.release_index(
    'public.password_reset_tokens', 'idx_password_reset_tokens_expires_at'
);
