//! The privileges on the new schema: as on the old one. A dump says nothing of them (it may be of another server, with
//! other roles), and nobody should lose by a restore what was granted.

use super::existing_schema::{ExistingSchema, OldSchema};
use super::{Doing, Load};
use crate::database::connection::{Stopped, identifier, literal};

impl Load<'_> {
    /// Gives all that has the name of something in the old schema the same privileges, and the schema
    /// the same owner and privileges.
    pub(super) fn give_privileges(
        &mut self,
        existing: &ExistingSchema,
        old: Option<&OldSchema>,
    ) -> Result<(), Stopped> {
        self.doing = Doing::Step("give the privileges that roles had in the old schema again");
        if let Some(old) = old {
            self.connection
                .block(&differences(&old.name, self.schema))?;
        }
        if existing.other_role().is_some() {
            self.connection.run("SET ROLE NONE")?;
        }
        if old.is_some_and(|old| old.is_moved_out) {
            return Ok(()); // the schema is the one that was there
        }
        let schema = identifier(self.schema);
        if let Some(owner) = &existing.owner_name {
            // Not everybody may give away what is theirs.
            self.connection.block(&format!(
                "BEGIN ALTER SCHEMA {schema} OWNER TO {};
                 EXCEPTION WHEN insufficient_privilege THEN NULL; END",
                identifier(owner)
            ))?;
        }
        for grant in existing.grants.iter().flatten() {
            let on = format!("SCHEMA {schema}");
            self.connection.run(&grant.statement(&on))?;
        }
        Ok(())
    }
}

/// Returns a block of PL/pgSQL after which the privileges in a new schema are those in the old one. The statements are
/// made and executed on the server. Names are compared as text: types in the arguments of a function have the name of
/// their schema in front.
fn differences(old: &str, new: &str) -> String {
    let [old, new] = [old, new].map(literal);
    format!(
        "DECLARE change text; BEGIN FOR change IN
        WITH schemas AS (SELECT oid AS home, nspname = {old} AS is_old FROM pg_namespace WHERE nspname IN ({old}, {new})),
            objects AS (
                SELECT is_old, CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind, quote_ident(relname) AS name,
                        '' AS part, relowner AS owner,
                        coalesce(relacl, acldefault(CASE relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", relowner)) AS acl
                    FROM pg_class JOIN schemas ON home = relnamespace WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
                UNION ALL SELECT is_old, 'TABLE', quote_ident(relname), format(' (%I)', attname), relowner, attacl
                    FROM pg_class c JOIN schemas ON home = relnamespace JOIN pg_attribute ON attrelid = c.oid
                    WHERE relkind IN ('r', 'p', 'v', 'm', 'f') AND attnum > 0 AND NOT attisdropped
                -- Procedures, and a word for both, came with PostgreSQL 11.
                UNION ALL SELECT is_old,
                        CASE WHEN current_setting('server_version_num')::int < 110000 THEN 'FUNCTION' ELSE 'ROUTINE' END,
                        format('%I(%s)', proname, replace(
                        -- Of an ordered-set aggregate that has an ORDER BY, which GRANT does not take.
                        CASE WHEN p.oid IN (SELECT aggfnoid FROM pg_aggregate) THEN oidvectortypes(proargtypes)
                            ELSE pg_get_function_identity_arguments(p.oid) END, quote_ident({old}) || '.', quote_ident({new}) || '.')),
                        '', proowner, coalesce(proacl, acldefault('f', proowner))
                    FROM pg_proc p JOIN schemas ON home = pronamespace
                UNION ALL SELECT is_old, 'TYPE', quote_ident(typname), '', typowner, coalesce(typacl, acldefault('T', typowner))
                    FROM pg_type JOIN schemas ON home = typnamespace),
            privileges AS (
                SELECT is_old, kind, name, part, privilege_type, grantee, bool_or(is_grantable) AS is_grantable
                    FROM objects, aclexplode(acl) WHERE grantee <> owner GROUP BY 1, 2, 3, 4, 5, 6),
            both_have AS (SELECT kind, name, part FROM objects GROUP BY 1, 2, 3 HAVING count(*) = 2),
            was AS (SELECT kind, name, part, privilege_type, grantee, is_grantable FROM privileges WHERE is_old),
            has AS (SELECT kind, name, part, privilege_type, grantee, is_grantable FROM privileges WHERE NOT is_old),
            changes AS (
                SELECT true AS is_grant, * FROM (TABLE was EXCEPT TABLE has) given
                UNION ALL SELECT false, * FROM (TABLE has EXCEPT TABLE was) taken)
         SELECT format(CASE WHEN is_grant THEN 'GRANT %s%s ON %s %I.%s TO %s%s' ELSE 'REVOKE %s%s ON %s %I.%s FROM %s' END,
                privilege_type, part, kind, {new}, name,
                CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END,
                CASE WHEN is_grantable THEN ' WITH GRANT OPTION' END)
            FROM changes JOIN both_have USING (kind, name, part) ORDER BY is_grant
         LOOP EXECUTE change; END LOOP; END"
    )
}
