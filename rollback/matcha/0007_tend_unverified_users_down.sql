-- Takes the policy away. What users changed about it stays for its return.

select maintenance.remove_policy('unverified_users', chain => 'matcha');

select maintenance.release_index('public.users', 'idx_users_unverified_created_at');
