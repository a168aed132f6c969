-- Refuses whoever has not the rights of the role that owns something.

create or replace function maintenance.assert_member(owner oid, deed text)
returns void
language plpgsql
stable
set search_path = pg_catalog, pg_temp
as $function$
begin
    if not pg_has_role(assert_member.owner, 'usage') then
        raise exception using
            errcode = 'insufficient_privilege',
            message = format(
                'role %I may not %s, which belongs to %I',
                current_user, deed, pg_get_userbyid(assert_member.owner)
            ),
            hint = format(
                'Grant it that role: grant %I to %I.',
                pg_get_userbyid(assert_member.owner), current_user
            );
    end if;
end;
$function$;

revoke all on function maintenance.assert_member(oid, text) from public;

comment on function maintenance.assert_member(oid, text) is
    'Raise an error unless the current role has the rights of an owner.';
