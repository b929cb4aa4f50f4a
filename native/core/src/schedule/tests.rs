#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeSet, HashMap};

use jiff::civil::date;
use jiff::tz::{Offset, TimeZoneTransition};
use proptest::prelude::*;

use super::*;

/// Zones that did something strange: at 3 AM, at midnight, by a quarter, by a whole day.
const ZONES: &[&str] = &[
    "UTC",
    "Europe/Amsterdam",
    "America/Sao_Paulo",
    "America/Nuuk",
    "America/Toronto",
    "America/Sitka",
    "America/Caracas",
    "Africa/Cairo",
    "Africa/Monrovia",
    "Antarctica/Troll",
    "Asia/Kathmandu",
    "Asia/Manila",
    "Asia/Pyongyang",
    "Australia/Lord_Howe",
    "Pacific/Apia",
    "Pacific/Kiritimati",
    "Pacific/Kwajalein",
];

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).expect("these tests need the time zone database (tzdata)")
}

/// What no government did yet: a clock that jumps by 40 hours.
fn absurd() -> TimeZone {
    TimeZone::posix("AAA20BBB-20,M3.2.0/12,M11.1.0/7").unwrap()
}

fn at(text: &str) -> TimeOfDay {
    text.parse().unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn due_of(day: Date, moment: &str) -> Due {
    Due {
        at: time(moment),
        day,
    }
}

/// The days and moments that follow each other after `now`.
fn nights(now: Timestamp, at: TimeOfDay, zone: &TimeZone, count: usize) -> Vec<Due> {
    let mut now = now;
    let night = || {
        let due = next_due(now, at, zone);
        now = due.at;
        due
    };
    std::iter::repeat_with(night).take(count).collect()
}

#[test]
fn the_week_of_slots() {
    let shown = |day| slot(day).to_string();
    let monday = date(2026, 1, 5);
    let week: Vec<_> = monday.series(1.day()).take(7).map(shown).collect();
    assert_eq!(week[..6], ["2", "3", "4", "5", "6", "7"]);
    assert!(slot(date(2026, 1, 11)).is_weekly());
    assert!(!slot(monday).is_weekly());
    assert_eq!(FIRST_SUNDAY.weekday(), Weekday::Sunday);
    assert_eq!(shown(FIRST_SUNDAY), "w1");
    assert_eq!(shown(date(1969, 12, 28)), "w4");
    // 2020 had an ISO week 53, where a count of weeks in the year goes wrong.
    let sundays: Vec<_> = date(2020, 12, 20)
        .series(7.days())
        .take(5)
        .map(shown)
        .collect();
    assert_eq!(sundays, ["w4", "w1", "w2", "w3", "w4"]);
}

#[test]
fn names() {
    assert_eq!(backup_name("example", date(2026, 1, 5)), "example-2");
    assert_eq!(backup_name("example", date(2020, 12, 20)), "example-w4");
}

#[test]
fn a_time_of_day_reads_and_shows() {
    assert_eq!(TimeOfDay::default(), at("03:00"));
    assert_eq!(at("3:00").to_string(), "03:00");
    assert_eq!(at("23:59").to_string(), "23:59");
    for text in [
        "", "3", "300", "3:0", "003:00", "+3:00", "-3:00", "3:+1", " 3:00", "03:00:00", "३:00",
    ] {
        assert_eq!(
            text.parse::<TimeOfDay>(),
            Err(TimeOfDayError::Form(text.into()))
        );
    }
    assert_eq!(
        "24:00".parse::<TimeOfDay>(),
        Err(TimeOfDayError::Hour("24:00".into()))
    );
    let error = "03:60".parse::<TimeOfDay>().unwrap_err();
    assert_eq!(error, TimeOfDayError::Minute("03:60".into()));
    assert_eq!(
        error.to_string(),
        "the minutes of \"03:60\" are not between 00 and 59: write a time such as 03:00"
    );
}

#[test]
fn a_moment_on_the_second() {
    let (at, zone) = (at("03:00"), zone("Europe/Amsterdam"));
    let moment = time("2026-01-10T02:00:00Z");
    let before = moment - 1.nanosecond();
    let (friday, saturday) = (date(2026, 1, 9), date(2026, 1, 10));
    assert_eq!(
        last_due(moment, at, &zone),
        Due {
            at: moment,
            day: saturday
        }
    );
    assert_eq!(
        last_due(before, at, &zone),
        due_of(friday, "2026-01-09T02:00:00Z")
    );
    assert_eq!(
        next_due(before, at, &zone),
        Due {
            at: moment,
            day: saturday
        }
    );
    assert_eq!(
        next_due(moment, at, &zone),
        due_of(date(2026, 1, 11), "2026-01-11T02:00:00Z")
    );
}

#[test]
fn an_hour_that_is_skipped_or_repeated() {
    let cases = [
        // Clocks went from 02:00 to 03:00: 02:30 became 03:30.
        (
            "Europe/Amsterdam",
            "02:30",
            date(2026, 3, 29),
            "2026-03-29T01:30:00Z",
        ),
        (
            "Europe/Amsterdam",
            "03:00",
            date(2026, 3, 29),
            "2026-03-29T01:00:00Z",
        ),
        // Clocks went from 03:00 back to 02:00: the first of the two.
        (
            "Europe/Amsterdam",
            "02:30",
            date(2026, 10, 25),
            "2026-10-25T00:30:00Z",
        ),
        // The day began at 01:00.
        (
            "America/Sao_Paulo",
            "00:00",
            date(2018, 11, 4),
            "2018-11-04T03:00:00Z",
        ),
        // From 23:30 to 00:30: 30 March had no 23:45, so its backup began on the 31st.
        (
            "America/Toronto",
            "23:45",
            date(1919, 3, 30),
            "1919-03-31T04:45:00Z",
        ),
    ];
    for (name, text, day, moment) in cases {
        let (at, zone, due) = (at(text), zone(name), due_of(day, moment));
        assert_eq!(last_due(due.at, at, &zone), due, "{name} {day}");
        assert_eq!(
            next_due(due.at - 1.second(), at, &zone),
            due,
            "{name} {day}"
        );
    }
}

#[test]
fn a_day_that_is_skipped_or_repeated() {
    let days = |name, from, count| -> Vec<Date> {
        nights(time(from), at("03:00"), &zone(name), count)
            .iter()
            .map(|due| due.day)
            .collect()
    };
    let samoa = days("Pacific/Apia", "2011-12-29T00:00:00Z", 3);
    assert_eq!(
        samoa,
        [date(2011, 12, 29), date(2011, 12, 31), date(2012, 1, 1)]
    );
    // Alaska was sold on a day that it had twice, the second time after the moment of the next.
    let alaska = days("America/Sitka", "1867-10-17T00:00:00Z", 4);
    assert_eq!(alaska, [18, 19, 20, 21].map(|day| date(1867, 10, day)));
}

#[test]
fn an_absurd_zone_does_not_run_backwards() {
    for hour in 0..24 {
        let at = TimeOfDay(Time::constant(hour, 0, 0, 0));
        let nights = nights(time("2026-01-01T00:00:00Z"), at, &absurd(), 400);
        for pair in nights.windows(2) {
            assert!(pair[0].at < pair[1].at && pair[0].day < pair[1].day);
            assert_eq!(last_due(pair[1].at, at, &absurd()), pair[1]);
        }
    }
}

#[test]
fn a_missed_night_is_made_up_once() {
    let (at, zone) = (at("03:00"), TimeZone::UTC);
    let now = time("2026-01-14T15:00:00Z");
    let missed = due_of(date(2026, 1, 14), "2026-01-14T03:00:00Z");
    assert_eq!(due(now, None, at, &zone), Some(missed));
    assert_eq!(
        due(now, Some(time("2026-01-10T03:00:00Z")), at, &zone),
        Some(missed)
    );
    assert_eq!(due(now, Some(now), at, &zone), None);
    assert_eq!(due(now + 11.hours(), Some(now), at, &zone), None);
    assert_eq!(
        due(now + 12.hours(), Some(now), at, &zone),
        Some(due_of(date(2026, 1, 15), "2026-01-15T03:00:00Z"))
    );
    // Before 3 AM the night of the day before is the one that was missed, and it has the name.
    assert_eq!(
        due(
            time("2026-01-15T02:00:00Z"),
            Some(time("2026-01-13T03:00:00Z")),
            at,
            &zone
        ),
        Some(missed)
    );
}

#[test]
fn a_backup_from_the_future_does_not_count() {
    let (at, zone) = (at("03:00"), TimeZone::UTC);
    let (now, future) = (time("2026-01-14T15:00:00Z"), time("2031-01-01T00:00:00Z"));
    let tonight = due_of(date(2026, 1, 14), "2026-01-14T03:00:00Z");
    assert_eq!(due(now, Some(future), at, &zone), Some(tonight));
    assert_eq!(due(now, [future, tonight.at], at, &zone), None);
}

#[test]
fn the_ends_of_time() {
    let zones = [
        TimeZone::UTC,
        zone("Europe/Amsterdam"),
        zone("Pacific/Apia"),
    ];
    for zone in zones
        .into_iter()
        .chain([Offset::MIN, Offset::MAX].map(TimeZone::fixed))
    {
        for at in ["00:00", "03:00", "23:59"].map(at) {
            for hours in 0..100 {
                let early = Timestamp::MIN + hours.hours();
                let late = Timestamp::MAX - hours.hours();
                for now in [early, late] {
                    assert!(last_due(now, at, &zone).at <= now);
                    assert!(now <= next_due(now, at, &zone).at);
                    assert!(due(now, None, at, &zone).is_some());
                }
            }
        }
    }
    assert!(!slot(Date::MAX).to_string().is_empty());
    assert!(!slot(Date::MIN).to_string().is_empty());
}

/// What the schedule promises of any stretch around a change of a clock.
fn check_nights(from: Timestamp, at: TimeOfDay, zone: &TimeZone) {
    let nights = nights(from, at, zone, 8);
    let last = nights[7].at;
    // Found without any of the above: the calendar days that somebody there lived through.
    let mut lived = BTreeSet::new();
    let mut moment = nights[0].at;
    while moment <= last {
        lived.insert(zone.to_datetime(moment).date());
        moment += 15.minutes();
    }
    let skipped = |day: &Date| !lived.contains(day);
    for pair in nights.windows(2) {
        let (one, other) = (pair[0], pair[1]);
        assert!(one.at < other.at && one.day < other.day);
        let mut between = one
            .day
            .series(1.day())
            .skip(1)
            .take_while(|day| *day < other.day);
        assert!(between.all(|day| skipped(&day)), "{one:?} {other:?}");
        assert_eq!(last_due(other.at, at, zone), other);
        assert_eq!(last_due(other.at - 1.nanosecond(), at, zone), one);
    }
    for due in &nights[1..7] {
        assert!(!skipped(&due.day), "{due:?}");
        let wall = due.day.to_datetime(at.0);
        if zone.to_datetime(due.at) != wall {
            assert!(zone.to_ambiguous_timestamp(wall).is_ambiguous(), "{due:?}");
        }
        assert_eq!(
            due.at.subsec_nanosecond(),
            0,
            "backup.json keeps whole seconds"
        );
    }
}

#[test]
fn whole_days_lost_and_won() {
    for name in ZONES {
        let zone = zone(name);
        let transitions: Vec<TimeZoneTransition<'_>> =
            zone.preceding(Timestamp::MAX).take(400).collect();
        for change in transitions {
            let before = zone.to_offset(change.timestamp() - 1.second()).seconds();
            if (change.offset().seconds() - before).abs() > 4 * 3600 {
                for hour in 0..24 {
                    let at = TimeOfDay(Time::constant(hour, 15, 0, 0));
                    check_nights(change.timestamp() - 80.hours(), at, &zone);
                }
            }
        }
    }
}

fn days() -> impl Strategy<Value = Date> {
    (-3_650_000i64..2_900_000).prop_map(|days| FIRST_SUNDAY + days.days())
}

fn times() -> impl Strategy<Value = TimeOfDay> {
    (0i8..24, 0i8..60).prop_map(|(hour, minute)| TimeOfDay(Time::constant(hour, minute, 0, 0)))
}

fn zones() -> impl Strategy<Value = TimeZone> {
    let fixed = (Offset::MIN.seconds()..=Offset::MAX.seconds())
        .prop_map(|seconds| TimeZone::fixed(Offset::from_seconds(seconds).unwrap()));
    prop_oneof![
        8 => prop::sample::select(ZONES).prop_map(zone), 1 => fixed, 1 => Just(absurd()),
    ]
}

fn moments() -> impl Strategy<Value = Timestamp> {
    let seconds = Timestamp::MIN.as_second()..=Timestamp::MAX.as_second();
    let known = -5_000_000_000i64..3_000_000_000;
    prop_oneof![1 => seconds, 4 => known].prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #[test]
    fn a_schedule_never_keeps_fewer_than_it_says(start in days(), count in 1usize..120) {
        let mut kept = HashMap::new();
        for (made, today) in (0i64..).zip(start.series(1.day()).take(count)) {
            kept.insert(slot(today), today);
            let past = |days: i64| (0..days.min(made + 1)).map(|ago| today - ago.days());
            for day in past(7) {
                prop_assert_eq!(kept.get(&slot(day)), Some(&day));
            }
            for day in past(28).filter(|day| day.weekday() == Weekday::Sunday) {
                prop_assert_eq!(kept.get(&slot(day)), Some(&day));
            }
            prop_assert!(kept.len() <= 10);
        }
    }

    #[test]
    fn sundays_go_round(day in days()) {
        let sunday = day - i64::from(day.weekday().to_sunday_zero_offset()).days();
        let (this, next) = (slot(sunday), slot(sunday + 7.days()));
        prop_assert!(this.is_weekly() && next.is_weekly());
        prop_assert_eq!(next.number, this.number % 4 + 1);
    }

    #[test]
    fn any_text_parses_or_fails(text in "\\PC*|[0-9]{0,3}:[0-9]{0,3}") {
        if let Ok(time) = text.parse::<TimeOfDay>() {
            prop_assert_eq!(time.to_string().parse(), Ok(time));
        }
    }

    #[test]
    fn a_time_of_day_round_trips(time in times()) {
        prop_assert_eq!(time.to_string().parse(), Ok(time));
    }

    #[test]
    fn now_is_between_two_moments(now in moments(), at in times(), zone in zones()) {
        let (last, next) = (last_due(now, at, &zone), next_due(now, at, &zone));
        prop_assert!(last.at <= now && now < next.at && last.day < next.day);
    }

    #[test]
    fn moments_never_run_backwards(
        now in moments(), hours in 0i64..200, at in times(), zone in zones(),
    ) {
        let later = now.saturating_add(hours.hours()).unwrap();
        let (one, other) = (last_due(now, at, &zone), last_due(later, at, &zone));
        prop_assert!(one.at <= other.at && one.day <= other.day);
        prop_assert_eq!(one.at == other.at, one.day == other.day);
    }

    #[test]
    fn one_backup_is_enough_until_the_next_moment(
        now in -5_000_000_000i64..3_000_000_000, wait in 0i64..1_000_000,
        at in times(), zone in zones(),
    ) {
        let now = Timestamp::from_second(now).unwrap();
        let tonight = due(now, None, at, &zone).unwrap();
        prop_assert_eq!(tonight, last_due(now, at, &zone));
        let next = next_due(now, at, &zone);
        let rest = next.at.as_second() - now.as_second();
        let meanwhile = now + (wait % rest).seconds();
        prop_assert_eq!(due(meanwhile, Some(now), at, &zone), None);
        prop_assert_eq!(due(meanwhile, Some(tonight.at), at, &zone), None);
        prop_assert_eq!(due(next.at, Some(now), at, &zone), Some(next));
    }

    #[test]
    fn every_day_has_one_backup(
        name in prop::sample::select(ZONES), nth in 0usize..300, before in 0i64..160,
        at in times(),
    ) {
        let zone = zone(name);
        let change = zone.preceding(time("2060-01-01T00:00:00Z")).take(nth + 1).last();
        let change = change.map_or(Timestamp::UNIX_EPOCH, |change| change.timestamp());
        check_nights(change - before.hours(), at, &zone);
    }
}
