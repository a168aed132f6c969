-- Takes the policies away. What users changed about them stays for their return.

select maintenance.remove_policy('unverified_users', chain => 'matcha');
select maintenance.remove_policy('refresh_tokens', chain => 'matcha');
select maintenance.remove_policy('email_verification_tokens', chain => 'matcha');
select maintenance.remove_policy('password_reset_tokens', chain => 'matcha');

select maintenance.release_index('public.users', 'idx_users_unverified_created_at');
