-- Creates the schema that everything of ours lives in, and its memory of what was applied.
--
-- The runner fills the tables in the transaction that runs a script; psql leaves them empty, and
-- "runner migrate --mark" fills them later.
-- A schema's default privileges cannot take from PUBLIC what PostgreSQL grants it by default, so
-- every object revokes for itself, in the file that creates it.

create schema maintenance;

revoke all on schema maintenance from public;

-- The runner takes a schema called maintenance for ours when its comment begins like this.
comment on schema maintenance is
    'pg-maintenance: finds, removes and tends the rows that the application no longer needs.';

create table maintenance.chain (
    name text constraint chain_pkey primary key,
    chosen_at timestamptz not null default now()
);

revoke all on table maintenance.chain from public;

comment on table maintenance.chain is
    'Chains of migrations that "runner migrate" brings up to date in this database.';
comment on column maintenance.chain.name is 'Folder of the chain under migrations/.';
comment on column maintenance.chain.chosen_at is 'When the chain was first asked for here.';

create table maintenance.applied_script (
    position bigint generated always as identity constraint applied_script_position_key unique,
    migration_id text constraint applied_script_pkey primary key,
    checksum text not null
        constraint applied_script_checksum_check check (checksum ~ '^[0-9a-f]{64}$'),
    package_version text not null,
    duration interval not null,
    applied_at timestamptz not null default now(),
    applied_by name not null default current_user
);

revoke all on table maintenance.applied_script from public;
revoke all on sequence maintenance.applied_script_position_seq from public;

comment on table maintenance.applied_script is
    'Migrations as they were applied here: in which order, and from which text.';
comment on column maintenance.applied_script.position is 'Rollback undoes the highest first.';
comment on column maintenance.applied_script.migration_id is 'Chain and file name, without .sql.';
comment on column maintenance.applied_script.checksum is
    'SHA-256 of the script with the files it includes, as "runner show" prints it.';
comment on column maintenance.applied_script.package_version is 'Version of pg-maintenance.';
comment on column maintenance.applied_script.duration is 'How long the script ran.';
comment on column maintenance.applied_script.applied_at is 'When its transaction began.';
comment on column maintenance.applied_script.applied_by is 'The role that ran it.';

create table maintenance.applied_object (
    kind text not null,
    name text not null,
    migration_id text not null
        constraint applied_object_migration_id_fkey
        references maintenance.applied_script (migration_id) on delete cascade,
    fingerprint text
        constraint applied_object_fingerprint_check check (fingerprint ~ '^[0-9a-f]{64}$'),
    server_major integer not null,
    constraint applied_object_pkey primary key (kind, name)
);

revoke all on table maintenance.applied_object from public;

create index applied_object_migration_id_idx on maintenance.applied_object (migration_id);
comment on index maintenance.applied_object_migration_id_idx is 'Finds what a migration made.';

comment on table maintenance.applied_object is
    'What the applied migrations made: "runner status" tells what somebody has changed since.';
comment on column maintenance.applied_object.kind is 'function, view, table and so on.';
comment on column maintenance.applied_object.name is
    'Qualified name: a routine with the types of its arguments, a trigger with its table.';
comment on column maintenance.applied_object.migration_id is 'Migration that made it what it is.';
comment on column maintenance.applied_object.fingerprint is
    'SHA-256 of its definition; null where the application may change that.';
comment on column maintenance.applied_object.server_major is
    'Version of PostgreSQL that wrote the definition out.';
