"""A round: a plan that follows from its seed, what happens by it, and the verdict.

The plan is the whole of what is drawn: table, policies, writers and what each of them chooses,
drivers, faults and their moments. How the threads and processes of a round come to lie beside each
other is not drawn, and no seed repeats that exactly; to meet a violation again, play the round of
its seed a number of times.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from threading import Event, Thread
from time import monotonic, sleep, time
from traceback import format_tb
from typing import TYPE_CHECKING

import psycopg
from psycopg.types.json import Jsonb

from runner import api
from tests.campaign.drivers import (
    PATIENCE,
    Command,
    Driver,
    Running,
    Session,
    draw_commands,
    draw_sessions,
    until,
)
from tests.campaign.faults import Fault, Troublemaker, draw_faults
from tests.campaign.policies import Policy, describe, draw_policies
from tests.campaign.relay import Relay
from tests.campaign.schema import Table, draw_table, literal, name
from tests.campaign.server import OWNER
from tests.campaign.undoing import undo
from tests.campaign.verdict import (
    AUDIT,
    SHOWN,
    Judge,
    fingerprint,
    judge_leases,
    judge_log,
    judge_rest,
    look,
)
from tests.campaign.workload import LEVELS, GaveUpError, Model, Statements, Writer
from tests.statements import column, execute, rows

if TYPE_CHECKING:
    from psycopg import Connection

    from tests.campaign.server import Scratch

LONGEST = 1.7
"""Seconds after which commands are asked to end."""
SHORTEST = 0.4
WENT = (
    "select policy.action, sum(step.removed)::bigint from maintenance.run_step as step"
    " join maintenance.policy as policy on policy.name = step.policy group by policy.action"
)

ENDED = "select exit_reason, count(*) from maintenance.run_step group by exit_reason"


class Violation(AssertionError):
    """A round that went wrong, with all that is needed to play it again."""


@dataclass(frozen=True)
class Plan:
    """All that is drawn for a round."""

    seed: int
    table: Table
    policies: tuple[Policy, ...]
    writers: tuple[tuple[str, bool], ...]
    """Isolation level, and whether it closes its connection in the middle of things."""
    backlog: int
    """Rows that are there before the round, most of them dead."""
    is_audited: bool
    is_slow: bool
    """Whether rows go slowly, so that faults hit the middle of a batch."""
    is_before: bool
    """Whether a trigger has a say before each row goes."""
    level: str | None
    """Isolation level that the database asks for."""
    commands: tuple[Command, ...]
    sessions: tuple[Session, ...]
    faults: tuple[Fault, ...]
    by_command: bool
    """Whether the last run is one of the command's, or of the procedure."""
    is_foreign: bool
    """Whether the tables belong to another role than the package."""
    undoes: bool
    """Whether a run is undone at the end, where that can be."""

    def __str__(self) -> str:
        """Tell all of it."""
        return "\n".join([
            f"seed {self.seed}",
            *(f"  {statement};" for statement in self.table.ddl),
            *(f"  {statement};" for policy in self.policies for statement in policy.ddl),
            *(f"  {describe(policy)}" for policy in self.policies),
            f"  backlog {self.backlog}, audited {self.is_audited}, slow {self.is_slow},"
            f" before {self.is_before}, level {self.level}, last by command {self.by_command},"
            f" undoes {self.undoes}, foreign {self.is_foreign}",
            *(f"  writer at {level}, clumsy {clumsy}" for level, clumsy in self.writers),
            *(f"  {one}" for one in (*self.commands, *self.sessions, *self.faults)),
        ])  # fmt: skip


