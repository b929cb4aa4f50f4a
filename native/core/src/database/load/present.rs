//! The schema that is there: whether it can be replaced, whom the new one is to belong to, and how it
//! makes room.

use super::{Doing, Load, Purpose, Trust, few};
use crate::database::session::{Stopped, fault, identifier, literal, random};
use serde::Deserialize;

/// The schema that is there, and what the user may do.
#[derive(Deserialize)]
pub(super) struct Present {
    may_create: bool,
    user: Role,
    /// What makes the user more than the owner of a site: half a sentence.
    power: Option<String>,
    database_owner: Role,
    /// What follows is missing when there is no such schema.
    owns: Option<bool>,
    owner: Option<Role>,
    /// As it is written down: it can be "whoever owns the database".
    pub(super) owner_name: Option<String>,
    /// Whom the objects in it belong to, most of them first; without those of extensions, and those that
    /// come with another.
    owners: Option<Vec<Owner>>,
    /// Statements that give the privileges on the schema again.
    pub(super) grants: Option<Vec<String>>,
    /// Statements that give the default privileges in the schema again.
    defaults: Option<Vec<String>>,
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
    version: String,
    is_relocatable: bool,
    /// With all that is in it: what PostgreSQL makes of a trusted extension belongs to a superuser.
    is_ours: bool,
    /// Moving them would lock them.
    has_relations: bool,
    /// It belongs to us, everybody who may make a schema may make it (PostgreSQL trusts it), and nothing
    /// depends on it as a whole (other extensions).
    is_trusted: bool,
}

impl Extension {
    /// What PostgreSQL makes of a trusted extension belongs to a superuser, so that its owner cannot move it.
    /// He can drop it and make it again, when there is nothing of the site's in it.
    fn is_made_anew(&self) -> bool {
        !self.is_ours && self.is_trusted && !self.has_relations
    }
}

/// Whether the user can make things for the role `oid`, and do with them what an owner does. Since PostgreSQL 16
/// a membership can have one without the other; older servers do not know the word.
const MAY_BE: &str = "pg_has_role(oid, 'USAGE') AND CASE
    WHEN current_setting('server_version_num')::int >= 160000 THEN pg_has_role(oid, 'SET') ELSE true END";

/// What is known of a role, as JSON in SQL.
fn role(id: &str) -> String {
    format!(
        "(SELECT json_build_object('name', rolname, 'is_super', rolsuper, 'may_be', {MAY_BE})
            FROM pg_roles WHERE oid = {id})"
    )
}

