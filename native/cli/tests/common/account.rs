//! Another account, as Zotonic has one.

use super::{Ran, Site, ZBACKUP, is_root, run, set_mode, sh};
use std::path::Path;

/// Runs the program as somebody who may not do everything.
pub(crate) fn as_nobody(site: &Site, words: &str) -> Ran {
    if !is_root() {
        return site.run(words);
    }
    // Where the program is built that account may not be able to get.
    let program = site.path("zbackup");
    if !program.exists() {
        sh("cp \"$1\" \"$2\"", &[Path::new(ZBACKUP), &program]).good();
    }
    set_mode(&site.path(""), 0o755);
    let mut command = site.command("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
    command.arg(&program).args(words.split_whitespace());
    run(command.arg("--config").arg(site.config()))
}

/// Gives everything of the site to that account.
pub(crate) fn to_nobody(site: &Site) {
    if is_root() {
        sh("chown -R 65534:65534 \"$1\"", &[&site.path("")]).good();
    }
}
