-- Seals what a token says, so that only what a preview has shown can be accepted.

create or replace function maintenance.sign_token(policy text, payload text)
returns text
language sql
stable
set search_path = pg_catalog, pg_temp
as $function$
    select left(
        encode(
            sha256(convert_to(
                concat_ws(':', installation.secret, sign_token.policy, sign_token.payload), 'UTF8'
            )),
            'hex'
        ),
        20
    )
    from maintenance.installation as installation;
$function$;

revoke all on function maintenance.sign_token(text, text) from public;

comment on function maintenance.sign_token(text, text) is
    'Return the seal of a token that lifts the guard of a policy.';