impl Present {
    /// The role that the objects of the dump are to belong to: the one that most of them belong to now.
    /// The user, where it is not allowed to act as that one. A superuser acts for the owner of the schema
    /// or of the database where there is nothing yet: the site could not use what is a superuser's.
    fn maker(&self) -> &Role {
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

    /// The same, where it is not the user.
    pub(super) fn other_maker(&self) -> Option<&str> {
        let maker = self.maker();
        (maker.name != self.user.name).then_some(maker.name.as_str())
    }

    /// What will belong to another role than before.
    pub(super) fn losses(&self) -> Vec<String> {
        let maker = self.maker();
        let others = self.owners.iter().flatten();
        others
            .filter(|owner| owner.role.name != maker.name)
            .map(|owner| {
                let more = owner.objects - owner.first.len() as u64;
                format!(
                    "what belonged to {} in the site's schema belongs to {} now: {}{}",
                    identifier(&owner.role.name),
                    identifier(&maker.name),
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
    /// What is there, and whether it can be replaced.
    pub(super) fn look(&mut self) -> Result<Present, Stopped> {
        let schema = literal(self.schema);
        let [user, database_owner, owner, each] =
            ["me.oid", "d.datdba", "n.owner", "each.owner"].map(role);
        let present: Present = self.session.ask(&format!(
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
                'owner', {owner},
                'owner_name', pg_get_userbyid(n.nspowner),
                'owners', (SELECT json_agg(json_build_object('role', {each}, 'objects', objects, 'first', first)
                        ORDER BY objects DESC, owner)
                    FROM (SELECT owner, count(*) AS objects, (array_agg(quote_ident(name) ORDER BY name))[:3] AS first
                        FROM objects o WHERE NOT EXISTS (SELECT FROM pg_depend d
                            WHERE d.classid = o.classid AND d.objid = o.oid AND d.deptype IN ('e', 'i'))
                        GROUP BY owner) each),
                'grants', (SELECT json_agg(format('GRANT %s ON SCHEMA %I TO %s%s', a.privilege_type, n.nspname,
                        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                        CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END))
                    FROM aclexplode(n.nspacl) a WHERE a.grantee <> n.nspowner),
                'defaults', (SELECT json_agg(format('ALTER DEFAULT PRIVILEGES FOR ROLE %I IN SCHEMA %I GRANT %s ON %s TO %s%s',
                        pg_get_userbyid(defaclrole), n.nspname, a.privilege_type,
                        CASE defaclobjtype WHEN 'r' THEN 'TABLES' WHEN 'S' THEN 'SEQUENCES' WHEN 'f' THEN 'FUNCTIONS'
                            WHEN 'T' THEN 'TYPES' END,
                        CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END,
                        CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' END))
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
                              AND d.classid = 'pg_class'::regclass AND d.deptype = 'e' AND c.relkind <> 'c'),
                        'version', e.extversion,
                        'is_trusted', pg_has_role(e.extowner, 'USAGE') AND NOT EXISTS (
                            SELECT FROM pg_depend WHERE refclassid = 'pg_extension'::regclass
                              AND refobjid = e.oid AND deptype <> 'e') AND EXISTS (
                            SELECT FROM pg_available_extension_versions v WHERE v.name = e.extname
                              AND v.version = e.extversion AND (to_jsonb(v)->>'trusted')::boolean)))
                    FROM pg_extension e WHERE e.extnamespace = n.oid))
             FROM pg_database d JOIN pg_roles me ON me.rolname = current_user LEFT JOIN n ON true
             WHERE d.datname = current_database()"
        ))?;
        let user = identifier(&present.user.name);
        if let (Trust::Unproven, Some(power)) = (self.trust, &present.power) {
            return Err(fault(format!(
                "nothing proves who made this backup (its encryption is not Z2), and the database's user \
                 {user} {power}: what is in the dump could do anything on the database server. Restore with \
                 the role that the site itself uses as the database's user; or read the dump yourself and \
                 load it with psql"
            )));
        }
        if !present.may_create {
            return Err(fault(format!(
                "the user {user} may not make a schema in this database: as its owner, GRANT CREATE ON \
                 DATABASE … TO {user}"
            )));
        }
        if present.owns == Some(false) {
            return Err(fault(format!(
                "the user {user} does not own the schema {}: as a superuser, ALTER SCHEMA {0} OWNER TO {user}",
                identifier(self.schema)
            )));
        }
        let anew: Vec<&str> = present
            .extensions
            .iter()
            .flatten()
            .filter(|extension| extension.is_made_anew())
            .map(|extension| extension.name.as_str())
            .collect();
        self.check_outsiders(self.schema, &anew)?;
        for extension in present.extensions.iter().flatten() {
            self.check_extension(extension, &user)?;
        }
        Ok(present)
    }

    /// Extensions in the schema move to the new one, or are made there anew.
    fn check_extension(&self, extension: &Extension, user: &str) -> Result<(), Stopped> {
        let name = identifier(&extension.name);
        if extension.is_made_anew() {
            if self.purpose == Purpose::Drill {
                return Err(fault(format!(
                    "the extension {name} is in the site's schema, and {user} could only make it anew there, \
                     which would lock the tables that use it: a restore can do it, a drill cannot, but with \
                     a superuser as the database's user (which takes an encrypted backup)"
                )));
            }
            return Ok(());
        }
        if !extension.is_relocatable {
            return Err(fault(format!(
                "the extension {name} is in the site's schema, and is of those that PostgreSQL cannot move \
                 out of the way: load the dump by hand into a new database that has the extension"
            )));
        }
        if !extension.is_ours {
            return Err(fault(format!(
                "the extension {name} is in the site's schema, and {user} cannot move it out of the way, \
                 since not all of it belongs to {user}: restore with a superuser as the database's user \
                 (which takes an encrypted backup), or load the dump by hand into a new database that has \
                 the extension"
            )));
        }
        if extension.has_relations && self.purpose == Purpose::Drill {
            return Err(fault(format!(
                "the extension {name} has tables or views in the site's schema, which a drill would \
                 have to lock: a restore can do it, a drill cannot"
            )));
        }
        Ok(())
    }

    /// What is in the extensions that are to be as they were, by names that do not change.
    fn members(&mut self, present: &Present) -> Result<Vec<String>, Stopped> {
        let names: Vec<String> = present
            .extensions
            .iter()
            .flatten()
            .map(|extension| literal(&extension.name))
            .collect();
        let members: Option<Vec<String>> = self.session.ask(&format!(
            "SELECT json_agg(said ORDER BY said) FROM (
                SELECT e.extname || ' ' || (pg_identify_object(classid, objid, 0)).identity AS said
                FROM pg_depend JOIN pg_extension e ON refclassid = 'pg_extension'::regclass AND refobjid = e.oid
                WHERE deptype = 'e' AND extname = ANY (ARRAY[{}]::text[])) members",
            names.join(", ")
        ))?;
        Ok(members.unwrap_or_default())
    }

    /// What can be set of a member of an extension, of those that are made anew: by the name of the extension
    /// and of the member.
    fn settings_of_members(&mut self, present: &Present) -> Result<Settings, Stopped> {
        let anew = present.extensions.iter().flatten();
        let anew: Vec<String> = anew
            .filter(|extension| extension.is_made_anew())
            .map(|extension| literal(&extension.name))
            .collect();
        if anew.is_empty() {
            return Ok(Settings::new());
        }
        // Whether privileges are written down or go without saying makes no difference.
        let acl = |acl: &str| {
            format!("(SELECT array_agg(a::text ORDER BY a::text) FROM unnest({acl}) a)")
        };
        let routine = acl("coalesce(proacl, acldefault('f', proowner))");
        let of_type = acl("coalesce(typacl, acldefault('T', typowner))");
        let settings: Option<Settings> = self.session.ask(&format!(
            "SELECT json_agg(json_build_array(e.extname, (pg_identify_object(d.classid, d.objid, 0)).identity,
                    json_build_array({routine}, {of_type}, dictinitoption, proconfig, procost, prorows, provolatile,
                        proparallel, proisstrict, proleakproof, prosecdef)::text) ORDER BY e.extname, d.classid, d.objid)
             FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
                LEFT JOIN pg_proc p ON d.classid = 'pg_proc'::regclass AND p.oid = d.objid
                LEFT JOIN pg_type t ON d.classid = 'pg_type'::regclass AND t.oid = d.objid
                LEFT JOIN pg_ts_dict i ON d.classid = 'pg_ts_dict'::regclass AND i.oid = d.objid
             WHERE d.deptype = 'e' AND e.extname = ANY (ARRAY[{}]::text[])",
            anew.join(", ")
        ))?;
        Ok(settings.unwrap_or_default())
    }

