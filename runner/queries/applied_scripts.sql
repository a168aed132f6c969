-- The ledger, in the order in which the scripts were applied.
select script.migration_id, script.checksum, script.package_version, script.applied_at
from maintenance.applied_script as script
order by script.position
