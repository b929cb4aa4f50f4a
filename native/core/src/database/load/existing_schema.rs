//! The schema that is there: whether it can be replaced, whom the new one is to belong to, and how it makes room.

use super::{Doing, Load, Purpose, Trust};
use crate::database::connection::{Stopped, fault, identifier, literal, random};
use serde::Deserialize;

/// The schema that is there, and what the user may do.
#[derive(Deserialize)]
pub(super) struct ExistingSchema {
    may_create: bool,
    user: Role,
    /// Why the user may do more than the owner of a site: half a sentence.
    power: Option<String>,
    database_owner: Role,
    /// What follows is missing when there is no such schema.
    owns: Option<bool>,
    /// The user may make objects in it.
    may_use: Option<bool>,
    owner: Option<Role>,
    /// As it is written down: it can be "whoever owns the database".
    pub(super) owner_name: Option<String>,
    /// Whom the objects in it belong to, most of them first; without those of extensions, and those that
    /// come with another.
    owners: Option<Vec<Owner>>,
    /// Privileges on the schema.
    pub(super) grants: Option<Vec<Grant>>,
    /// Default privileges in the schema.
    defaults: Option<Vec<DefaultGrant>>,
    extensions: Option<Vec<Extension>>,
}

#[derive(Deserialize, Clone)]
struct Role {
    name: String,
    is_super: bool,
    /// The user can act as it.
    may_be: bool,
}

#[derive(Deserialize)]
struct Owner {
    role: Role,
    objects: u64,
    /// The names of some.
    first: Vec<String>,
}

#[derive(Deserialize)]
struct Extension {
    name: String,
    is_relocatable: bool,
    /// With all that is in it: what PostgreSQL makes of a trusted extension belongs to a superuser.
    is_ours: bool,
    /// Moving them would lock them.
    has_relations: bool,
}

/// A privilege that a role has.
#[derive(Deserialize)]
pub(super) struct Grant {
    privilege: String,
    /// `None`: everybody.
    grantee: Option<String>,
    is_grantable: bool,
}

#[derive(Deserialize)]
struct DefaultGrant {
    role: String,
    objects: String,
    grant: Grant,
}

impl Grant {
    /// Returns the statement that gives it. Names are quoted here; a privilege is a keyword, or the server refuses it.
    pub(super) fn statement(&self, on: &str) -> String {
        let Self {
            privilege,
            grantee,
            is_grantable,
        } = self;
        let privilege: String = privilege
            .chars()
            .filter(char::is_ascii_alphabetic)
            .collect();
        let grantee = grantee.as_deref().map_or("PUBLIC".into(), identifier);
        let option = if *is_grantable {
            " WITH GRANT OPTION"
        } else {
            ""
        };
        format!("GRANT {privilege} ON {on} TO {grantee}{option}")
    }
}

/// Where the old schema is, until it is dropped.
pub(super) struct OldSchema {
    pub(super) name: String,
    /// The schema stayed, with what is not the site's, and the objects were moved out of it.
    pub(super) is_moved_out: bool,
}

/// True, in SQL, if the user can make things for the role `oid`, and do with them what an owner does. Since PostgreSQL 16
/// a membership can have one without the other; older servers do not know the word.
const MAY_BE: &str = "pg_has_role(oid, 'USAGE') AND CASE
    WHEN current_setting('server_version_num')::int >= 160000 THEN pg_has_role(oid, 'SET') ELSE true END";

/// Returns SQL for what is known of a role, as JSON.
fn role(id: &str) -> String {
    format!(
        "(SELECT json_build_object('name', rolname, 'is_super', rolsuper, 'may_be', {MAY_BE})
            FROM pg_roles WHERE oid = {id})"
    )
}

impl ExistingSchema {
    /// Returns the role that the objects of the dump are to belong to: the one that most of them belong to now.
    /// The user, where it is not allowed to act as that one. A superuser acts for the owner of the schema
    /// or of the database where there is nothing yet: the site could not use what is a superuser's.
    fn role(&self) -> &Role {
        let most = self.owners.iter().flatten().next();
        let role = most.map(|most| &most.role).unwrap_or_else(|| {
            let owner = self.owner.as_ref().filter(|owner| !owner.is_super);
            match self.user.is_super {
                true => owner.unwrap_or(&self.database_owner),
                false => owner.unwrap_or(&self.user),
            }
        });
        if role.may_be { role } else { &self.user }
    }

