"""Rules that every object of ours keeps, asked of the catalog of a migrated database.

A rule is a query that names what breaks it. Each is asked of an ordinary database and of one whose
owner grants everything to everybody by default; and each is shown to notice what it is there for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from runner.migrate import migrate
from runner.scripts import chains
from tests.statements import column, execute

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from psycopg import Connection

    from tests.conftest import TestServer

# Everything in public is ours here: the databases were empty before they were migrated.
ROUTINES = """
    select routine.*, routine.oid::regprocedure::text as named
    from pg_proc as routine
    where routine.pronamespace in ('maintenance'::regnamespace, 'public'::regnamespace)
"""
RELATIONS = """
    select relation.*, format('%s.%I', relation.relnamespace::regnamespace, relname) as named
    from pg_class as relation
    where relation.relnamespace in ('maintenance'::regnamespace, 'public'::regnamespace)
      and relation.relname !~ '^_?yoyo_'
"""
INDEXES = """
    select index.*, pg_get_expr(index.indpred, index.indrelid) as predicate,
        index.indexrelid::regclass::text as named,
        array(
            select concat_ws(
                ' ', pg_get_indexdef(index.indexrelid, position, true),
                index.indoption[position - 1], index.indcollation[position - 1],
                index.indclass[position - 1]
            )
            from generate_series(1, index.indnkeyatts) as position
            order by position
        ) as keys,
        array(
            select pg_get_indexdef(index.indexrelid, position, true)
            from generate_series(1, index.indnatts) as position
            order by position
        ) as carried
    from pg_index as index
    join pg_class as class on class.oid = index.indexrelid
    where class.relnamespace in ('maintenance'::regnamespace, 'public'::regnamespace)
