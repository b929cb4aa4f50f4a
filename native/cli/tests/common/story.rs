//! A site with a database, its backup, and how it loses everything.

use super::postgres::{Database, Postgres};
use super::{Site, Tree, assert_same, set_mode, sh, sha256, tree, write};
use std::fs;
use std::os::unix::fs::symlink;

pub(crate) const SCHEMA: &str = "my \"Site\"";

/// A site with a database, and all of it as it was when its backup was made.
pub(crate) struct Story<'a> {
    pub(crate) site: Site,
    pub(crate) database: Database<'a>,
    pub(crate) before: State,
}

/// All that a restore touches.
#[derive(PartialEq)]
pub(crate) struct State {
    pub(crate) rows: String,
    pub(crate) media: Tree,
    pub(crate) private: Tree,
    pub(crate) security: Tree,
}

impl<'a> Story<'a> {
    pub(crate) fn new(server: &'a Postgres, is_encrypted: bool) -> Self {
        let database = server.database();
        database.sql(
            r#"CREATE SCHEMA "my ""Site"""; SET search_path TO "my ""Site""";
               CREATE TABLE rsc (id serial PRIMARY KEY, title text);
               CREATE TABLE edge (subject int REFERENCES rsc(id), n int);
               INSERT INTO rsc (title) SELECT E'before\\ \t ' || n FROM generate_series(1, 500) n;
               INSERT INTO edge SELECT id, id * 2 FROM rsc"#,
        );
        let mut site = Site::new();
        site.set_database(&database.settings(SCHEMA));
        site.encrypt(is_encrypted);
        write(&site.path("media/deep/er/file"), "deep");
        set_mode(&site.path("media/a.txt"), 0o640);
        set_mode(&site.path("security/ssl/site.key"), 0o400);
        symlink("a.txt", site.path("media/link")).unwrap();
        let mut story = Self {
            site,
            database,
            before: State {
                rows: String::new(),
                media: Tree::new(),
                private: Tree::new(),
                security: Tree::new(),
            },
        };
        story.before = story.state();
        story
    }

    pub(crate) fn state(&self) -> State {
        State {
            rows: self.database.sql(
                r#"SET search_path TO "my ""Site"""; SELECT rsc FROM rsc ORDER BY id;
                   SELECT count(*), sum(n) FROM edge; SELECT last_value FROM rsc_id_seq"#,
            ),
            media: tree(&self.site.path("media")),
            private: tree(&self.site.path("priv")),
            security: tree(&self.site.path("security")),
        }
    }

    /// The site goes on, and wrong.
    pub(crate) fn disaster(&self) {
        self.database.sql(
            r#"SET search_path TO "my ""Site"""; DELETE FROM edge; DELETE FROM rsc WHERE id > 10;
               UPDATE rsc SET title = 'lost'; CREATE TABLE extra AS SELECT 1 AS one"#,
        );
        let at = |name: &str| self.site.path(name);
        write(&at("media/a.txt"), "overwritten");
        fs::remove_dir_all(at("media/2026")).unwrap();
        fs::remove_file(at("media/link")).unwrap();
        write(&at("media/later.txt"), "made after the backup");
        write(&at("priv/zotonic_site.config"), "[broken].\n");
        fs::remove_file(at("priv/config.d/extra.config")).unwrap();
        fs::remove_file(at("security/ssl/site.key")).unwrap();
        write(&at("security/ssl/new.key"), "new");
    }

    /// The same, as often as it takes.
    pub(crate) fn disaster_again(&self) {
        self.database
            .sql(r#"DELETE FROM "my ""Site""".edge; DELETE FROM "my ""Site""".rsc"#);
        write(&self.site.path("media/a.txt"), "overwritten");
    }

    #[track_caller]
    pub(crate) fn is_unchanged(&self, before: &State) {
        let now = self.state();
        assert_eq!(now.rows, before.rows);
        assert_same(&now.media, &before.media);
        assert_same(&now.private, &before.private);
        assert_same(&now.security, &before.security);
        self.is_tidy();
    }

    /// Nothing of a restore is left beside the site.
    #[track_caller]
    pub(crate) fn is_tidy(&self) {
        let found = sh(
            "find \"$1\" -name '.zbackup-*' -o -name '.restore*' -o -name .staging",
            &[&self.site.path("")],
        );
        assert_eq!(found.good().stdout, "");
        let schemas = self
            .database
            .sql("SELECT nspname FROM pg_namespace WHERE nspname ~ 'before' ORDER BY 1");
        assert_eq!(schemas, "");
    }
}

/// What is in `all` is as in `wanted`, but for what is not in that.
#[track_caller]
pub(crate) fn holds(all: &Tree, wanted: &Tree) {
    let kept: Tree = all
        .iter()
        .filter(|(path, _)| wanted.contains_key(*path))
        .map(|(path, content)| (path.clone(), content.clone()))
        .collect();
    assert_same(&kept, wanted);
}

/// A dump with something in it that a site is not restored from.
pub(crate) fn spoiled(story: &Story<'_>, name: &str, edit: impl Fn(&str) -> String) {
    let file = story.site.part(name, "database");
    let dump = sh("gunzip <\"$1\"", &[&file]).good().stdout;
    let plain = story.site.path("dump.sql");
    write(&plain, edit(&dump));
    sh("gzip -c <\"$1\" >\"$2\"", &[&plain, &file]).good();
    let hash = sha256(&file);
    let size = fs::metadata(&file).unwrap().len();
    story.site.edit_catalog(|catalog| {
        catalog[name]["database_hash"] = hash.into();
        catalog[name]["database_size"] = size.into();
    });
}
