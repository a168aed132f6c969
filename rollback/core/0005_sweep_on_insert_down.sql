-- Removes every sweep, with its trigger and its settings, and what they share.

select maintenance.remove_sweep(sweep.policy) from maintenance.insert_sweep as sweep;

drop view maintenance.insert_sweep_status;
drop function maintenance.find_sweep_faults(text);
drop trigger trigger_follow_policy on maintenance.policy_change;
drop function maintenance.follow_policy();
drop function maintenance.set_insert_sweep(text, boolean, integer, interval, interval);
drop function maintenance.detach_insert_sweep(text);
drop function maintenance.assert_sweeps(text);
drop function maintenance.attach_insert_sweep(text, name, boolean, regprocedure);
drop function maintenance.remove_sweep(text);
drop function maintenance.revoke_idle_sweepers();
drop function maintenance.install_sweep(maintenance.policy);
drop function maintenance.has_sweep_trigger(maintenance.insert_sweep);
drop function maintenance.find_sweep_risks(maintenance.policy);
drop function maintenance.strict_defaults(regclass);
drop function maintenance.find_sweep_errors(maintenance.policy, boolean);
drop function maintenance.sweep_body(maintenance.policy, boolean);
drop function maintenance.fill_template(text, jsonb);
drop function maintenance.close_sweep(text, integer, bigint, interval, jsonb);
drop function maintenance.open_sweep(text, oid, oid, name, boolean);
drop table maintenance.insert_sweep;
