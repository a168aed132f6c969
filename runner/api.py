"""Everything that the command line does, as typed functions for programs.

    from runner import api

    done = api.migrate("postgresql:///shop", applications=["matcha"])
    print([script.id for script in done.applied])

Each function raises RunnerError, whose ``message``, ``detail``, ``hint`` and ``code`` are what the
command line prints and exits with.

A name is imported from its module when it is first used, so that a command loads what it needs:
``status`` does without yoyo.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runner.access import Grants, RoleAccess, TableOwner, grant, grants, revoke
    from runner.archive_files import Compression, Damaged, VerifiedFile
    from runner.archives import Archive, ArchiveFile, Archives, list_archives
    from runner.backup import Backup
    from runner.brake import Signal
    from runner.control import Entry, history, pause, resume, stop
    from runner.definitions import Drift
    from runner.demo import Demo, demo
    from runner.doctor import Diagnosis, Finding, diagnose
    from runner.embedded import Server
    from runner.errors import Exit, RunnerError
    from runner.exports import Exported, ExportedFile, PlannedExport, export_archive, plan_export
    from runner.identity import Adoption, Identity, adopt_clone, identify
    from runner.imports import Imported, ImportedFile, import_files, verify_files
    from runner.leases import Lease, break_lease, leases
    from runner.locks import MIGRATION_LOCK, BuildProgress, Stopped, Terms
    from runner.mark import Incomplete, Marked, mark
    from runner.migrate import Done, Found, Migrated, migrate
    from runner.pace import Pace
    from runner.policies import (
        ArchiveChange,
        PlannedBranch,
        PlannedForeignKey,
        PlannedStrategy,
        PolicyChange,
        PolicyDetails,
        PolicyLease,
        PolicyPlan,
        PolicyStatus,
        Risk,
        SavedPolicy,
        SwitchedPolicy,
        add_policy,
        alter_policy,
        enable_policy,
        evolve_archive,
        list_policies,
        plan_policy,
        remove_policy,
        show_policy,
    )
    from runner.repair import Repaired, Unrepaired, repair
    from runner.report import (
        Advice,
        AnalyzeNeed,
        Blocking,
        Day,
        DeclaredIndex,
        DuplicateIndex,
        Estimate,
        Failure,
        Growth,
        Holder,
        IndexBloat,
        IndexSize,
        Link,
        LongQuery,
        NotedSize,
        ReindexNeed,
        Report,
        Sessions,
        TableBloat,
        TableSize,
        UnusedIndex,
        VacuumNeed,
        report,
    )
    from runner.report_page import write_page
    from runner.rollback import Loss, RollbackPlan, RolledBack, plan_rollback, rollback
    from runner.runs import Plan, Planned, Ran, listed, plan, run, worst
    from runner.settings import Setting, Settings, embedded_server, load
    from runner.stats import DatabaseFacts, Removable, Stats, TableFacts, TokenFacts, stats
    from runner.status import ScriptStatus, Status, SweepStatus, show, show_all, status
    from runner.steps import Order, Policy, Progress, StepResult, Vacuumed
    from runner.undo import Undone, UndoneStep, UndoPlan, UndoStep, plan_undo, undo

__all__ = [
    "MIGRATION_LOCK",
    "Adoption",
    "Advice",
    "AnalyzeNeed",
    "Archive",
    "ArchiveChange",
    "ArchiveFile",
    "Archives",
    "Backup",
    "Blocking",
    "BuildProgress",
    "Compression",
    "Damaged",
    "DatabaseFacts",
    "Day",
    "DeclaredIndex",
    "Demo",
    "Diagnosis",
    "Done",
    "Drift",
    "DuplicateIndex",
    "Entry",
    "Estimate",
    "Exit",
    "Exported",
    "ExportedFile",
    "Failure",
    "Finding",
    "Found",
    "Grants",
    "Growth",
    "Holder",
    "Identity",
    "Imported",
    "ImportedFile",
    "Incomplete",
    "IndexBloat",
    "IndexSize",
    "Lease",
    "Link",
    "LongQuery",
    "Loss",
    "Marked",
    "Migrated",
    "NotedSize",
    "Order",
    "Pace",
    "Plan",
    "Planned",
    "PlannedBranch",
    "PlannedExport",
    "PlannedForeignKey",
    "PlannedStrategy",
    "Policy",
    "PolicyChange",
    "PolicyDetails",
    "PolicyLease",
    "PolicyPlan",
    "PolicyStatus",
    "Progress",
    "Ran",
    "ReindexNeed",
    "Removable",
    "Repaired",
    "Report",
    "Risk",
    "RoleAccess",
    "RollbackPlan",
    "RolledBack",
    "RunnerError",
    "SavedPolicy",
    "ScriptStatus",
    "Server",
    "Sessions",
    "Setting",
    "Settings",
    "Signal",
    "Stats",
    "Status",
    "StepResult",
    "Stopped",
    "SweepStatus",
    "SwitchedPolicy",
    "TableBloat",
    "TableFacts",
    "TableOwner",
    "TableSize",
    "Terms",
    "TokenFacts",
    "UndoPlan",
    "UndoStep",
    "Undone",
    "UndoneStep",
    "Unrepaired",
    "UnusedIndex",
    "VacuumNeed",
    "Vacuumed",
    "VerifiedFile",
    "add_policy",
    "adopt_clone",
    "alter_policy",
    "break_lease",
    "demo",
    "diagnose",
    "embedded_server",
    "enable_policy",
    "evolve_archive",
    "export_archive",
    "grant",
    "grants",
    "history",
    "identify",
    "import_files",
    "leases",
    "list_archives",
    "list_policies",
    "listed",
    "load",
    "mark",
    "migrate",
    "pause",
    "plan",
    "plan_export",
    "plan_policy",
    "plan_rollback",
    "plan_undo",
    "remove_policy",
    "repair",
    "report",
    "resume",
    "revoke",
    "rollback",
    "run",
    "show",
    "show_all",
    "show_policy",
    "stats",
    "status",
    "stop",
    "undo",
    "verify_files",
    "worst",
    "write_page",
]

MODULES = {
    "access": ["Grants", "RoleAccess", "TableOwner", "grant", "grants", "revoke"],
    "archive_files": ["Compression", "Damaged", "VerifiedFile"],
    "archives": ["Archive", "ArchiveFile", "Archives", "list_archives"],
    "backup": ["Backup"],
    "brake": ["Signal"],
    "control": ["Entry", "history", "pause", "resume", "stop"],
    "definitions": ["Drift"],
    "demo": ["Demo", "demo"],
    "doctor": ["Diagnosis", "Finding", "diagnose"],
    "embedded": ["Server"],
    "errors": ["Exit", "RunnerError"],
    "exports": ["Exported", "ExportedFile", "PlannedExport", "export_archive", "plan_export"],
    "identity": ["Adoption", "Identity", "adopt_clone", "identify"],
    "imports": ["Imported", "ImportedFile", "import_files", "verify_files"],
    "leases": ["Lease", "break_lease", "leases"],
    "locks": ["MIGRATION_LOCK", "BuildProgress", "Stopped", "Terms"],
    "mark": ["Incomplete", "Marked", "mark"],
    "migrate": ["Done", "Found", "Migrated", "migrate"],
    "pace": ["Pace"],
    "policies": [
        "ArchiveChange",
        "PlannedBranch",
        "PlannedForeignKey",
        "PlannedStrategy",
        "PolicyChange",
        "PolicyDetails",
        "PolicyLease",
        "PolicyPlan",
        "PolicyStatus",
        "Risk",
        "SavedPolicy",
        "SwitchedPolicy",
        "add_policy",
        "alter_policy",
        "enable_policy",
        "evolve_archive",
        "list_policies",
        "plan_policy",
        "remove_policy",
        "show_policy",
    ],
    "repair": ["Repaired", "Unrepaired", "repair"],
    "report": [
        "Advice",
        "AnalyzeNeed",
        "Blocking",
        "Day",
        "DeclaredIndex",
        "DuplicateIndex",
        "Estimate",
        "Failure",
        "Growth",
        "Holder",
        "IndexBloat",
        "IndexSize",
        "Link",
        "LongQuery",
        "NotedSize",
        "ReindexNeed",
        "Report",
        "Sessions",
        "TableBloat",
        "TableSize",
        "UnusedIndex",
        "VacuumNeed",
        "report",
    ],
    "report_page": ["write_page"],
    "rollback": ["Loss", "RollbackPlan", "RolledBack", "plan_rollback", "rollback"],
    "runs": ["Plan", "Planned", "Ran", "listed", "plan", "run", "worst"],
    "settings": ["Setting", "Settings", "embedded_server", "load"],
    "stats": ["DatabaseFacts", "Removable", "Stats", "TableFacts", "TokenFacts", "stats"],
    "status": ["ScriptStatus", "Status", "SweepStatus", "show", "show_all", "status"],
    "steps": ["Order", "Policy", "Progress", "StepResult", "Vacuumed"],
    "undo": ["UndoPlan", "UndoStep", "Undone", "UndoneStep", "plan_undo", "undo"],
}


def __getattr__(name: str) -> Any:
    for module, names in MODULES.items():
        if name in names:
            found = getattr(import_module(f"runner.{module}"), name)
            globals()[name] = found
            return found
    raise AttributeError(f"module 'runner.api' has no attribute {name!r}")
