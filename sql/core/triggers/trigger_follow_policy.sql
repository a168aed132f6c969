-- Every change of a policy is noted in policy_change, once it is known to be right.

create or replace trigger trigger_follow_policy
after insert on maintenance.policy_change
for each row
execute function maintenance.follow_policy();

comment on trigger trigger_follow_policy on maintenance.policy_change is
    'Keep the sweep of a table in step with its policy.';
