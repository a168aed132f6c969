"""The models whose tables maintenance tends, with the columns and indexes of THE_BOT's."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from django.conf import settings  # pyright: ignore[reportMissingTypeStubs]

models: Any = import_module("django.db.models")


class FailedTask(models.Model):
    """A task that failed for good."""

    task_id = models.CharField(max_length=255, unique=True, db_index=True)
    task_name = models.CharField(max_length=255, db_index=True)
    status = models.CharField(max_length=20, default="failed", db_index=True)
    error_message = models.TextField()
    error_type = models.CharField(max_length=255)
    traceback = models.TextField()
    retry_count = models.IntegerField(default=0)
    is_transient = models.BooleanField(default=False)
    metadata = models.JSONField(default=dict)
    failed_at = models.DateTimeField(auto_now_add=True)
    investigated_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    investigation_notes = models.TextField(blank=True)
    resolution_notes = models.TextField(blank=True)

    class Meta:
        """Where it is, and how it is looked for."""

        db_table = "core_failed_task"
        indexes = (
            models.Index(fields=["failed_at"]),
            models.Index(fields=["failed_at", "status"]),
            models.Index(fields=["task_name", "status"]),
        )


class TaskExecutionLog(models.Model):
    """A task that ran in the background."""

    task_id = models.CharField(max_length=255, db_index=True)
    task_name = models.CharField(max_length=255, db_index=True)
    status = models.CharField(max_length=20, db_index=True)
    started_at = models.DateTimeField(auto_now_add=True)
    completed_at = models.DateTimeField(null=True)
    duration_seconds = models.FloatField(null=True)
    retry_count = models.IntegerField(default=0)
    result = models.JSONField(default=dict)
    error_message = models.TextField(blank=True)

    class Meta:
        """Where it is, and how it is looked for."""

        db_table = "core_task_execution_log"
        indexes = (
            models.Index(fields=["started_at"]),
            models.Index(fields=["task_name", "status", "started_at"]),
        )


class AuditLog(models.Model):
    """Something that somebody did."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True)
    action = models.CharField(max_length=50, db_index=True)
    target_type = models.CharField(max_length=50)
    target_id = models.IntegerField(null=True)
    ip_address = models.GenericIPAddressField()
    user_agent = models.CharField(max_length=500)
    metadata = models.JSONField(default=dict)
    timestamp = models.DateTimeField(auto_now_add=True)

    class Meta:
        """Where it is, and how it is looked for."""

        db_table = "core_audit_log"
        indexes = (
            models.Index(fields=["timestamp"]),
            models.Index(fields=["user", "timestamp"]),
            models.Index(fields=["action", "timestamp"]),
            models.Index(fields=["ip_address", "timestamp"]),
            models.Index(fields=["target_type", "target_id"]),
        )
