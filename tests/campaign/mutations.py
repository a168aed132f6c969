"""Mistakes that the package might have: the campaign has to find each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.conftest import scalar
from tests.statements import execute

if TYPE_CHECKING:
    from psycopg import Connection


@dataclass(frozen=True)
class Change:
    """A part of the text of a routine, and what stands there instead."""

    routine: str
    old: str
    new: str


def make(db: Connection, mistake: str) -> None:
    """Make a mistake in a database."""
    changed: dict[str, str] = {}
    for change in MUTATIONS[mistake]:
        text = changed.get(change.routine) or scalar(
            db, "select pg_get_functiondef(oid) from pg_proc where proname = %s"
                " and pronamespace = 'maintenance'::regnamespace", change.routine,
        )  # fmt: skip
        assert text.count(change.old) == 1, f"{change.routine} does not say once: {change.old}"
        changed[change.routine] = text.replace(change.old, change.new)
    for text in changed.values():
        execute(db, text)


REMOVED = "'with removed as (%s returning %s), '"
KEPT = "'kept as (insert into %s (%s%s) select %s%s from removed returning 1) '"
PROOF = "'''proof'', (select count(*) from kept))'"
NAMES = "string_agg(format('%I', attribute.attname), ', '"
DELETION = "        deletion,\n"
SELECTION = "        regexp_replace(deletion, '^delete ', ''),\n"
IN_TWO = """
    select case current_setting('campaign.half', true)
        when 'keep' then
            format(
                'with kept as (insert into %3$s (%4$s%5$s) select %2$s%6$s %1$s returning 1) '
                'select jsonb_build_object(''removed'', 0, ''proof'', 0)',
                regexp_replace(deletion, '^delete ', ''),
                string_agg(format('%I.%I', alias, attribute.attname), ', '
                    order by attribute.attnum),
                archive,
                string_agg(format('%I', attribute.attname), ', ' order by attribute.attnum),
                case when note.is_taken then ', _archived_at, _archived_by_step' else '' end,
                case when note.is_taken then format(', now(), %L::bigint', step) else '' end
            )
        when 'delete' then
            format(
                'with removed as (%s returning 1) select jsonb_build_object(''removed'', count(*), '
                '''proof'', count(*)) from removed',
                deletion
            )
        else format(
"""

MUTATIONS: dict[str, tuple[Change, ...]] = {
    "what was extended meanwhile goes all the same": (
        # by its key, as of the snapshot: the condition is not asked again on the newer version
        Change(
            "policy_statement",
            "'where ' || concat_ws(' and ', '(' || scope || ')', v_eligible);",
            """
        coalesce(
            (
                select format(
                    'where (%1$s) in (select %1$s from %2$s where %3$s)',
                    string_agg(format('target.%I', key.name), ', '),
                    v_only,
                    concat_ws(' and ', '(' || scope || ')', v_eligible)
                )
                from unnest(maintenance.primary_key_of(policy.relation)) as key (name)
                where kind = 'remove'
                having count(*) > 0
            ),
            'where ' || concat_ws(' and ', '(' || scope || ')', v_eligible)
        );""",
        ),
    ),
    "rows are archived and stay": (
        Change("archiving_statement", REMOVED, "'with removed as (select %2$s %1$s), '"),
        Change(
            "archiving_statement",
            KEPT,
            "'kept as (insert into %3$s (%4$s%5$s) select %6$s%7$s from removed returning 1) '",
        ),
        Change("archiving_statement", DELETION, SELECTION),
    ),
    "a row of each batch does not reach the archive": (
        Change("archiving_statement", KEPT, KEPT.replace("removed", "removed offset 1")),
        Change("archiving_statement", PROOF, PROOF.replace("kept", "removed")),
    ),
    "columns of one type change places in the archive": (
        Change(
            "archiving_statement",
            f"archive,\n        {NAMES} order by attribute.attnum)",
            f"archive,\n        {NAMES} order by attribute.atttypid, attribute.attnum)",
        ),
        Change(
            "archiving_statement",
            f"else '' end,\n        {NAMES} order by attribute.attnum)",
            f"else '' end,\n        {NAMES} order by attribute.atttypid, attribute.attnum desc)",
        ),
    ),
    "rows are archived in one transaction and deleted in the next": (
        Change(
            "drive_batches",
            "\n        begin\n",
            """
        begin
            perform set_config('campaign.half', 'keep', true);
            perform maintenance.run_batch(step, token, cursor, batch_size, time_goal);
            perform set_config('campaign.next', 'delete', false);
        exception
            when others then
                perform set_config('campaign.next', '', false);
        end;

        call maintenance.next_transaction();
        perform set_config('campaign.half', current_setting('campaign.next'), true);

        begin
""",
        ),
        Change("archiving_statement", "\n    select format(\n", IN_TWO),
        Change("archiving_statement", "\n    )\n    from", "\n    ) end\n    from"),
    ),
    "before is until": (
        Change("branch_predicate", "coalesce(one.value ->> 'comparison', '<')", "'<='"),
    ),
    "the zone is UTC": (
        Change(
            "branch_bound", "moment, (policy).zone, part.days", "moment, 'UTC', part.days"
        ),
        Change("branch_bound", "cutoff.instant, (policy).zone", "cutoff.instant, 'UTC'"),
    ),
    "seconds are milliseconds": (
        Change("branch_bound", "when 'ms' then ' * 1000' else ''", "when 'ms' then '' else ''"),
        ),
    "a sweep takes what is held": (
        Change(
            "branch_predicate",
            "when (policy).hold_column is null then null",
            "when (policy).hold_column is null or bounds is null then null",
        ),
    ),
    "a sweep forgets the condition": (
        Change(
            "branch_predicate",
            "maintenance.bracketed((policy).condition)",
            "case when bounds is not null then maintenance.bracketed((policy).condition) end",
        ),
    ),
    "tables that inherit are tended as well": (
        Change("policy_statement", "'only %s as target'", "'%s as target'"),
    ),
    "the dependents of all rows go": (
        Change("dependent_statement", "'where target.ctid = any ($2) and %s'", "'where %s'"),
        Change(
            "remove_range",
            "maintenance.joint_statement(policy, leaf, bounds, v_plain, branch)",
            "null",
        ),
    ),
    "a partition is forgotten": (
        Change("leaves_of", "order by part", "order by part offset (case when (select count(*)"
               " from maintenance.parts_of(leaves_of.relation)) > 1 then 1 else 0 end)"),
    ),
    "the log counts less than went": (
        Change(
            "run_batch", "removed = logged.removed + v_done.removed",
            "removed = greatest(logged.removed, v_done.removed)",
        ),
    ),
    "a lease is kept": (
        Change(
            "close_step", "set step = null, owner_pid = null, owner_start = null",
            "set owner_pid = null, owner_start = null",
        ),
    ),
    "undoing a run puts back what others archived": (
        Change(
            "undo_batch",
            "v_mine := format('target._archived_by_step = %s', v_step.undoes)",
            "v_mine := format('%s > 0', v_step.undoes)",
        ),
    ),
    "what is put back stays in the archive": (
        Change(
            "undo_statement",
            "delete from only %2$s as target where %10$s returning %3$s",
            "select %3$s from only %2$s as target where %10$s",
        ),
    ),
}  # fmt: skip
"""Each with a sentence that says what goes wrong."""