"""

# A rule: the query that names what breaks it; something that breaks it; and how that is named.
RULES = {
    "functions pin their search_path": (
        f"""
        select named from ({ROUTINES}) as routine
        where prokind <> 'p'  -- a procedure that commits cannot
          and not coalesce(proconfig, '{{}}') @> array['search_path=pg_catalog, pg_temp']
        """,
        "alter function maintenance.caller() set search_path = pg_catalog",
        "maintenance.caller()",
    ),
    "routines have comments": (
        f"""
        select named from ({ROUTINES}) as routine
        where coalesce(obj_description(oid, 'pg_proc'), '') = ''
        """,
        "create function public.f(integer) returns integer return 1",
        "public.f(integer)",
    ),
    "tables and views have comments": (
        f"""
        select named from ({RELATIONS}) as relation
        where relkind in ('r', 'v', 'm', 'p', 'f')
          and coalesce(obj_description(oid, 'pg_class'), '') = ''
        """,
        "comment on view maintenance.index_usage is null",
        "maintenance.index_usage",
    ),
    "columns of maintenance have comments": (
        f"""
        select named || '.' || attname
        from ({RELATIONS}) as relation
        join pg_attribute as attribute on attribute.attrelid = relation.oid
        where relkind in ('r', 'v', 'm', 'p', 'f')
          and relnamespace = 'maintenance'::regnamespace
          and attnum > 0
          and not attisdropped
          and coalesce(col_description(relation.oid, attnum), '') = ''
        """,
        "alter table maintenance.chain add column x integer",
        "maintenance.chain.x",
    ),
    "triggers have comments": (
        """
        select format('%s on %s', tgname, tgrelid::regclass)
        from pg_trigger
        where not tgisinternal
          and coalesce(obj_description(oid, 'pg_trigger'), '') = ''
        """,
        "comment on trigger trigger_cleanup_refresh_tokens on public.refresh_tokens is null",
        "trigger_cleanup_refresh_tokens on public.refresh_tokens",
    ),
    "the schema has a comment": (
        """
        select nspname from pg_namespace
        where nspname !~ '^pg_'
          and nspname <> 'information_schema'
          and coalesce(obj_description(oid, 'pg_namespace'), '') = ''
        """,
        "create schema another",
        "another",
    ),
    "types have comments": (
        """
        select format('%s.%s', type.typnamespace::regnamespace, type.typname)
        from pg_type as type
        left join pg_class as class on class.oid = type.typrelid
        where type.typnamespace in ('maintenance'::regnamespace, 'public'::regnamespace)
          and type.typtype in ('b', 'c', 'd', 'e', 'r')
          and type.typcategory <> 'A'
          and coalesce(class.relkind, 'c') = 'c'
          and coalesce(obj_description(type.oid, 'pg_type'), '') = ''
        """,
        "create type maintenance.mood as enum ('fair')",
        "maintenance.mood",
    ),
    "declared indexes have their reason as comment": (
        """
        select declared.name
        from maintenance.required_index as declared
        where to_regclass('public.' || declared.name) is null
           or obj_description(to_regclass('public.' || declared.name), 'pg_class')
              is distinct from declared.reason
           or declared.reason = ''
        """,
        "comment on index public.idx_refresh_tokens_user is 'Something else.'",
        "idx_refresh_tokens_user",
    ),
    "indexes are declared or belong to a constraint": (
        f"""
        select named from ({INDEXES}) as index
        where not exists (select from pg_constraint where conindid = indexrelid)
          and not exists (
              select from maintenance.required_index
              where relation = indrelid and indexrelid = to_regclass('public.' || name)
          )
          and indrelid::regclass::text !~ '_?yoyo_'
          and not (  -- those on tables of ours come with the tables
              indrelid::regclass::text like 'maintenance.%'
              and obj_description(indexrelid, 'pg_class') <> ''
          )
        """,
        "create index stray on public.users (created_at)",
        "public.stray",
    ),
    "the public may not use the schema": (
        """
        select right_ from unnest(array['usage', 'create']) as right_
        where has_schema_privilege('public', 'maintenance', right_)
        """,
        "grant usage on schema maintenance to public",
        "usage",
    ),
    "the public may not execute anything in it": (
        f"""
        select named from ({ROUTINES}) as routine
        where pronamespace = 'maintenance'::regnamespace
          and has_function_privilege('public', oid, 'execute')
        """,
        "grant execute on function maintenance.install_executor(name) to public",
        "maintenance.install_executor(name)",
    ),
    "the public may not touch any relation in it": (
        """
        select oid::regclass::text from pg_class
        where relnamespace = 'maintenance'::regnamespace
          and case
              when relkind = 'S' then has_sequence_privilege('public', oid, 'usage, select, update')
              when relkind in ('r', 'v', 'm', 'p', 'f') then
                  has_any_column_privilege('public', oid, 'select, insert, update, references')
                  or has_table_privilege('public', oid, 'delete, truncate, trigger')
          end
        """,
        "grant select (name) on maintenance.chain to public",
        "maintenance.chain",
    ),
    "everybody may call what the application calls": (
        f"""
        select named from ({ROUTINES}) as routine
        where pronamespace = 'public'::regnamespace
          and (prosecdef or not has_function_privilege('public', oid, 'execute'))
        """,
        "alter function public.cleanup_expired_refresh_tokens() security definer",
        "public.cleanup_expired_refresh_tokens()",
    ),
    "what runs as its owner is owned by the owner of what it touches": (
        f"""
        select named from ({ROUTINES}) as routine
        join pg_namespace as namespace on namespace.oid = pronamespace
        where prosecdef
          and proowner <> coalesce(
              (
                  select min(relowner::bigint)::oid
                  from pg_trigger
                  join pg_class as class on class.oid = tgrelid
                  where tgfoid = routine.oid
              ),
              nspowner
          )
        """,
        "alter table public.refresh_tokens owner to pg_database_owner",
        "maintenance.sweep_refresh_tokens()",
    ),
    "views run as whoever asks": (
        f"""
        select named from ({RELATIONS}) as relation
        where relkind = 'v'
          and not coalesce(reloptions, '{{}}') @> array['security_invoker=true']
        """,
        "alter view maintenance.table_sizes reset (security_invoker)",
        "maintenance.table_sizes",
    ),
    "foreign keys have an index": (
        f"""
        select format('%s on %s', conname, conrelid::regclass)
        from pg_constraint as referring
        where contype = 'f'
          and connamespace in ('maintenance'::regnamespace, 'public'::regnamespace)
          and not exists (
              select from ({INDEXES}) as index
              where index.indrelid = referring.conrelid
                and indisvalid
                and (index.indkey::smallint[])[0:cardinality(conkey) - 1] @> conkey
                and (
                    predicate is null
                    or predicate = (  -- looking for a value, PostgreSQL knows that it is not null
                        select format('(%I IS NOT NULL)', attname) from pg_attribute
                        where attrelid = conrelid and attnum = conkey[1]
                    )
                )
          )
        """,
        "drop index public.idx_refresh_tokens_user",
        "refresh_tokens_user_id_fkey on public.refresh_tokens",
    ),
    "no index is redundant": (
        f"""
        select less.named
        from ({INDEXES}) as less
        join ({INDEXES}) as more
            on more.indrelid = less.indrelid
            and more.indexrelid <> less.indexrelid
            and more.keys[:cardinality(less.keys)] = less.keys
            and more.carried @> less.carried
            and less.predicate is not distinct from more.predicate
        where not less.indisunique
           or (more.indisunique and more.keys = less.keys and more.indexrelid < less.indexrelid)
        """,
        "create index idx_users_email on public.users (email)",
        "public.idx_users_email",
    ),
}


@pytest.fixture(scope="module")
def generous(server: TestServer, admin: Connection) -> Iterator[Connection]:
    """A migrated database whose owner grants everything to everybody by default."""
    name = f"pgm_{server.worker}_generous"
    execute(admin, f"drop database if exists {name} with (force)")
    execute(admin, f"create database {name} template template0 strategy file_copy")
    with psycopg.connect(server.url(name), autocommit=True) as owner:
        for kind in ("tables", "functions", "sequences", "types", "schemas"):
            execute(owner, f"alter default privileges grant all on {kind} to public")
    migrate(server.url(name), applications=chains()[1:])
    with psycopg.connect(server.url(name)) as connection:
        yield connection
    execute(admin, f"drop database {name} with (force)")


@pytest.fixture(params=["migrated", "generous"])
def catalog(request: pytest.FixtureRequest) -> Iterator[Connection]:
    """Both databases in turn, with names of the public schema qualified."""
    fixture = "tx" if request.param == "migrated" else "generous"
    connection: Connection = request.getfixturevalue(fixture)
    execute(connection, "set local search_path = pg_catalog")
    yield connection
    connection.rollback()


@pytest.mark.parametrize("rule", RULES)
def test_every_object_keeps_the_rule(catalog: Connection, rule: str) -> None:
    assert column(catalog, RULES[rule][0]) == []


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_notices_what_breaks_it(tx: Connection, rule: str) -> None:
    query, breaking, named = RULES[rule]
    execute(tx, "set local search_path = pg_catalog")
    execute(tx, breaking)
    assert column(tx, query) == [named]


def test_the_role_that_migrates_decides_what_others_may_do(
    role: Callable[..., str], new_database: Callable[..., str]
) -> None:
    owner = role("owner")
    url = new_database("owned", owner=owner)
    migrate(make_conninfo(url, user=owner))
    with psycopg.connect(url) as connection:
        execute(connection, "set local search_path = pg_catalog")
        broken = {rule: column(connection, RULES[rule][0]) for rule in RULES}
    assert {rule: names for rule, names in broken.items() if names} == {}
