//! The store is killed in the middle of an upload, and comes back. By itself in a file, since other tests
//! would notice.

#![allow(clippy::unwrap_used, clippy::panic)]

mod common;

use common::fault::{Tally, times};
use common::proxy::{Fault, Proxy, behind};
use common::store::{Store, env};
use common::{Running, Site, kill, noise, tree, until, write};
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// One test at a time: they share the store that is killed.
static STORE: Mutex<()> = Mutex::new(());

/// A store starts again slowly, and is asked again after longer and longer pauses.
const LONG: Duration = Duration::from_secs(600);

fn server() -> u32 {
    let pid = fs::read_to_string(env("PID")).unwrap();
    pid.trim().parse().unwrap()
}

#[test]
fn a_store_that_is_killed_and_comes_back_gets_all_of_it() {
    let _alone = STORE.lock().unwrap_or_else(PoisonError::into_inner);
    let store = Store::new();
    let proxy = Proxy::new(&env("ENDPOINT"));
    let mut site = Site::new();
    store.give(&mut site, &proxy.endpoint());
    write(&site.path("media/big"), noise(60 << 20, 5));
    site.backup();
    proxy.set(Fault::Slow(Duration::from_millis(20)));
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
    let killed = server();
    kill("KILL", killed);
    assert!(running.is_running());
    proxy.set(Fault::None);
    running.wait(LONG).good();
    assert_ne!(server(), killed);
    store.is_copy_of(&site);
    assert_eq!(store.uploads(), [""; 0]);

    let other = store.site();
    let running = Running::start(&mut other.zbackup("pull"));
    running.wait(LONG).good();
    common::assert_same(&tree(&other.backups()), &tree(&site.backups()));
}

/// At any time of a push: it goes on, or says so and the next one does.
#[test]
fn a_store_that_dies_at_any_time_loses_nothing() {
    let _alone = STORE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut tally = Tally::new("push, the store dies");
    let (_, _, site) = behind("");
    site.backup();
    let began = Instant::now();
    site.run("push").good();
    let takes = began.elapsed();
    let count = 2 * times();
    for number in 0..count {
        let (store, _proxy, site) = behind("");
        site.backup();
        let mut running = Running::start(&mut site.zbackup("push"));
        std::thread::sleep(takes.mul_f64(f64::from(number) / f64::from(count)));
        let is_pushing = running.is_running();
        let killed = server();
        kill("KILL", killed);
        let ran = running.wait(LONG);
        // It may have ended before that, and is not asked before the store can answer.
        let is_back = || server() != killed && store.answers();
        until("the store is back", is_back);
        if !ran.status.success() {
            ran.expect(1, &["zbackup: "]);
            site.run("push").good();
        }
        store.is_copy_of(&site);
        assert_eq!(store.uploads(), [""; 0]);
        site.run("verify").good();
        tally.step(is_pushing);
    }
    tally.finish(1);
}
