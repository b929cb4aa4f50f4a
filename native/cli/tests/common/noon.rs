//! Times of the day that tests can rely on.

use super::run;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// A time zone in which it is about noon now: no test there runs into midnight.
pub(crate) struct Noon;

impl Noon {
    /// Its name.
    pub(crate) fn zone() -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let hour = (now.as_secs() / 3600 % 24) as i64;
        let offset = 12 - hour;
        // In these names, unlike anywhere else, a plus is west of Greenwich.
        match offset {
            0 => "Etc/GMT".into(),
            1.. => format!("Etc/GMT-{offset}"),
            _ => format!("Etc/GMT+{}", -offset),
        }
    }

    /// The last part of the name of today's backup in a zone, by `date` and the manual.
    pub(crate) fn slot(zone: &str) -> String {
        let date = |format: &str| {
            let ran = run(Command::new("date").env("TZ", zone).arg(format)).good();
            ran.stdout.trim().to_owned()
        };
        match date("+%w").as_str() {
            // Sundays rotate; this module counts them from Sunday 4 January 1970.
            "0" => {
                let day = date("+%Y-%m-%d");
                let seconds = run(Command::new("date").args(["-u", "+%s", "-d", &day])).good();
                let days = seconds.stdout.trim().parse::<i64>().unwrap() / 86_400;
                format!("w{}", (days - 3) / 7 % 4 + 1)
            }
            weekday => (weekday.parse::<u32>().unwrap() + 1).to_string(),
        }
    }
}
