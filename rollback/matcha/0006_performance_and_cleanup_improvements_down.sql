-- Removes the clean-up: from here on the token tables grow. No row of the application is
-- lost, but how its sweeps were set.

drop trigger trigger_cleanup_refresh_tokens on public.refresh_tokens;
drop trigger trigger_cleanup_email_verification_tokens on public.email_verification_tokens;
drop trigger trigger_cleanup_password_reset_tokens on public.password_reset_tokens;
drop function maintenance.sweep_refresh_tokens();
drop function maintenance.sweep_email_verification_tokens();
drop function maintenance.sweep_password_reset_tokens();

delete from maintenance.insert_sweep
where relation in (
    'public.password_reset_tokens'::regclass,
    'public.email_verification_tokens'::regclass,
    'public.refresh_tokens'::regclass
);

drop function public.refresh_stale_deck_progress(uuid);
drop function public.refresh_deck_progress(uuid, uuid);
drop function public.cleanup_all_expired_tokens();
drop function public.cleanup_expired_refresh_tokens();
drop function public.cleanup_expired_email_verification_tokens();
drop function public.cleanup_expired_password_reset_tokens();

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
