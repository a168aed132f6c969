-- Removes what carries policies out, and the log of what ran.

drop function maintenance.describe_policy(text);
drop view maintenance.policy_status;
drop view maintenance.run_history;
drop function maintenance.vacuum_command(text);
drop function maintenance.vacuum_statement(text, boolean);
drop function maintenance.load_signals(integer[], interval, interval);
drop function maintenance.preview(text, boolean);
drop function maintenance.plan_policy(text, boolean);
drop function maintenance.forecast(text);
drop procedure maintenance.run_operations(text[], interval, bigint, bigint, text);
drop procedure maintenance.run_policy(
    text, text, integer, bigint, interval, bigint, bigint, text, text
);
drop procedure maintenance.drive_step(
    bigint, text, text, integer, bigint, timestamptz, bigint, text, text
);
drop procedure maintenance.drive_batches(
    bigint, bigint, integer, interval, interval, jsonb, bigint, boolean, text, text, text, interval
);
drop procedure maintenance.next_transaction();
drop function maintenance.assert_outside_transaction(text);
drop function maintenance.deadline_of_call(interval);
drop function maintenance.policies_of(text[]);
drop function maintenance.bundled(text);
drop function maintenance.set_bundle(text, text[]);
drop function maintenance.offer_statements(text, text, text, text);
drop function maintenance.close_task(bigint, text, text, text, bigint);
drop function maintenance.open_task(bigint, text, text, text, text);
drop function maintenance.stop_run(bigint);
drop function maintenance.close_run(bigint);
drop function maintenance.close_step(bigint, bigint, text, text, text, jsonb);
drop function maintenance.run_batch(bigint, bigint, jsonb, integer, interval);
drop function maintenance.hold_lease(bigint, bigint);
drop function maintenance.check_step(bigint);
drop function maintenance.split_step(bigint, integer);
drop function maintenance.open_step(bigint, text, text, bigint, timestamptz);
drop function maintenance.take_lease(text, bigint);
drop function maintenance.find_lease_holder(text);
drop function maintenance.open_run(text, jsonb);
drop function maintenance.report_run(bigint, jsonb, text);
drop function maintenance.run_document(bigint, text);
drop function maintenance.judge_run(maintenance.policy, text);
drop function maintenance.shortest_retention(maintenance.policy);
drop function maintenance.sign_token(text, text);
drop function maintenance.join_parts(jsonb);
drop function maintenance.key_edges(maintenance.policy, regclass, text[], integer);
drop function maintenance.purge_batch(text, timestamptz, jsonb, integer);
drop function maintenance.assert_may_run(maintenance.policy, timestamptz);
drop function maintenance.assert_read_committed();
drop function maintenance.remove_batch(
    maintenance.policy, timestamptz, jsonb, bigint, interval, bigint
);
drop function maintenance.hasten_constraints(regclass);
drop function maintenance.name_holders(jsonb);
drop function maintenance.count_cascaded(regclass);
drop function maintenance.cascade_tree(regclass);
drop function maintenance.remove_range(
    maintenance.policy, regclass, integer, text, text, text[], bigint, boolean, bigint
);
drop function maintenance.joint_statement(
    maintenance.policy, regclass, text[], text, integer
);
drop function maintenance.dependent_statement(jsonb, regclass, bigint);
drop function maintenance.proved_rows(
    maintenance.policy, regclass, text[], text, integer, bigint, text, jsonb
);
drop function maintenance.prove_archived(regclass, regclass, boolean, jsonb);
drop function maintenance.range_scope(maintenance.policy, integer, text, text);
drop function maintenance.choose_strategy(maintenance.policy, regclass, text[]);
drop function maintenance.count_eligible(maintenance.policy, text[], bigint);
drop function maintenance.estimate_eligible(maintenance.policy, regclass, text[]);
drop function maintenance.is_alive(integer, timestamptz, timestamptz);

drop table maintenance.statement_source;
drop table maintenance.bundle;
drop table maintenance.operation;
drop table maintenance.run_task;
drop table maintenance.run_step;
drop table maintenance.run_listener;
drop table maintenance.run;
