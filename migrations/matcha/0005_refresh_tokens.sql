-- Keeps users signed in.

select maintenance.adopt_table(
    chain => 'matcha',
    relation => 'public.refresh_tokens',
    needs => array['user_id uuid', 'expires_at timestamptz']
);

create table if not exists public.refresh_tokens (
    id uuid constraint refresh_tokens_pkey primary key default gen_random_uuid(),
    user_id uuid not null
        constraint refresh_tokens_user_id_fkey references public.users (id) on delete cascade,
    token_hash text not null constraint refresh_tokens_token_hash_key unique,
    device_info text,
    ip_address text,
    expires_at timestamptz not null,
    created_at timestamptz default now(),
    last_used_at timestamptz default now()
);

select maintenance.describe_table(
    'public.refresh_tokens',
    'Secrets that keep a device signed in; used many times.'
);
select maintenance.describe_column(
    'public.refresh_tokens', 'token_hash',
    'Hash of the secret that the device holds.'
);
select maintenance.describe_column(
    'public.refresh_tokens', 'expires_at',
    'From then on the token is no longer valid.'
);

select maintenance.require_index(
    chain => 'matcha',
    relation => 'public.refresh_tokens',
    name => 'idx_refresh_tokens_user',
    keys => 'user_id',
    reason => 'Finds the tokens of a user; deleting a user deletes them.'
);

insert into maintenance.watched_token (token_type, relation, expires_column)
values ('refresh_tokens', 'public.refresh_tokens', 'expires_at');