    /// Returns that role, where it is not the user.
    pub(super) fn other_role(&self) -> Option<&str> {
        let role = self.role();
        (role.name != self.user.name).then_some(role.name.as_str())
    }

    /// Returns why the user may do more than the roles that the site's objects belong to.
    pub(super) fn power_over_site(&self) -> Option<String> {
        let is_other = |owner: &Owner| owner.role.name != self.user.name && !owner.role.is_super;
        let is_mixed = self.owners.iter().flatten().any(is_other);
        let power = self.power.as_ref()?;
        (self.other_role().is_some() || is_mixed).then(|| power.clone())
    }

    /// True if the schema holds an extension that has to stay where it is, or is not the user's to rename: the site's
    /// objects are moved out of it then, one by one.
    fn has_to_stay(&self) -> bool {
        let stays = |extension: &Extension| !extension.is_ours || !extension.is_relocatable;
        self.owns == Some(false) || self.extensions.iter().flatten().any(stays)
    }

    /// Returns what will belong to another role than before.
    pub(super) fn losses(&self) -> Vec<String> {
        let role = self.role();
        let others = self.owners.iter().flatten();
        others
            .filter(|owner| owner.role.name != role.name)
            .map(|owner| {
                let more = owner.objects - owner.first.len() as u64;
                format!(
                    "what belonged to {} in the site's schema belongs to {} now: {}{}",
                    identifier(&owner.role.name),
                    identifier(&role.name),
                    owner.first.join(", "),
                    if more > 0 {
                        format!(" and {more} more")
                    } else {
                        String::new()
                    }
                )
            })
            .collect()
    }
}

