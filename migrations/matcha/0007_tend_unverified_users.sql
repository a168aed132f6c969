-- Says which users are of no more use: those who never proved that their address is theirs.
--
-- They go only where somebody switches that on: with them goes whatever they have done.

select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.users',
    name => 'idx_users_unverified_created_at',
    keys => 'created_at',
    predicate => 'not email_verified',
    reason => 'Finds the users who never proved their address.'
);

select maintenance.register_policy(
    policy => 'unverified_users',
    relation => 'public.users',
    definition => '{
        "operation": "accounts",
        "is_enabled": false,
        "severity": "CRITICAL",
        "allow_cascade": true,
        "batch_size": 100,
        "guard_rows": 1000,
        "guard_share": 0.1,
        "retention": "7 days",
        "branches": [{"column": "created_at", "condition": "not email_verified"}],
        "max_silence": "2 days"
    }',
    chain => 'matcha'
);
