-- Shows how large the tables are, which indexes are used, and how the token tables grow.

create table maintenance.watched_token (
    token_type text constraint watched_token_pkey primary key,
    relation regclass not null,
    expires_column name not null,
    used_column name
);

revoke all on table maintenance.watched_token from public;

comment on table maintenance.watched_token is 'Token tables that maintenance.token_growth counts.';
comment on column maintenance.watched_token.token_type is 'What the tokens are called.';
comment on column maintenance.watched_token.relation is 'Table that holds them.';
comment on column maintenance.watched_token.expires_column is
    'Time, with time zone, from which a token is no longer valid.';
comment on column maintenance.watched_token.used_column is
    'Time at which a token was used; null where tokens are used more than once.';

\ir ../../sql/core/functions/count_tokens.sql
\ir ../../sql/core/views/token_growth.sql
\ir ../../sql/core/views/table_sizes.sql
\ir ../../sql/core/views/index_usage.sql