    /// Moves what is there out of the way, to the name that it gives, and makes the schema anew. What is
    /// made from now on belongs to the same role as before.
    pub(super) fn make_room(&mut self, present: &Present) -> Result<Option<String>, Stopped> {
        let schema = identifier(self.schema);
        let maker = identifier(&present.maker().name);
        let members = self.members(present)?;
        let settings = self.settings_of_members(present)?;
        let mut old = None;
        if present.owns.is_some() {
            let name = format!("{}_before_{:.8}", start(self.schema), random()?);
            self.doing = Doing::Step("move the old schema out of the way");
            let to = identifier(&name);
            self.session
                .run(&format!("ALTER SCHEMA {schema} RENAME TO {to}"))?;
            old = Some(name);
        }
        self.doing = Doing::Step("make the schema");
        self.session
            .run(&format!("CREATE SCHEMA {schema} AUTHORIZATION {maker}"))?;
        for extension in present.extensions.iter().flatten() {
            let name = identifier(&extension.name);
            if extension.is_made_anew() {
                self.doing = Doing::Step("make an extension of the old schema anew");
                // What goes with it is in the old schema, which goes as well: look() has made sure.
                let drop = format!("DROP EXTENSION {name} CASCADE");
                self.run_when_free(&drop, old.as_deref().unwrap_or(self.schema))?;
                let version = literal(&extension.version);
                self.session.run(&format!(
                    "CREATE EXTENSION {name} SCHEMA {schema} VERSION {version}"
                ))?;
            } else {
                self.doing = Doing::Step("move an extension to the new schema");
                self.session
                    .run(&format!("ALTER EXTENSION {name} SET SCHEMA {schema}"))?;
            }
        }
        if self.members(present)? != members {
            return Err(fault(
                "an extension in the site's schema has more in it than PostgreSQL puts there, or another \
                 depends on it: load the dump by hand into a new database that has the extensions",
            ));
        }
        let now = self.settings_of_members(present)?;
        self.warnings.extend(lost_settings(&settings, &now));
        self.doing = Doing::Step("give the default privileges of the old schema again");
        for default in present.defaults.iter().flatten() {
            self.session.run(default)?;
        }
        if present.other_maker().is_some() {
            self.doing = Doing::Step("act as the owner of the site's tables");
            self.session.run(&format!("SET ROLE {maker}"))?;
        }
        Ok(old)
    }
}

/// An extension, what is in it, and how that is set.
type Settings = Vec<(String, String, String)>;

/// What was changed of the members of an extension and is not any more: they are a superuser's, who alone could
/// do that, and alone can do it again.
fn lost_settings(before: &Settings, now: &Settings) -> Option<String> {
    let lost: Vec<String> = before
        .iter()
        .filter(|member| !now.contains(member))
        .map(|(extension, member, _)| format!("{member} of {}", identifier(extension)))
        .collect();
    (!lost.is_empty()).then(|| {
        format!(
            "an extension in the site's schema was made anew, and what a superuser had granted on or set for these \
             is as the extension has it: {}; where that is wanted again, a superuser gives it (GRANT, REVOKE, \
             ALTER)",
            few(&lost)
        )
    })
}

/// So much of a name that a suffix fits.
fn start(name: &str) -> &str {
    const LENGTH: usize = 63 - "_before_12345678".len();
    let mut end = name.len().min(LENGTH);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    &name[..end]
}