impl Load<'_> {
    /// Inspects what is there, and whether it can be replaced.
    pub(super) fn inspect(&mut self) -> Result<ExistingSchema, Stopped> {
        let schema = literal(self.schema);
        let [user, database_owner, owner, each] =
            ["me.oid", "d.datdba", "n.owner", "each.owner"].map(role);
        let grant =
            "json_build_object('privilege', a.privilege_type, 'is_grantable', a.is_grantable,
            'grantee', CASE a.grantee WHEN 0 THEN NULL ELSE pg_get_userbyid(a.grantee) END)";
        let existing: ExistingSchema = self.connection.ask(&format!(
            "WITH n AS (
                SELECT n.oid, nspname, nspowner, nspacl,
                    CASE pg_get_userbyid(nspowner) WHEN 'pg_database_owner' THEN datdba ELSE nspowner END AS owner
                FROM pg_namespace n, pg_database WHERE datname = current_database() AND nspname = {schema}),
             objects AS (
                SELECT relowner AS owner, relname::text AS name, 'pg_class'::regclass AS classid, c.oid
                    FROM pg_class c, n WHERE relnamespace = n.oid AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
                UNION ALL SELECT proowner, proname::text, 'pg_proc'::regclass, p.oid
                    FROM pg_proc p, n WHERE pronamespace = n.oid)
             SELECT json_build_object(
                'may_create', has_database_privilege(current_database(), 'CREATE'),
                'user', {user},
                'power', (SELECT CASE WHEN oid <> me.oid THEN 'has the role ' || quote_ident(rolname)
                        WHEN rolsuper THEN 'is a superuser' ELSE 'may make roles (CREATEROLE)' END
                    FROM pg_roles WHERE pg_has_role(oid, 'MEMBER') AND (rolsuper
                        OR rolname IN ('pg_execute_server_program', 'pg_read_server_files', 'pg_write_server_files')
                        OR rolcreaterole AND current_setting('server_version_num')::int < 160000)
                    ORDER BY oid = me.oid DESC, rolname LIMIT 1),
                'database_owner', {database_owner},
                'owns', pg_has_role(n.nspowner, 'USAGE'),
                'may_use', has_schema_privilege(n.oid, 'CREATE') AND has_schema_privilege(n.oid, 'USAGE'),
                'owner', {owner},
                'owner_name', pg_get_userbyid(n.nspowner),
                'owners', (SELECT json_agg(json_build_object('role', {each}, 'objects', objects, 'first', first)
                        ORDER BY objects DESC, owner)
                    FROM (SELECT owner, count(*) AS objects, (array_agg(quote_ident(name) ORDER BY name))[:3] AS first
                        FROM objects o WHERE NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
                        GROUP BY owner) each),
                'grants', (SELECT json_agg({grant}) FROM aclexplode(n.nspacl) a WHERE a.grantee <> n.nspowner),
                'defaults', (SELECT json_agg(json_build_object('role', pg_get_userbyid(defaclrole), 'grant', {grant},
                        'objects', CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES'
                            WHEN 'f' THEN 'FUNCTIONS' ELSE 'TYPES' END))
                    FROM pg_default_acl, aclexplode(defaclacl) a
                    WHERE defaclnamespace = n.oid AND pg_has_role(defaclrole, 'USAGE')),
                'extensions', (SELECT json_agg(json_build_object('name', e.extname,
                        'is_relocatable', e.extrelocatable, 'is_ours', pg_has_role(e.extowner, 'USAGE') AND NOT EXISTS (SELECT FROM pg_depend d
                            LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
                            LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
                            LEFT JOIN pg_class c ON d.classid = 'pg_class'::regclass AND c.oid = d.objid
                            WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid AND d.deptype = 'e'
                              AND NOT pg_has_role(coalesce(proowner, typowner, relowner), 'USAGE')),
                        'has_relations', EXISTS (SELECT FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
                            WHERE d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                              AND d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relkind <> 'c')))
                    FROM pg_extension e WHERE e.extnamespace = n.oid))
             FROM pg_database d JOIN pg_roles me ON me.rolname = current_user LEFT JOIN n ON true
             WHERE d.datname = current_database()"
        ))?;
        let user = identifier(&existing.user.name);
        if let (Trust::Unproven, Some(power)) = (self.trust, &existing.power) {
            return Err(fault(format!(
                "nothing proves who made this backup (its encryption is not Z2), and the database's user \
                 {user} {power}: what is in the dump could do anything on the database server. Restore with \
                 the role that the site itself uses as the database's user; or read the dump yourself and \
                 load it with psql"
            )));
        }
        if !existing.may_create {
            return Err(fault(format!(
                "the user {user} may not make a schema in this database: as its owner, GRANT CREATE ON \
                 DATABASE … TO {user}"
            )));
        }
        if existing.owns == Some(false) && existing.may_use == Some(false) {
            return Err(fault(format!(
                "the user {user} does not own the schema {}: as a superuser, ALTER SCHEMA {0} OWNER TO {user}",
                identifier(self.schema)
            )));
        }
        self.check_dependents(self.schema)?;
        if self.purpose == Purpose::Drill {
            self.check_drill(&existing)?;
        }
        Ok(existing)
    }

    /// A drill locks nothing that the site uses.
    fn check_drill(&self, existing: &ExistingSchema) -> Result<(), Stopped> {
        if existing.owns == Some(false) {
            return Err(fault(format!(
                "the user {} does not own the schema {}, so its tables would have to be moved out of it, which locks \
                 them: a restore can do it, a drill cannot",
                identifier(&existing.user.name),
                identifier(self.schema)
            )));
        }
        for extension in existing.extensions.iter().flatten() {
            let name = identifier(&extension.name);
            if !extension.is_ours || !extension.is_relocatable {
                return Err(fault(format!(
                    "the extension {name} is in the site's schema and has to stay there, so the tables would have to \
                     be moved out of it, which locks them: a restore can do it, a drill cannot"
                )));
            }
            if extension.has_relations {
                return Err(fault(format!(
                    "the extension {name} has tables or views in the site's schema, which a drill would have to \
                     lock: a restore can do it, a drill cannot"
                )));
            }
        }
        Ok(())
    }

    /// Moves what is there out of the way, and makes room for the schema of the dump. What is made from now on belongs
    /// to the same role as before.
    pub(super) fn make_room(
        &mut self,
        existing: &ExistingSchema,
    ) -> Result<Option<OldSchema>, Stopped> {
        let role = identifier(&existing.role().name);
        let mut old = None;
        if existing.owns.is_some() {
            self.doing = Doing::Step("move the old schema out of the way");
            let name = format!("{}_before_{:.8}", start(self.schema), random()?);
            let is_moved_out = existing.has_to_stay();
            match is_moved_out {
                true => self.move_objects(&name)?,
                false => self.rename(existing, &name, &role)?,
            }
            old = Some(OldSchema { name, is_moved_out });
        } else {
            self.doing = Doing::Step("make the schema");
            let create = format!(
                "CREATE SCHEMA {} AUTHORIZATION {role}",
                identifier(self.schema)
            );
            self.connection.run(&create)?;
        }
        if existing.other_role().is_some() {
            self.doing = Doing::Step("act as the owner of the site's tables");
            self.connection.run(&format!("SET ROLE {role}"))?;
        }
        Ok(old)
    }

    /// Renames the schema, which locks no table, and moves the extensions in it to the new one.
    fn rename(&mut self, existing: &ExistingSchema, old: &str, role: &str) -> Result<(), Stopped> {
        let schema = identifier(self.schema);
        let old = identifier(old);
        self.connection
            .run(&format!("ALTER SCHEMA {schema} RENAME TO {old}"))?;
        self.doing = Doing::Step("make the schema");
        self.connection
            .run(&format!("CREATE SCHEMA {schema} AUTHORIZATION {role}"))?;
        self.doing = Doing::Step("move an extension to the new schema");
        for extension in existing.extensions.iter().flatten() {
            let name = identifier(&extension.name);
            self.connection
                .run(&format!("ALTER EXTENSION {name} SET SCHEMA {schema}"))?;
        }
        self.doing = Doing::Step("give the default privileges of the old schema again");
        for default in existing.defaults.iter().flatten() {
            let (role, objects) = (identifier(&default.role), &default.objects);
            let grant = default.grant.statement(objects);
            self.connection.run(&format!(
                "ALTER DEFAULT PRIVILEGES FOR ROLE {role} IN SCHEMA {schema} {grant}"
            ))?;
        }
        Ok(())
    }

    /// Moves the site's objects to a schema of their own. It locks them: who uses them waits until the restore is done.
    fn move_objects(&mut self, old: &str) -> Result<(), Stopped> {
        self.connection
            .run(&format!("CREATE SCHEMA {}", identifier(old)))?;
        let home = literal(&identifier(self.schema));
        // A sequence that is owned by a column goes along with its table.
        let moves = format!(
            "FOR object IN SELECT o.type, o.identity FROM pg_depend d, pg_identify_object(d.classid, d.objid, 0) o
                WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = {home}::regnamespace AND d.deptype = 'n'
                  AND d.classid IN ('pg_class'::regclass, 'pg_type'::regclass, 'pg_proc'::regclass,
                    'pg_operator'::regclass, 'pg_opclass'::regclass, 'pg_opfamily'::regclass,
                    'pg_collation'::regclass, 'pg_conversion'::regclass, 'pg_statistic_ext'::regclass,
                    'pg_ts_config'::regclass, 'pg_ts_dict'::regclass, 'pg_ts_parser'::regclass,
                    'pg_ts_template'::regclass)
                  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = d.classid AND e.objid = d.objid
                    AND (e.deptype = 'e' OR e.deptype IN ('a', 'i') AND d.classid = 'pg_class'::regclass
                        AND e.refclassid = 'pg_class'::regclass))
                -- What has types in its identity goes before the types.
                ORDER BY d.classid IN ('pg_proc'::regclass, 'pg_operator'::regclass) DESC, d.objid
             LOOP
                EXECUTE format('ALTER %s %s SET SCHEMA %I', replace(object.type, 'statistics object', 'statistics'),
                    object.identity, {});
             END LOOP",
            literal(old)
        );
        let schema = self.schema;
        self.run_when_free(&moves, schema)
    }
}

/// Returns the start of a name, so short that a suffix fits.
fn start(name: &str) -> &str {
    const LENGTH: usize = 63 - "_before_12345678".len();
    let mut end = name.len().min(LENGTH);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
