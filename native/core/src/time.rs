//! Moments as people read them.

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A time in seconds since 1970, in the time zone of the machine.
#[must_use]
pub fn local(seconds: i64) -> String {
    Timestamp::from_second(seconds).map_or_else(
        |_| format!("{seconds} s"),
        |time| {
            let zone = TimeZone::system();
            zone.to_datetime(time)
                .strftime("%a %Y-%m-%d %H:%M:%S")
                .to_string()
        },
    )
}
