//! When a backup is due and what it is called.
//!
//! The names rotate, and the rotation is all there is of retention: a new backup replaces the older
//! one of the same name, so the last seven days and the last four Sundays are kept. Everything here
//! is a function of the dates it is given. No clock is read.

use std::cmp::Reverse;
use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

/// A Sunday to count the others from. Any would do; changing it makes the weekly copies skip or
/// repeat a name once.
const FIRST_SUNDAY: Date = Date::constant(1970, 1, 4);

/// The rotating place of a backup: a weekday, or one of four Sundays. Only [`slot`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Slot {
    weekly: bool,
    number: i8,
}

impl Slot {
    /// Whether this is a Sunday's slot, kept for four weeks instead of one.
    #[must_use]
    pub fn is_weekly(self) -> bool {
        self.weekly
    }
}

/// Writes `2` (Monday) to `7` (Saturday), or `w1` to `w4`.
impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = if self.weekly { "w" } else { "" };
        write!(f, "{prefix}{}", self.number)
    }
}

/// The slot of a calendar day's backup. Sundays are counted from a fixed one: the number of the
/// week in its year would skip or repeat a slot at new year, and so drop a copy too early.
#[must_use]
pub fn slot(day: Date) -> Slot {
    let weekday = day.weekday();
    if weekday == Weekday::Sunday {
        let weeks = day.duration_since(FIRST_SUNDAY).as_hours() / (7 * 24);
        // A remainder of 4 always fits.
        Slot {
            weekly: true,
            number: weeks.rem_euclid(4) as i8 + 1,
        }
    } else {
        Slot {
            weekly: false,
            number: weekday.to_sunday_one_offset(),
        }
    }
}

/// The name of a site's backup of a calendar day, such as `example-2` or `example-w3`.
#[must_use]
pub fn backup_name(site: &str, day: Date) -> String {
    format!("{site}-{}", slot(day))
}

/// The hour and minute, on the clock on the wall, at which the nightly backup is due. By default
/// 03:00. Parses from and displays as `03:00`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TimeOfDay(Time);

impl Default for TimeOfDay {
    fn default() -> Self {
        Self(Time::constant(3, 0, 0, 0))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0.hour(), self.0.minute())
    }
}

/// Why a text is not a [`TimeOfDay`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TimeOfDayError {
    /// Not one or two digits, a colon, and two digits.
    #[error("{0:?} is not a time of day: write hours and minutes, such as 03:00")]
    Form(String),
    /// An hour that no day has.
    #[error("the hour of {0:?} is not between 00 and 23: write a time such as 03:00")]
    Hour(String),
    /// A minute that no hour has.
    #[error("the minutes of {0:?} are not between 00 and 59: write a time such as 03:00")]
    Minute(String),
}

impl FromStr for TimeOfDay {
    type Err = TimeOfDayError;

    /// Reads `03:00` or `3:00`, on the 24-hour clock.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let form = || TimeOfDayError::Form(text.to_owned());
        let (hour, minute) = text.split_once(':').ok_or_else(form)?;
        // `parse` alone would also take "+3".
        let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if !matches!(hour.len(), 1..=2) || minute.len() != 2 || !digits(hour) || !digits(minute) {
            return Err(form());
        }
        let hour: i8 = hour.parse().map_err(|_| form())?;
        let minute: i8 = minute.parse().map_err(|_| form())?;
        if minute > 59 {
            return Err(TimeOfDayError::Minute(text.to_owned()));
        }
        let time = Time::new(hour, minute, 0, 0);
        time.map(Self)
            .map_err(|_| TimeOfDayError::Hour(text.to_owned()))
    }
}

/// A moment at which a nightly backup has to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// The moment, a whole second.
    pub at: Timestamp,
    /// The calendar day it is the backup of, which names it: see [`backup_name`].
    pub day: Date,
}

/// The newest due moment that is not after `now`.
///
/// Every calendar day that `zone` has gives one: when the clock jumps over `at`, as much later as
/// it jumped; when the clock shows `at` twice, the first time. In the very first hours of the range
/// of [`Timestamp`], before any due moment, this is the beginning of that range.
#[must_use]
pub fn last_due(now: Timestamp, at: TimeOfDay, zone: &TimeZone) -> Due {
    newest(now, at, zone).unwrap_or(Due {
        at: Timestamp::MIN,
        day: Date::MIN,
    })
}

/// The first due moment after `now`. In the very last hours of the range of [`Timestamp`], after
/// every due moment, this is the end of that range.
#[must_use]
pub fn next_due(now: Timestamp, at: TimeOfDay, zone: &TimeZone) -> Due {
    let last_day = newest(now, at, zone).map(|due| due.day);
    around(now, at, zone)
        .filter(|due| Some(due.day) > last_day)
        .min_by_key(|due| (due.at, Reverse(due.day)))
        .unwrap_or(Due {
            at: Timestamp::MAX,
            day: Date::MAX,
        })
}

/// The nightly backup to make now, or `None` when the last night has one.
///
/// `good` says when the good nightly backups began: all of them, or only the last. A night that was
/// missed because the machine was off is made up, under the name of its own day; of several missed
/// nights only the last, because today's data is not that of the others.
///
/// A beginning later than `now` does not count: it was written while the clock was wrong, and would
/// stop all backups until that time comes. Give all beginnings where they are known, so that one
/// wrong time hides no right one.
#[must_use]
pub fn due(
    now: Timestamp,
    good: impl IntoIterator<Item = Timestamp>,
    at: TimeOfDay,
    zone: &TimeZone,
) -> Option<Due> {
    let last = last_due(now, at, zone);
    let made = good
        .into_iter()
        .any(|began| (last.at..=now).contains(&began));
    (!made).then_some(last)
}

/// The newest day whose moment has come. By day and not by moment, because a day that the zone
/// skipped (Samoa had no 30 December 2011) has the moment of the day after it, or a later one: that
/// day takes its place, and neither days nor moments ever run backwards.
fn newest(now: Timestamp, at: TimeOfDay, zone: &TimeZone) -> Option<Due> {
    around(now, at, zone)
        .filter(|due| due.at <= now)
        .max_by_key(|due| due.day)
}

/// The due moments of the days around `now`, as far as a [`Timestamp`] can hold them. An offset
/// from UTC is less than 26 hours, so a change of it moves a clock by less than 52: a week to both
/// sides has the last and the next moment whatever the zone does.
fn around(now: Timestamp, at: TimeOfDay, zone: &TimeZone) -> impl Iterator<Item = Due> {
    let today = zone.to_datetime(now).date();
    (-7..=7).filter_map(move |days| {
        let day = today.checked_add(days.days()).ok()?;
        let moment = zone.to_ambiguous_timestamp(day.to_datetime(at.0));
        Some(Due {
            at: moment.compatible().ok()?,
            day,
        })
    })
}

#[cfg(test)]
mod tests;
