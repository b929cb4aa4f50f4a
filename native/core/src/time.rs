//! Moments as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time in seconds since 1970, in a time zone.
#[must_use]
pub fn local(seconds: i64, zone: &TimeZone) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_| format!("{seconds} s"),
        |time| {
            let time = zone.to_datetime(time);
            time.strftime("%a %Y-%m-%d %H:%M:%S").to_string()
        },
    )
}
