//! Objects outside of a schema that depend on what is in it. They would go when it is dropped, and no dump of the
//! schema makes them again.

use super::{Load, few};
use crate::database::connection::{Stopped, fault, literal};

impl Load<'_> {
    /// Refuses what would be dropped with the schema. What we give again ourselves is left out: default privileges, and
    /// extensions in the schema, which stay with what is theirs.
    pub(super) fn check_dependents(&mut self, schema: &str) -> Result<(), Stopped> {
        let schema = literal(schema);
        // `own` is the schema, what is in it, and what depends on that; `place` the schema that something
        // is in, or is a part of something in. What is in none (publications, casts, event triggers, …)
        // is outside, but for what is internal to something (the cast from a range to its multirange).
        let dependents: Option<Vec<String>> = self.connection.ask(&format!(
            "WITH home AS (SELECT oid FROM pg_namespace WHERE nspname = {schema}),
                content AS (
                    SELECT 'pg_namespace'::regclass AS classid, oid AS objid FROM home
                    UNION SELECT classid, objid FROM pg_depend, home
                        WHERE refclassid = 'pg_namespace'::regclass AND refobjid = home.oid
                          AND classid <> 'pg_extension'::regclass
                    UNION SELECT 'pg_class'::regclass, c.oid FROM pg_class c, home WHERE relnamespace = home.oid
                    UNION SELECT 'pg_type'::regclass, t.oid FROM pg_type t, home WHERE typnamespace = home.oid),
                own AS (
                    SELECT * FROM content EXCEPT SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
                needs AS (
                    SELECT d.classid, d.objid, CASE d.classid
                        WHEN 'pg_class'::regclass THEN (SELECT relnamespace FROM pg_class WHERE oid = d.objid)
                        WHEN 'pg_type'::regclass THEN (SELECT typnamespace FROM pg_type WHERE oid = d.objid)
                        WHEN 'pg_proc'::regclass THEN (SELECT pronamespace FROM pg_proc WHERE oid = d.objid)
                        WHEN 'pg_constraint'::regclass THEN (SELECT connamespace FROM pg_constraint WHERE oid = d.objid)
                        WHEN 'pg_rewrite'::regclass THEN (SELECT relnamespace FROM pg_class c
                            JOIN pg_rewrite r ON r.ev_class = c.oid WHERE r.oid = d.objid)
                        WHEN 'pg_attrdef'::regclass THEN (SELECT relnamespace FROM pg_class c
                            JOIN pg_attrdef a ON a.adrelid = c.oid WHERE a.oid = d.objid)
                        WHEN 'pg_trigger'::regclass THEN (SELECT relnamespace FROM pg_class c
                            JOIN pg_trigger t ON t.tgrelid = c.oid WHERE t.oid = d.objid)
                        WHEN 'pg_policy'::regclass THEN (SELECT relnamespace FROM pg_class c
                            JOIN pg_policy p ON p.polrelid = c.oid WHERE p.oid = d.objid)
                        WHEN 'pg_amop'::regclass THEN (SELECT opfnamespace FROM pg_opfamily f
                            JOIN pg_amop a ON a.amopfamily = f.oid WHERE a.oid = d.objid)
                        WHEN 'pg_amproc'::regclass THEN (SELECT opfnamespace FROM pg_opfamily f
                            JOIN pg_amproc a ON a.amprocfamily = f.oid WHERE a.oid = d.objid)
                        ELSE (SELECT oid FROM pg_namespace WHERE nspname =
                            (SELECT o.schema FROM pg_identify_object(d.classid, d.objid, 0) o))
                        END AS place
                    FROM pg_depend d JOIN own ON d.refclassid = own.classid AND d.refobjid = own.objid
                    GROUP BY d.classid, d.objid HAVING bool_and(d.deptype <> 'i'))
             SELECT json_agg(said ORDER BY said) FROM (
                SELECT coalesce(pg_describe_object('pg_class'::regclass, ev_class, 0),
                        pg_describe_object(classid, objid, 0)) AS said
                    FROM home, needs LEFT JOIN pg_rewrite r
                        ON classid = 'pg_rewrite'::regclass AND r.oid = objid AND rulename = '_RETURN'
                    WHERE place IS DISTINCT FROM home.oid AND place IS DISTINCT FROM 'pg_toast'::regnamespace
                      AND NOT (classid = 'pg_extension'::regclass
                          AND objid IN (SELECT oid FROM pg_extension WHERE extnamespace = home.oid))
                      AND NOT (classid = 'pg_default_acl'::regclass
                          AND objid IN (SELECT oid FROM pg_default_acl WHERE pg_has_role(defaclrole, 'USAGE')))
                UNION SELECT pg_describe_object(refclassid, refobjid, 0)
                    FROM pg_depend d JOIN content USING (classid, objid)
                        JOIN pg_extension e ON refclassid = 'pg_extension'::regclass AND refobjid = e.oid, home
                    WHERE d.deptype = 'e' AND (extnamespace <> home.oid OR classid = 'pg_namespace'::regclass)
                UNION SELECT 'subscription to ' || pg_describe_object('pg_class'::regclass, srrelid, 0)
                    FROM pg_subscription_rel JOIN pg_class c ON c.oid = srrelid, home WHERE relnamespace = home.oid
             ) dependents"
        ))?;
        let Some(dependents) = dependents else {
            return Ok(());
        };
        Err(fault(format!(
            "what is outside the site's schema depends on it, and would be dropped with it: {}. Drop \
             that first (take the tables out of a publication or subscription), and make it again after the \
             restore",
            few(&dependents)
        )))
    }
}
