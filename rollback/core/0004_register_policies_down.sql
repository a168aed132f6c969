-- Removes the policies, with what users changed about them, and the functions that acted for them.
-- Archives that create_archive made go as well, unless they hold rows: see drop_archives.

select maintenance.drop_archives();
select maintenance.remove_policy(policy.name, policy.chain) from maintenance.policy;

drop function maintenance.attest_backup(text, text, timestamptz);
drop function maintenance.drop_archives();
drop function maintenance.drop_archive(regclass);
drop function maintenance.archived_rows(regclass);
drop function maintenance.evolve_archive(text);
drop function maintenance.run_with_patience(regclass, text);
drop function maintenance.create_archive(regclass, text);
drop function maintenance.archive_name(name);
drop function maintenance.column_definitions(regclass);
drop function maintenance.remove_policy(text, text);
drop function maintenance.enable_policy(text, boolean);
drop function maintenance.alter_policy(text, jsonb);
drop function maintenance.register_policy(text, regclass, jsonb, text);
drop function maintenance.save_policy(text, regclass, text, jsonb, jsonb, text);
drop function maintenance.find_policy_risks(maintenance.policy);
drop function maintenance.find_policy_errors(maintenance.policy);
drop function maintenance.try_policy(maintenance.policy);
drop function maintenance.branch_index(maintenance.policy, regclass, integer, text[]);
drop function maintenance.lowest_key(maintenance.policy, integer);
drop function maintenance.branch_key(maintenance.policy, integer);
drop function maintenance.leaves_of(regclass);
drop function maintenance.parts_of(regclass);
drop function maintenance.policy_statement(
    maintenance.policy, text, regclass, text[], text, integer, name, bigint
);
drop function maintenance.archiving_statement(text, name, regclass, regclass, bigint);
drop function maintenance.find_archive_drift(maintenance.policy);
drop function maintenance.archive_drift(regclass, regclass);
drop function maintenance.records_steps(regclass, regclass);
drop function maintenance.archived_columns(regclass);
drop function maintenance.policy_archives(maintenance.policy);
drop function maintenance.run_as_owner(regclass, text, bigint, tid[], boolean);
drop function maintenance.drop_idle_executors();
drop function maintenance.install_executor(name);
drop function maintenance.give_function(regprocedure, name);
drop function maintenance.is_intact(regprocedure, name);
drop function maintenance.executor_of(name);
drop function maintenance.reads_other_tables(maintenance.policy);
drop function maintenance.has_condition(maintenance.policy);
drop function maintenance.branch_predicate(maintenance.policy, integer, text[]);
drop function maintenance.bracketed(text);
drop function maintenance.branch_bounds(maintenance.policy, timestamptz);
drop function maintenance.branch_bound(maintenance.policy, integer, text);
drop function maintenance.has_replica_identity(regclass);
drop function maintenance.primary_key_of(regclass);
drop function maintenance.column_type(regclass, name);
drop function maintenance.read_policy(text);
drop function maintenance.take_turn(text);
drop function maintenance.assert_owner(oid);
drop function maintenance.adopt_clone();
drop function maintenance.assert_policy_tables();
drop function maintenance.renew_executors();
drop function maintenance.revoke_from_public();
drop function maintenance.assert_adopted();
drop function maintenance.resume_runs();
drop function maintenance.pause_runs(text, timestamptz);
drop function maintenance.pause_reason();
drop function maintenance.caller();

drop table maintenance.pause;
drop table maintenance.lease;
drop table maintenance.backup_attestation;
drop table maintenance.policy_change;
drop table maintenance.archive;
drop table maintenance.policy_override;
drop table maintenance.policy;
drop table maintenance.endpoint;
drop table maintenance.installation;