def draw_plan(seed: int) -> Plan:
    """Draw the plan of a round."""
    random = Random(seed)
    table = draw_table(random)
    policies = draw_policies(random, table)
    names = tuple(policy.name for policy in policies)
    is_swept = any(policy.has_sweep for policy in policies)
    is_audited = not is_swept and random.random() < 0.6
    commands = draw_commands(random, names)
    return Plan(
        seed=seed,
        table=table,
        policies=policies,
        writers=tuple(
            (level, random.random() < 0.5)
            for level in (*random.sample(LEVELS, 3), random.choice(LEVELS))[: random.choice([3, 4])]
        ),
        backlog=random.choice([0, 60, 200, 500]),
        is_audited=is_audited,
        is_slow=is_audited and random.random() < 0.5,
        is_before=is_audited and random.random() < 0.25,
        level=random.choice([None, None, None, *LEVELS[1:]]),
        commands=commands,
        sessions=draw_sessions(random, names, is_alone=not commands),
        faults=draw_faults(random, has_commands=bool(commands)),
        by_command=random.random() < 0.3,
        is_foreign=random.random() < 0.4,
        undoes=random.random() < 0.6,
    )


class Round:
    """A round on a server: a database of its own, in which the plan is carried out."""

    def __init__(self, scratch: Scratch, plan: Plan, longest: float = LONGEST) -> None:
        """Take the plan; nothing happens yet."""
        self.plan = plan
        self.longest = longest
        self.faults: list[str] = []
        self.said: list[dict[str, int]] = []
        self.committed = 0
        self.went: dict[str, int] = {}
        """Rows that went in runs, by what became of them."""
        self.ended: dict[str, int] = {}
        """How steps ended."""
        self._scratch = scratch
        self._database = f"round_{plan.seed}"
        self._decoys: list[str] = []
        statements = Statements(plan.table, plan.policies)
        self._writers = [
            Writer(
                self._connect, statements, f"w{number}", f"{plan.seed} {number}", level,
                is_clumsy=is_clumsy,
            )
            for number, (level, is_clumsy) in enumerate(plan.writers)
        ]  # fmt: skip

    def _connect(self, title: str) -> Connection:
        return self._scratch.connect(self._database, title)

    def play(self) -> None:
        """Play it, and raise Violation for whatever is wrong."""
        try:
            wrong = self._play()
        except (GaveUpError, psycopg.Error, api.RunnerError) as failure:
            wrong = [f"{type(failure).__name__}: {failure}"]
            if not isinstance(failure, GaveUpError):
                wrong += [line.rstrip() for line in format_tb(failure.__traceback__)[-4:]]
        if wrong:
            shown = "\n".join(f"- {one}" for one in wrong[:SHOWN])
            message = (
                f"{len(wrong)} violations in the round of seed {self.plan.seed}:\n{shown}\n"
                f"faults: {self.faults}\n{self.plan}\n"
                f"again: CAMPAIGN_SEED={self.plan.seed} CAMPAIGN_ROUNDS=1 CAMPAIGN_TIMES=10"
                " pytest -m slow tests/campaign -k nothing_is_lost"
            )
            raise Violation(message)

    def _play(self) -> list[str]:
        self._scratch.create_database(self._database)
        try:
            with self._connect("campaign setup") as db:
                self._set_up(db)
                decoy = fingerprint(db, self._decoys)
            self._let_go()
            wrong = self._settle()
            with self._connect("campaign") as db:
                wrong = wrong or self._judge(db, decoy)
                self.went = dict(rows(db, WENT))
                self.ended = dict(rows(db, ENDED))
            return wrong
        finally:
            for writer in self._writers:
                writer.leave()
            self._scratch.mend()
            self._scratch.drop_database(self._database)

    # What is there before

    def _set_up(self, db: Connection) -> None:
        plan = self.plan
        table = plan.table
        execute(db, AUDIT)
        decoy = f"create table {table.sibling('decoy')} (like {table.relation} including all)"
        for statement in (*table.ddl, decoy):
            self._define(db, statement)
        self._decoys = [table.sibling("decoy")]
        self._fill(db)
        for policy in plan.policies:
            for statement in policy.ddl:
                self._define(db, statement)
            execute(
                db,
                "select maintenance.register_policy(%s, %s::regclass, %s)",
                policy.name, table.relation, Jsonb(policy.settings),
            )  # fmt: skip
            if policy.has_sweep:
                execute(
                    db,
                    "select maintenance.attach_insert_sweep(%s, at_once => %s)",
                    policy.name, policy.at_once,
                )  # fmt: skip
        if plan.is_audited:
            self._audit(db)
        if plan.level:
            execute(
                db,
                f"alter database {self._database} set default_transaction_isolation ="
                f" '{plan.level}'",
            )
        execute(db, f"analyze {table.relation}")

    def _define(self, db: Connection, statement: str) -> None:
        """Make something that belongs to whom the plan says; the package itself is ours."""
        is_theirs = self.plan.is_foreign and "maintenance." not in statement
        execute(db, f"set role {OWNER if is_theirs else 'none'}")
        execute(db, statement)
        execute(db, "set role none")

    def _fill(self, db: Connection) -> None:
        """Put the backlog, each row as one of some writer's, and rows that are nobody's."""
        random = Random(self.plan.seed)
        table = self.plan.table
        execute(db, "set timezone = 'UTC'")
        for number, writer in enumerate(self._writers):
            for fate, count in (("dead", self.plan.backlog), ("live", 40), ("any", 20)):
                tags = [
                    f"{writer.title}-{fate}-{one}" for one in range(count // len(self._writers))
                ]
                if tags:
                    for row in rows(db, writer.say.insert(random, tags, fate)):
                        writer.model.rows[row[0]] = writer.say.read(row)
            if number == 0:
                tags = [f"decoy-{one}" for one in range(20)]
                statement = writer.say.insert(random, tags, "dead")
                decoy = statement.replace(table.relation, table.sibling("decoy"), 1)
                execute(db, decoy)
                if table.has_heir:
                    self._decoys.append(table.sibling("heir"))
                    execute(db, statement.replace(table.relation, table.sibling("heir"), 1))

    def _audit(self, db: Connection) -> None:
        """Let a trigger look on when rows go or are changed, and keep them up if need be."""
        table = self.plan.table
        tag = f"old.{name(table.tag)}"
        pause = "select pg_sleep(0.002)" if self.plan.is_slow else "select"
        execute(
            db,
            f"create function campaign.pause() returns void language sql as $$ {pause} $$;"
            " create function campaign.see() returns trigger language plpgsql"
            " set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $see$ begin insert into"
            f" campaign.audit values (tg_op, {tag}, {table.row(alias='old')},"
            " current_setting('application_name'));"
            " if current_setting('application_name') not like 'app %' then"
            " perform campaign.pause(); end if; return null; end $see$;"
            f" create trigger see after delete or update on {table.relation} for each row"
            " execute function campaign.see()",
        )
        if self.plan.is_before:
            execute(
                db,
                "create function campaign.allow() returns trigger language plpgsql as"
                " $$ begin if tg_op = 'DELETE' then return old; end if; return new; end $$;"
                f" create trigger allow before delete or update on {table.relation} for each row"
                " execute function campaign.allow()",
            )

    # What happens

    def _let_go(self) -> None:
        end = Event()
        commands: list[Running] = []
        drivers = [Driver(session, self._connect) for session in self.plan.sessions]
        threads = [
            Thread(target=one.work, args=(end,), daemon=True) for one in (*self._writers, *drivers)
        ]
        names = tuple(policy.name for policy in self.plan.policies)
        relay = Relay(self._scratch.server)
        trouble = Troublemaker(
            self._scratch, self._connect, self.plan.table, names, self._writers, commands, relay
        )
        self.faults = trouble.done
        began = monotonic()
        try:
            for command in sorted(self.plan.commands, key=lambda one: one.delay):
                sleep(max(0, began + command.delay - monotonic()))
                commands.append(Running(command, relay.url(self._database)))
            for thread in threads:
                thread.start()
            trouble.make(self.plan.faults)
            until(
                lambda: self._is_up() and all(command.is_done for command in commands),
                began + self.longest - monotonic(),
            )
            sleep(max(0, began + SHORTEST - monotonic()))
            end.set()
            for command in commands:
                command.end()
        finally:
            end.set()
            for command in commands:
                command.kill()
            relay.close()
            self._scratch.mend()
            for thread in threads:
                if thread.ident is not None:
                    thread.join(PATIENCE)
        if any(thread.is_alive() for thread in threads):
            with self._connect("campaign") as db:
                said = rows(
                    db,
                    "select application_name, state, wait_event, now() - query_start,"
                    " query from pg_stat_activity where datname = current_database()",
                )
            message = f"a session does not end: {said}"
            raise GaveUpError(message)
        for one in (*self._writers, *drivers):
            self.said.append(one.said)
            if one.failure is not None:
                raise one.failure

    def _is_up(self) -> bool:
        """See to it that the server runs: it may have gone down after the faults were over."""
        if not self._scratch.server.is_running():
            self._scratch.mend()
        return True

    def _settle(self) -> list[str]:
        """Wait until all is quiet, and until each writer knows what it has committed."""
        self._scratch.mend()
        for writer in self._writers:
            for is_last in (False, False, True):
                try:
                    writer.end()
                    break
                except psycopg.OperationalError:  # the server was yet to notice that it crashed
                    if is_last:
                        raise
                    sleep(0.5)
                    self._scratch.mend()
            self.committed += writer.committed
        with self._connect("campaign") as db:
            quiet = until(
                lambda: (
                    not column(
                        db,
                        "select pid from pg_stat_activity where datname = current_database()"
                        " and pid <> pg_backend_pid() and backend_type = 'client backend'",
                    )
                ),
                PATIENCE,
            )
            execute(db, "select maintenance.resume_runs()")
        return [] if quiet else ["sessions stay, though whoever began them is gone"]

    # What has to be

    def _judge(self, db: Connection, decoy: str) -> list[str]:
        plan = self.plan
        model = Model()
        for writer in self._writers:
            model.update(writer.model)
        wrong = self._judge_rows(db, model, decoy)
        if wrong:
            return [f"after the faults: {one}" for one in wrong]
        since = self._run_all(db)
        wrong += self._judge_rows(db, model, decoy)
        wrong += judge_leases(db)
        wrong += judge_rest(db, plan.table, plan.policies, since)
        if not wrong and plan.undoes:
            wrong += self._undo(db, model)
        return wrong

    def _undo(self, db: Connection, model: Model) -> list[str]:
        """Undo a run; the next one archives the same rows again."""
        plan = self.plan
        url = self._scratch.server.url(self._database)
        wrong = undo(db, self._connect, url, plan.table, plan.policies, plan.seed)
        if wrong:
            return wrong
        self._run_all(db)
        found = look(db, plan.table, plan.policies, self._decoys, audited=False)
        wrong = Judge(plan.policies, model, found).judge() + judge_leases(db)
        return [f"after a run was undone: {one}" for one in wrong]

    def _judge_rows(self, db: Connection, model: Model, decoy: str) -> list[str]:
        plan = self.plan
        found = look(db, plan.table, plan.policies, self._decoys, audited=plan.is_audited)
        wrong = Judge(plan.policies, model, found).judge()
        wrong += judge_log(db, plan.policies, model, found)
        if found.decoy != decoy:
            wrong.append(f"tables without a policy were touched: {found.decoy}, not {decoy}")
        return wrong

    def _run_all(self, db: Connection) -> float:
        """Let every policy run once more, undisturbed; return when that began."""
        if self.plan.is_audited:
            execute(db, "create or replace function campaign.pause() returns void language sql as"
                        " $$ select $$")  # fmt: skip
        since = time()
        names = [policy.name for policy in self.plan.policies]
        if self.plan.by_command:
            ran = api.run(self._scratch.server.url(self._database), names)
            ended = [(step.policy, step.exit_reason, step.message) for step in ran.steps]
        else:
            ended = [
                (one, *rows(db, f"call maintenance.run_policy({literal(one)})")[0][2:])
                for one in names
            ]
        for policy, reason, message in ended:
            if reason not in ("exhausted", "nothing_to_do"):
                said = f"the last run of {policy} ended as {reason}: {message}"
                raise GaveUpError(said)
        return since


def play(scratch: Scratch, seed: int, longest: float = LONGEST) -> Round:
    """Play the round of a seed."""
    played = Round(scratch, draw_plan(seed), longest)
    played.play()
    return played
