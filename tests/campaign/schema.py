"""Tables at random: what they are called, what is in them, how they lie, and who refers to them.

Every table has a tag, by which the model knows its rows, whatever its primary key is. All else is
drawn: names that have to be quoted or that are SQL's or the package's own words, values that are
easily spoilt on their way into an archive, partitions whose columns stand in another order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

SCHEMAS = ["public", "App 1", "select"]
NAMES = [
    "orders", "select", "o'neil", 'a"b', "käse", "x.y", "with space", "target", "removed", "kept",
    "v_size", "Dependent", "50 %s", "dead", "found",
]  # fmt: skip
COLUMNS = [
    "id", "No", "user", 'say "hi"', "größe", "v_moment", "target", "removed", "ctid_", "is_done",
    "limit", "a b", "x'y", "{{table}}", "%I", "key", "held", "bounds", "leaf", "policy", "old",
    "new", "tag", "Part", "kept", "dependent", "row", "sweep", "v_bound_1", "memory", "rest",
    "size",
]  # fmt: skip


def name(text: str) -> str:
    """Quote an identifier."""
    return '"' + text.replace('"', '""') + '"'


def literal(text: str) -> str:
    """Quote a text."""
    return "'" + text.replace("'", "''") + "'"


def _text(random: Random) -> str:
    kind = random.random()
    if kind < 0.15:  # out of line, since it cannot be compressed
        return literal(random.randbytes(random.choice([1500, 4000, 9000])).hex())
    if kind < 0.25:
        return f"repeat('compress me ', {random.randint(200, 3000)})"
    return literal(
        random.choice(["", " ", "NULL", "\\", "(a,b)", '"', "it''s", "zwölf €", "\n\t", "x" * 50])
    )


def _bytes(random: Random) -> str:
    return rf"'\x{random.randbytes(random.choice([0, 1, 16, 3000])).hex()}'::bytea"


def _document(random: Random) -> str:
    inner = random.choice(['"a"', "1.10", "null", "[1, 2,  3]", '{"b": {}}', '"\\u00e9"', "1e400"])
    filler = random.randbytes(random.choice([0, 0, 2000])).hex()
    return literal(f'{{"z": {inner}, "a":  "{filler}", "z": {random.randint(0, 9)}}}')


def _one_of(*values: str) -> Callable[[Random], str]:
    return lambda random: random.choice(values)


def _uuid(random: Random) -> str:
    return f"'{random.randbytes(16).hex()}'::uuid"


def _integers(random: Random) -> str:
    values = ", ".join(random.choice(["null", "1", "-7", "2147483647"]) for _ in range(3))
    return random.choice(["'{}'::integer[]", f"array[{values}]::integer[]", "'[0:1]={1,2}'::int[]"])


PAYLOADS: dict[str, Callable[[Random], str]] = {
    "integer": _one_of("0", "'-2147483648'", "2147483647"),
    "bigint": _one_of("0", "'-9223372036854775808'", "9223372036854775807"),
    "numeric": _one_of(
        "'NaN'", "'Infinity'", "'-Infinity'", "1.10", "1.1000", "0.000", "'1e-40'", "'1e60'"
    ),
    "numeric(12,4)": _one_of("'NaN'", "1.1", "'-99999999.9999'"),
    "double precision": _one_of("'NaN'", "'-0'", "'1e-300'", "'Infinity'", "0.1", "random()"),
    "real": _one_of("'NaN'", "'-0'", "0.1", "16777217"),
    "text": _text,
    "varchar(20)": _one_of("''", "'short'", "'twenty characters...'"),
    "char(5)": _one_of("''", "'a'", "'a b'", "'abcde'"),
    "jsonb": _document,
    "json": _document,
    "bytea": _bytes,
    "uuid": _uuid,
    "timestamptz": _one_of("'infinity'", "'-infinity'", "now()", "'0044-03-15 12:00:00.1+00 BC'"),
    "timestamp(3)": _one_of("'infinity'", "localtimestamp", "'294276-12-31 23:59:59'"),
    "date": _one_of("'infinity'", "'4714-11-24 BC'", "current_date"),
    "timetz": _one_of("'24:00:00+15:59'", "'04:05:06.789-08'"),
    "interval": _one_of("'1 mon -1 day 00:00:00.1'", "'0'", "'-178000000 years'"),
    "integer[]": _integers,
    "text[]": _one_of("'{}'", '\'{NULL,"NULL","a,b",""}\'', "'{{a,b},{c,d}}'"),
    "tstzrange": _one_of("'empty'", "'[,now]'", "'(2026-01-01,infinity]'"),
    "inet": _one_of("'::1'", "'10.0.0.1/8'"),
    "bit varying": _one_of("''", "'101'"),
    "point": _one_of("'(0.1,-0)'", "'(Infinity,NaN)'"),
    "tsvector": _one_of("''", "'a:1A b:2,3'"),
    "pg_lsn": _one_of("'0/0'", "'FFFFFFFF/FFFFFFFF'"),
    "boolean": _one_of("true", "false"),
    "{schema}.mood": _one_of("'sad'", "'so so'"),
    "{schema}.pair": _one_of("'(1,\"a,b\")'", "'(,)'", "row(2, null)"),
    "{schema}.percentage": _one_of("0", "100.00", "33.3"),
}
TYPES = (
    "create type {schema}.mood as enum ('sad', 'so so', 'happy');"
    " create type {schema}.pair as (a integer, b text);"
    " create domain {schema}.percentage as numeric check (value between 0 and 100)"
)

TIMES = {
    "timestamptz": ("timestamptz", ""),
    "timestamp": ("timestamp", ""),
    "date": ("date", ""),
    "seconds": ("bigint", "s"),
    "milliseconds": ("bigint", "ms"),
    "numeric seconds": ("numeric", "s"),
    "double milliseconds": ("double precision", "ms"),
}
ENDLESS = {"timestamptz", "timestamp", "date", "numeric seconds", "double milliseconds"}


@dataclass(frozen=True)
class Column:
    """A column: how it is declared, and what an insert may put into it (None: nothing)."""

    name: str
    type: str
    more: str = ""
    values: Callable[[Random], str] | None = None


@dataclass(frozen=True)
class Time:
    """A column that says since when a row is of no use; retention is what its branch will say."""

    name: str
    kind: str
    zone: str
    retention: int
    comparison: str

    @property
    def type(self) -> str:
        """The type in the database."""
        return TIMES[self.kind][0]

    @property
    def unit(self) -> str:
        """The unit of a number."""
        return TIMES[self.kind][1]

    def put(self, seconds: float) -> str:
        """Write what makes a row eligible in so many seconds, as nearly as the type allows."""
        at = f"(clock_timestamp() + interval '{seconds - self.retention:.6f} s')"
        local = f"({at} at time zone {literal(self.zone)})"
        epoch = f"extract(epoch from {at})"
        return {
            "timestamptz": at,
            "timestamp": local,
            "date": f"{local}::date",
            "seconds": f"{epoch}::bigint",
            "milliseconds": f"({epoch} * 1000)::bigint",
            "numeric seconds": epoch,
            "double milliseconds": f"({epoch} * 1000)::double precision",
        }[self.kind]

    def due(self) -> str:
        """Write the instant from which on a row may go, in seconds since 1970; null is never.

        The package computes a bound from the moment of a run, in the type of the column. This goes
        the other way, so that a mistake there is no mistake here.
        """
        column = f"target.{name(self.name)}"
        zone = literal(self.zone)
        # A day is over, by `<`, once the next one begins.
        day = f"({column} + {0 if self.comparison == '<=' else 1})::timestamp at time zone {zone}"
        epoch = {
            "timestamptz": f"extract(epoch from {column})",
            "timestamp": f"extract(epoch from {column} at time zone {zone})",
            "date": f"extract(epoch from {day})",
            "seconds": column,
            "milliseconds": f"{column} / 1000.0",
            "numeric seconds": f"nullif({column}, 'NaN')",
            "double milliseconds": f"nullif({column}, 'NaN') / 1000",
        }[self.kind]
        return f"({epoch})::double precision + {self.retention}"


@dataclass(frozen=True)
class Children:
    """A table that refers to the rows of the first one."""

    relation: str
    columns: tuple[str, ...]
    cascades: bool
    ddl: str


@dataclass(frozen=True)
class Table:
    """A table as it was drawn."""

    schema: str
    relation: str
    columns: tuple[Column, ...]
    tag: str
    state: str
    weight: str
    hold: str | None
    part: str | None
    parent: str | None
    key: tuple[str, ...]
    times: tuple[Time, ...]
    payload: tuple[Column, ...]
    zone: str
    has_heir: bool
    children: Children | None
    ddl: tuple[str, ...]

    @property
    def only(self) -> str:
        """The table as statements name it whose rows are its own."""
        return f"only {self.relation}" if self.has_heir else self.relation

    def row(self, changes: dict[str, str] | None = None, alias: str = "target") -> str:
        """Write a row of it as one text, with some columns changed."""
        values = (
            (changes or {}).get(column.name) or f"{alias}.{name(column.name)}"
            for column in self.columns
        )
        return f"row({', '.join(values)})::text"

    def sibling(self, text: str) -> str:
        """Name another table in the same schema."""
        return f"{name(self.schema)}.{name(text)}"


def draw_table(random: Random, *, allow_references: bool = True) -> Table:
    """Draw a table."""
    schema = random.choice(SCHEMAS)
    title = random.choice(NAMES)
    names = random.sample(COLUMNS, len(COLUMNS))
    zone = random.choice(["UTC", "Asia/Kolkata", "Etc/GMT+9", "Pacific/Kiritimati"])
    is_partitioned = random.random() < 0.25
    key_kind = random.choice(["identity", "identity", "uuid", "pair", "text", "none"])

    def column(type_: str, more: str = "", values: Callable[[Random], str] | None = None) -> Column:
        return Column(names.pop(), type_.format(schema=name(schema)), more, values)

    tag = column("text", "not null")
    state = column(
        "text", "not null default 'open'", _one_of("'open'", "'open'", "'done'", "'done'", "'gone'")
    )
    weight = column("integer", "not null", lambda random: str(random.randint(-3, 9)))
    part = column("integer", "not null", _one_of("0", "1", "2")) if is_partitioned else None
    hold = None
    if random.random() < 0.4:
        hold = random.choice([
            column("boolean", "", _one_of("null", "false", "false", "true")),
            column("timestamptz", "", _one_of("null", "null", "null", "now()")),
        ])  # fmt: skip
    key = _draw_key(
        random, column, "uuid" if is_partitioned and key_kind == "identity" else key_kind
    )
    times = tuple(
        Time(
            names.pop(), random.choice([*TIMES]), zone,
            random.choice([0, 0, 60, 3600, 5400, 86400 * 3]), random.choice(["<", "<", "<="]),
        )
        for _ in range(random.choice([1, 1, 2, 3]))
    )  # fmt: skip
    payload = tuple(
        column(type_, "", PAYLOADS[type_])
        for type_ in random.sample([*PAYLOADS], random.randint(2, 6))
    )
    generated: list[Column] = []
    if random.random() < 0.3:
        formula = f"({name(weight.name)} * 2)"
        generated.append(column("integer", f"generated always as {formula} stored"))
    # what refers to rows needs a key that nobody changes
    may_refer = allow_references and bool(key) and not is_partitioned
    parent = None
    if may_refer and len(key) == 1 and random.random() < 0.15:
        parent = column(key[0].type)

    columns = [
        tag, state, weight, *key, *payload, *generated, *(Column(t.name, t.type) for t in times),
        *(one for one in (part, hold, parent) if one is not None),
    ]  # fmt: skip
    random.shuffle(columns)
    keys = tuple(one.name for one in key) + ((part.name,) if key and part else ())
    relation = f"{name(schema)}.{name(title)}"
    children = _draw_children(random, schema, title, key) if may_refer and not parent else None
    may_inherit = not (is_partitioned or parent or children or key_kind == "identity")
    has_heir = may_inherit and random.random() < 0.25
    table = Table(
        schema=schema, relation=relation, columns=tuple(columns), tag=tag.name, state=state.name,
        weight=weight.name, hold=hold.name if hold else None, part=part.name if part else None,
        parent=parent.name if parent else None, key=keys, times=times, payload=payload, zone=zone,
        has_heir=has_heir, children=children,
        ddl=(),
    )  # fmt: skip
    return _with_ddl(random, table)


def _draw_key(random: Random, column: Callable[..., Column], kind: str) -> list[Column]:
    """Draw the columns of the primary key."""
    if kind == "identity":
        how = random.choice(["always", "by default"])
        return [column("bigint", f"generated {how} as identity")]
    if kind == "uuid":
        return [column("uuid", "not null default gen_random_uuid()")]
    if kind == "text":
        return [column("text", 'not null default md5(gen_random_uuid()::text) collate "C"')]
    if kind == "pair":
        return [
            column("integer", "not null", _one_of("1", "2", "3")),
            column("uuid", "not null default gen_random_uuid()"),
        ]
    return []


def _draw_children(random: Random, schema: str, title: str, key: list[Column]) -> Children | None:
    """Draw a table that refers to the first one."""
    if random.random() > 0.4:
        return None
    cascades = random.random() < 0.5
    relation = f"{name(schema)}.{name(title + ' child')}"
    columns = tuple(f"of {number}" for number in range(len(key)))
    declared = ", ".join(
        f"{name(mine)} {theirs.type} not null" for mine, theirs in zip(columns, key, strict=True)
    )
    mine = ", ".join(map(name, columns))
    theirs = ", ".join(name(one.name) for one in key)
    ddl = (
        f"create table {relation} (id bigint generated always as identity primary key, {declared},"
        f" tag text not null, note text, foreign key ({mine}) references"
        f" {name(schema)}.{name(title)} ({theirs}) {'on delete cascade' if cascades else ''});"
        f" create index on {relation} ({mine})"
    )
    return Children(relation, columns, cascades, ddl)


def _with_ddl(random: Random, table: Table) -> Table:
    """Write the statements that make a table."""
    declared = [f"{name(one.name)} {one.type} {one.more}" for one in table.columns]
    if hole := random.random() < 0.4:  # a column that was dropped: numbers and places differ
        declared.insert(random.randrange(len(declared)), "was_here integer default 7")
    key = f"primary key ({', '.join(map(name, table.key))})" if table.key else ""
    statements = [f"create schema if not exists {name(table.schema)}"]
    statements.append(TYPES.format(schema=name(table.schema)))
    body = ", ".join([*declared, key] if key else declared)
    if table.part is None:
        statements.append(f"create table {table.relation} ({body})")
    else:
        statements.append(
            f"create table {table.relation} ({body}) partition by list ({name(table.part)})"
        )
        statements += _partitions(random, table, declared)
    if hole:
        statements.append(f"alter table {table.relation} drop column was_here")
    if table.parent:
        statements.append(
            f"alter table {table.relation} add foreign key ({name(table.parent)}) references"
            f" {table.relation} ({name(table.key[0])}) on delete set null;"
            f" create index on {table.relation} ({name(table.parent)})"
        )
    if random.random() < 0.5 and table.part is None:
        statements.append(f"alter table {table.relation} set (fillfactor = 40)")
    statements.append(f"create index on {table.relation} ({name(table.tag)})")
    statements += [
        f"create index on {table.relation} ({name(time.name)})"
        for time in table.times
        if random.random() < 0.7
    ]
    if table.has_heir:
        statements.append(f"create table {table.sibling('heir')} () inherits ({table.relation})")
    if table.children:
        statements.append(table.children.ddl)
    return replace(table, ddl=tuple(statements))


def _partitions(random: Random, table: Table, declared: list[str]) -> list[str]:
    """Write the partitions; one of them was a table before, with its columns in another order."""
    shuffled = random.sample(declared, len(declared))
    second = table.sibling("part 1")
    return [
        f"create table {table.sibling('part 0')} partition of {table.relation} for values in (0)",
        f"create table {second} ({', '.join(shuffled)})",
        f"alter table {table.relation} attach partition {second} for values in (1)",
        f"create table {table.sibling('part 2')} partition of {table.relation} default",
    ]


def has_index(table: Table, column: str) -> bool:
    """Tell whether a column has an index of its own."""
    return f"create index on {table.relation} ({name(column)})" in table.ddl
