insert into maintenance.applied_script (migration_id, checksum, package_version, duration)
values (
    %(migration_id)s,
    %(checksum)s,
    %(package_version)s,
    clock_timestamp() - transaction_timestamp()
)
