//! The store is killed in the middle of an upload, and comes back. By itself in a file, since other tests
//! would notice.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::proxy::{Fault, Proxy};
use common::store::{Store, env};
use common::{PATIENCE, Running, Site, kill, noise, tree, until, write};
use std::fs;
use std::time::Duration;

#[test]
fn a_store_that_is_killed_and_comes_back_gets_all_of_it() {
    let store = Store::new();
    let proxy = Proxy::new(&env("ENDPOINT"));
    let mut site = Site::new();
    store.give(&mut site, &proxy.endpoint());
    write(&site.path("media/big"), noise(60 << 20, 5));
    site.backup();
    proxy.set(Fault::Slow(Duration::from_millis(2)));
    let mut running = Running::start(&mut site.zbackup("push"));
    let parts = |so_far: &mut usize| {
        *so_far += proxy
            .requests()
            .iter()
            .filter(|request| request.contains("partNumber"))
            .count();
        *so_far
    };
    let mut so_far = 0;
    until("some parts are there", || parts(&mut so_far) > 4);
    let server: u32 = fs::read_to_string(env("PID"))
        .unwrap()
        .trim()
        .parse()
        .unwrap();
    kill("KILL", server);
    assert!(running.is_running());
    proxy.set(Fault::None);
    running.wait(PATIENCE).good();
    assert_ne!(
        fs::read_to_string(env("PID")).unwrap().trim(),
        server.to_string()
    );
    store.is_copy_of(&site);
    assert_eq!(store.uploads(), [""; 0]);

    let other = store.site();
    let running = Running::start(&mut other.zbackup("pull"));
    running.wait(PATIENCE).good();
    common::assert_same(&tree(&other.backups()), &tree(&site.backups()));
}
