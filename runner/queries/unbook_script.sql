delete from maintenance.applied_script where migration_id = %(migration_id)s
