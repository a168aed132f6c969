-- Tokens by type and state. Where sweeps work, expired and used stay close to zero.

create or replace view maintenance.token_growth
with (security_invoker = true)
as
select counted.token_type, counted.expired, counted.used, counted.active
from maintenance.count_tokens() as counted;

revoke all on table maintenance.token_growth from public;

comment on view maintenance.token_growth is
    'Tokens by type and state, counted now; high figures of expired ones mean that clean-up fails.';
comment on column maintenance.token_growth.token_type is 'What the tokens are called.';
comment on column maintenance.token_growth.expired is 'Tokens whose time is over.';
comment on column maintenance.token_growth.used is
    'Tokens that were used; null where tokens are used more than once.';
comment on column maintenance.token_growth.active is 'Tokens that are still good.';
