-- Lets a chain declare the indexes that it needs, as rows.
--
-- A large table wants CREATE INDEX CONCURRENTLY, which no transaction can run. So scripts declare,
-- and whoever applies them builds what is missing: the runner, or psql with \gexec.

create table maintenance.required_index (
    relation regclass not null,
    name name not null,
    chain text not null,
    keys text not null,
    included text,
    predicate text,
    is_unique boolean not null,
    reason text not null,
    definition text not null,
    found text[] not null,
    constraint required_index_pkey primary key (relation, name)
);

revoke all on table maintenance.required_index from public;

comment on table maintenance.required_index is 'Indexes that the installed chains need.';
comment on column maintenance.required_index.relation is 'Table to index.';
comment on column maintenance.required_index.name is
    'Name of the index, in the schema of its table.';
comment on column maintenance.required_index.chain is 'Chain that declared it.';
comment on column maintenance.required_index.keys is
    'Columns or expressions, with their options, as CREATE INDEX takes them.';
comment on column maintenance.required_index.included is 'Further columns that the index carries.';
comment on column maintenance.required_index.predicate is
    'Condition of a partial index; null where it has every row.';
comment on column maintenance.required_index.is_unique is 'Whether the keys must be unique.';
comment on column maintenance.required_index.reason is
    'What the index is for; becomes the comment on the index.';
comment on column maintenance.required_index.definition is
    'What PostgreSQL makes of the keys: see maintenance.index_definition.';
comment on column maintenance.required_index.found is
    'Indexes that did the same when it was declared, with their schemas: the application''s.';

create table maintenance.index_build (
    relation regclass not null,
    name name not null,
    begun_at timestamptz not null default now(),
    constraint index_build_pkey primary key (relation, name)
);

revoke all on table maintenance.index_build from public;

comment on table maintenance.index_build is
    'Indexes that the runner has built, or has begun to build: they are ours.';
comment on column maintenance.index_build.relation is 'Table of the index.';
comment on column maintenance.index_build.name is 'Name of the index, in the schema of its table.';
comment on column maintenance.index_build.begun_at is 'When the build began.';

\ir ../../sql/core/functions/index_definition.sql
\ir ../../sql/core/functions/equivalent_indexes.sql
\ir ../../sql/core/functions/free_index_name.sql
\ir ../../sql/core/functions/note_index_build.sql
\ir ../../sql/core/functions/require_index.sql
\ir ../../sql/core/functions/release_index.sql
\ir ../../sql/core/views/missing_indexes.sql
