-- Lets users who forgot their password set a new one.

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.password_reset_tokens',
    needs => array['user_id uuid', 'expires_at timestamptz', 'used_at timestamptz']
);

create table if not exists public.password_reset_tokens (
    id uuid constraint password_reset_tokens_pkey primary key default gen_random_uuid(),
    user_id uuid not null
        constraint password_reset_tokens_user_id_fkey
        references public.users (id) on delete cascade,
    token_hash text not null constraint password_reset_tokens_token_hash_key unique,
    expires_at timestamptz not null,
    used_at timestamptz,
    created_at timestamptz default now()
);

select maintenance.describe_table(
    'public.password_reset_tokens',
    'Secrets that let a user set a new password, once.'
);
select maintenance.describe_column(
    'public.password_reset_tokens', 'token_hash',
    'Hash of the secret that was sent.'
);
select maintenance.describe_column(
    'public.password_reset_tokens', 'expires_at',
    'From then on the token is no longer valid.'
);
select maintenance.describe_column(
    'public.password_reset_tokens', 'used_at',
    'When it was used, once and for all.'
);

select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.password_reset_tokens',
    name => 'idx_password_reset_tokens_user_id',
    keys => 'user_id',
    reason => 'Finds the tokens of a user; deleting a user deletes them.'
);

insert into maintenance.watched_token (token_type, relation, expires_column, used_column)
values ('password_reset', 'public.password_reset_tokens', 'expires_at', 'used_at');
