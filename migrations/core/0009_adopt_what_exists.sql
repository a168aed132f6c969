-- Lets an application's scripts take over tables, functions and triggers that exist, and give back
-- what was there.
--
-- Before a script of an application creates, replaces or removes anything outside this schema, it
-- calls one of the routines below, which notes what is there. Rolling back replays those notes.

create table maintenance.owned_object (
    chain text not null,
    kind text not null
        constraint owned_object_kind_check
        check (kind in ('table', 'column', 'type', 'function', 'trigger')),
    name text not null,
    origin text not null
        constraint owned_object_origin_check
        check (origin in ('created', 'adopted', 'replaced', 'removed')),
    restoring text[] not null default '{}',
    constraint owned_object_pkey primary key (chain, kind, name),
    -- what was there before can be given back only where it is known
    constraint owned_object_restoring_check
        check ((origin in ('replaced', 'removed')) = (restoring <> '{}'))
);

revoke all on table maintenance.owned_object from public;

comment on table maintenance.owned_object is
    'What the scripts of applications created, adopted, replaced or removed outside this schema.';
comment on column maintenance.owned_object.chain is 'Chain whose script did it.';
comment on column maintenance.owned_object.kind is 'table, column, type, function or trigger.';
comment on column maintenance.owned_object.name is
    'Qualified name: a column or a trigger with its table, a function with its argument types.';
comment on column maintenance.owned_object.origin is
    'created: by us; adopted: it was there, and is used as it is; replaced: something of that name '
    'was there; removed: it was there, and is in the way.';
comment on column maintenance.owned_object.restoring is
    'Statements that bring back what was replaced or removed.';

\ir ../../sql/core/functions/is_created.sql
\ir ../../sql/core/functions/has_column.sql
\ir ../../sql/core/functions/assert_columns.sql
\ir ../../sql/core/functions/assert_member.sql
\ir ../../sql/core/functions/adopt_table.sql
\ir ../../sql/core/functions/adopt_enum.sql
\ir ../../sql/core/functions/add_column.sql
\ir ../../sql/core/functions/describe_table.sql
\ir ../../sql/core/functions/describe_column.sql
\ir ../../sql/core/functions/function_rights.sql
\ir ../../sql/core/functions/trigger_statements.sql
\ir ../../sql/core/functions/adopt_function.sql
\ir ../../sql/core/functions/keep_function.sql
\ir ../../sql/core/functions/withdraw_function.sql
\ir ../../sql/core/functions/adopt_sweep.sql
\ir ../../sql/core/functions/leave_object.sql
\ir ../../sql/core/functions/give_back.sql
