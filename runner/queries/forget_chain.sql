-- A chain whose last script was rolled back is no longer wanted here.
delete from maintenance.chain as chain
where chain.name = %(name)s
  and not exists (
      select
      from maintenance.applied_script as script
      where starts_with(script.migration_id, chain.name || '/')
  )
