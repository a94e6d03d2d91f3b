use proptest::prelude::*;

use super::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn document(rrule: &str, tz: &str, duration: &str, from: Option<&str>) -> WindowDocument {
    let from = from.map(str::to_owned);
    WindowDocument { rrule: rrule.into(), tz: tz.into(), duration: duration.into(), from }
}

fn window(rrule: &str, tz: &str, duration: &str) -> Window {
    Window::try_from(document(rrule, tz, duration, None)).unwrap()
}

fn calendar(intervals: &str) -> Calendar {
    let head = "apiVersion = \"marque/v1\"\nkind = \"Calendar\"\nname = \"freeze\"\nowner = \"group:board\"\n\
                reason = \"Year end\"\nreview_by = \"2027-11-01\"\n";
    Calendar::parse(&format!("{head}{intervals}")).unwrap()
}

fn open_until(text: &str) -> Standing<'static> {
    Standing::Open { until: Some(at(text)) }
}

fn opens_at(text: &str) -> Standing<'static> {
    Standing::Outside { opens_at: Some(at(text)) }
}

#[test]
fn hours_that_touch_are_one_window() {
    let windows = [window("FREQ=WEEKLY;BYDAY=TU,TH;BYHOUR=9,10,11", "Europe/Berlin", "1h")];
    let schedule = Schedule::new(&windows, []);
    // Tuesday, the 24th of November 2026: one hour ahead of UTC.
    assert_eq!(schedule.at(at("2026-11-24T07:59:59Z")), opens_at("2026-11-24T08:00:00Z"));
    assert_eq!(schedule.at(at("2026-11-24T08:00:00Z")), open_until("2026-11-24T11:00:00Z"));
    assert_eq!(schedule.at(at("2026-11-24T10:59:59Z")), open_until("2026-11-24T11:00:00Z"));
    assert_eq!(schedule.at(at("2026-11-24T11:00:00Z")), opens_at("2026-11-26T08:00:00Z"));
    assert_eq!(schedule.at(at("2026-11-26T12:00:00Z")), opens_at("2026-12-01T08:00:00Z"));
}

#[test]
fn without_windows_it_is_always_open() {
    assert_eq!(Schedule::default().at(Timestamp::UNIX_EPOCH), Standing::Open { until: None });
}

#[test]
fn without_windows_it_is_open_until_the_next_blackout_wherever_that_is() {
    for zone in ["UTC", "Europe/Berlin", "Africa/Cairo", "Asia/Tokyo", "Pacific/Kiritimati"] {
        let rule = format!(
            "[[recurring]]\nrrule = \"FREQ=DAILY;BYHOUR=12\"\ntz = \"{zone}\"\nduration = \"1h\"\n"
        );
        let freeze = calendar(&rule);
        let own = window("FREQ=DAILY;BYHOUR=12", zone, "1h");
        let (now, far) = (at("2026-11-24T16:00:00Z"), at("2026-11-26T16:00:00Z"));
        let next = own.next_start(now, far, Repeated::Both);
        assert!(next.is_some());
        assert_eq!(Schedule::new(&[], [&freeze]).at(now), Standing::Open { until: next }, "{zone}");
    }
}

#[test]
fn a_window_that_never_closes_has_no_end() {
    let windows = [window("FREQ=DAILY;BYHOUR=0", "UTC", "24h")];
    let standing = Schedule::new(&windows, []).at(at("2026-11-24T08:00:00Z"));
    assert_eq!(standing, Standing::Open { until: None });
}

#[test]
fn a_window_over_midnight_belongs_to_the_day_on_which_it_begins() {
    let windows = [window("FREQ=WEEKLY;BYDAY=SA;BYHOUR=22", "UTC", "6h")];
    let schedule = Schedule::new(&windows, []);
    assert_eq!(schedule.at(at("2026-11-29T03:59:59Z")), open_until("2026-11-29T04:00:00Z"));
    assert_eq!(schedule.at(at("2026-11-29T04:00:00Z")), opens_at("2026-12-05T22:00:00Z"));
}

#[test]
fn a_window_in_an_hour_that_is_left_out_begins_when_it_would_have() {
    // In Berlin 02:00 to 03:00 is left out on the 28th of March 2027.
    let windows = [window("FREQ=DAILY;BYHOUR=2;BYMINUTE=30", "Europe/Berlin", "1h")];
    let schedule = Schedule::new(&windows, []);
    assert_eq!(schedule.at(at("2027-03-28T01:29:59Z")), opens_at("2027-03-28T01:30:00Z"));
    assert_eq!(schedule.at(at("2027-03-28T01:30:00Z")), open_until("2027-03-28T02:30:00Z"));
}

#[test]
fn a_window_in_an_hour_that_comes_twice_is_not_longer_and_a_blackout_covers_both() {
    // In Berlin 02:00 to 03:00 comes twice on the 25th of October 2026: from 00:00Z and from 01:00Z.
    let windows = [window("FREQ=DAILY;BYHOUR=2", "Europe/Berlin", "1h")];
    let schedule = Schedule::new(&windows, []);
    assert_eq!(schedule.at(at("2026-10-25T00:00:00Z")), open_until("2026-10-25T01:00:00Z"));
    assert_eq!(schedule.at(at("2026-10-25T01:00:00Z")), opens_at("2026-10-26T01:00:00Z"));
    let freeze = calendar(
        "[[recurring]]\nrrule = \"FREQ=DAILY;BYHOUR=2\"\ntz = \"Europe/Berlin\"\nduration = \"1h\"\n",
    );
    let schedule = Schedule::new(&[], [&freeze]);
    for held in ["2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:59:59Z"] {
        let opens_at = Some(at("2026-10-25T02:00:00Z"));
        let blackout = Standing::Blackout { calendar: &freeze, opens_at };
        assert_eq!(schedule.at(at(held)), blackout, "{held}");
    }
    assert_eq!(schedule.at(at("2026-10-25T02:00:00Z")), open_until("2026-10-26T01:00:00Z"));
}

#[test]
fn the_days_are_those_of_the_time_zone() {
    // Monday in Auckland begins on Sunday in UTC.
    let windows = [window("FREQ=WEEKLY;BYDAY=MO;BYHOUR=0", "Pacific/Auckland", "1h")];
    let schedule = Schedule::new(&windows, []);
    assert_eq!(schedule.at(at("2026-11-29T11:30:00Z")), open_until("2026-11-29T12:00:00Z"));
}

#[test]
fn days_of_the_month_are_counted_from_both_ends() {
    for (rule, days) in [
        ("FREQ=MONTHLY;BYDAY=2TU;BYHOUR=0", vec![10]),
        ("FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=0", vec![27]),
        ("FREQ=MONTHLY;BYMONTHDAY=1,-1;BYHOUR=0", vec![1, 30]),
        ("FREQ=MONTHLY;BYDAY=FR;BYMONTHDAY=13;BYHOUR=0", vec![13]),
        ("FREQ=YEARLY;BYMONTH=11;BYMONTHDAY=3;BYHOUR=0", vec![3]),
        ("FREQ=DAILY;BYDAY=SU;BYMONTH=11;BYHOUR=0", vec![1, 8, 15, 22, 29]),
        ("FREQ=DAILY;UNTIL=20261102;BYHOUR=0", vec![1, 2]),
    ] {
        let window = window(rule, "UTC", "1h");
        let on = |day: &i8| window.is_on(Date::constant(2026, 11, *day));
        assert_eq!((1..=30).filter(on).collect::<Vec<i8>>(), days, "{rule}");
    }
}

#[test]
fn every_other_is_counted_from_the_beginning() {
    for (rule, from, days) in [
        ("FREQ=DAILY;INTERVAL=10;BYHOUR=0", "2026-11-05", vec![5, 15, 25]),
        ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,SU;BYHOUR=0", "2026-11-04", vec![8, 16, 22, 30]),
        ("FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=1;BYHOUR=0", "2026-09-01", vec![1]),
        ("FREQ=MONTHLY;INTERVAL=2;BYMONTHDAY=1;BYHOUR=0", "2026-10-01", vec![]),
        ("FREQ=YEARLY;INTERVAL=2;BYMONTH=11;BYMONTHDAY=2;BYHOUR=0", "2024-01-01", vec![2]),
    ] {
        let window = Window::try_from(document(rule, "UTC", "1h", Some(from))).unwrap();
        let on = |day: &i8| window.is_on(Date::constant(2026, 11, *day));
        assert_eq!((1..=30).filter(on).collect::<Vec<i8>>(), days, "{rule}");
    }
}

#[test]
fn a_rule_that_is_not_read_here_is_refused_with_what_is_wrong() {
    use RecurrenceError as E;
    let long = format!("FREQ=DAILY;BYHOUR={}", "1,".repeat(130));
    for (rule, error) in [
        ("", E::Syntax),
        ("FREQ", E::Syntax),
        ("FREQ=", E::Syntax),
        ("BYHOUR=1", E::Missing("FREQ")),
        ("FREQ=DAILY", E::Missing("BYHOUR")),
        ("FREQ=SECONDLY;BYHOUR=1", E::Unsupported("SECONDLY")),
        ("FREQ=HOURLY;BYHOUR=1", E::Unsupported("HOURLY")),
        ("FREQ=OFTEN;BYHOUR=1", E::Value("FREQ")),
        ("freq=DAILY;BYHOUR=1", E::UnknownPart),
        ("FREQ=DAILY;BYHOUR=1;X-A=1", E::UnknownPart),
        ("FREQ=DAILY;BYHOUR=1;BYHOUR=2", E::Twice),
        ("FREQ=DAILY;BYHOUR=1;COUNT=3", E::Unsupported("COUNT")),
        ("FREQ=DAILY;BYHOUR=1;BYSETPOS=1", E::Unsupported("BYSETPOS")),
        ("FREQ=DAILY;BYHOUR=1;BYSECOND=1", E::Unsupported("BYSECOND")),
        ("FREQ=WEEKLY;BYDAY=MO;BYHOUR=1;WKST=SU", E::Unsupported("WKST")),
        ("FREQ=WEEKLY;BYHOUR=1", E::Missing("BYDAY")),
        ("FREQ=WEEKLY;BYDAY=1MO;BYHOUR=1", E::Value("BYDAY")),
        ("FREQ=WEEKLY;BYDAY=MO,MO;BYHOUR=1", E::Value("BYDAY")),
        ("FREQ=WEEKLY;BYDAY=MO;BYMONTHDAY=1;BYHOUR=1", E::Value("BYMONTHDAY")),
        ("FREQ=MONTHLY;BYHOUR=1", E::Missing("BYMONTHDAY")),
        ("FREQ=MONTHLY;BYDAY=6MO;BYHOUR=1", E::Value("BYDAY")),
        ("FREQ=MONTHLY;BYDAY=0MO;BYHOUR=1", E::Value("BYDAY")),
        ("FREQ=MONTHLY;BYMONTHDAY=0;BYHOUR=1", E::Value("BYMONTHDAY")),
        ("FREQ=MONTHLY;BYMONTHDAY=32;BYHOUR=1", E::Value("BYMONTHDAY")),
        ("FREQ=YEARLY;BYMONTHDAY=1;BYHOUR=1", E::Missing("BYMONTH")),
        ("FREQ=YEARLY;BYMONTH=13;BYMONTHDAY=1;BYHOUR=1", E::Value("BYMONTH")),
        ("FREQ=DAILY;BYHOUR=24", E::Value("BYHOUR")),
        ("FREQ=DAILY;BYHOUR=-1", E::Value("BYHOUR")),
        ("FREQ=DAILY;BYHOUR=1;BYMINUTE=60", E::Value("BYMINUTE")),
        ("FREQ=DAILY;BYHOUR=+1", E::Value("BYHOUR")),
        ("FREQ=DAILY;INTERVAL=0;BYHOUR=1", E::Value("INTERVAL")),
        ("FREQ=DAILY;INTERVAL=100;BYHOUR=1", E::Value("INTERVAL")),
        ("FREQ=YEARLY;INTERVAL=5;BYMONTH=1;BYMONTHDAY=1;BYHOUR=1", E::Value("INTERVAL")),
        ("FREQ=DAILY;UNTIL=20261301;BYHOUR=1", E::Value("UNTIL")),
        ("FREQ=DAILY;UNTIL=20260101T000000Z;BYHOUR=1", E::Value("UNTIL")),
        ("FREQ=DAILY;BYHOUR=1,2,3,4,5,6,7;BYMINUTE=0,15,30,45", E::TooManyTimes),
        (&long, E::TooLong),
    ] {
        assert_eq!(rule.parse::<Recurrence>(), Err(error), "{rule}");
    }
    assert!("FREQ=DAILY;BYHOUR=1,2,3,4,5,6;BYMINUTE=0,15,30,45".parse::<Recurrence>().is_ok());
}

#[test]
fn a_window_is_bounded_and_comes_true() {
    use WindowError as E;
    let daily = "FREQ=DAILY;BYHOUR=1";
    let never = "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;BYHOUR=1";
    let every_other = "FREQ=DAILY;INTERVAL=2;BYHOUR=1";
    for (rule, tz, duration, from, error) in [
        (daily, "UTC", "59s", None, E::OutOfBounds),
        (daily, "UTC", "169h", None, E::OutOfBounds),
        (daily, "Europe/Atlantis", "1h", None, E::Zone(ZoneError)),
        (daily, "europe/berlin", "1h", None, E::Zone(ZoneError)),
        (daily, "", "1h", None, E::Zone(ZoneError)),
        (daily, "../../etc/passwd", "1h", None, E::Zone(ZoneError)),
        (daily, "UTC", "1h", Some("2026-1-1"), E::From),
        (every_other, "UTC", "1h", None, E::NothingToCountFrom),
        (never, "UTC", "1h", None, E::Never),
        ("FREQ=DAILY;BYHOUR=25", "UTC", "1h", None, E::Rule(RecurrenceError::Value("BYHOUR"))),
    ] {
        let refused = Window::try_from(document(rule, tz, duration, from));
        assert_eq!(refused, Err(error), "{rule} {tz} {duration}");
    }
    assert!(Window::try_from(document(daily, "UTC", "forever", None)).is_err());
    assert_eq!(window(daily, "UTC", "168h").length(), MAX_LENGTH);
}

#[test]
fn a_leap_day_is_found_from_anywhere() {
    let windows = [window("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29;BYHOUR=0", "UTC", "1h")];
    let schedule = Schedule::new(&windows, []);
    assert_eq!(schedule.at(at("2096-03-01T00:00:00Z")), opens_at("2104-02-29T00:00:00Z"));
}

#[test]
fn a_calendar_closes_an_open_window() {
    let windows = [window("FREQ=DAILY;BYHOUR=8", "UTC", "10h")];
    let freeze = calendar(
        "[[fixed]]\nfrom = \"2026-12-18T12:00\"\nuntil = \"2027-01-04T06:00\"\ntz = \"UTC\"\n",
    );
    let schedule = Schedule::new(&windows, [&freeze]);
    assert_eq!(schedule.at(at("2026-12-18T09:00:00Z")), open_until("2026-12-18T12:00:00Z"));
    let reopens = Some(at("2027-01-04T08:00:00Z"));
    let blackout = Standing::Blackout { calendar: &freeze, opens_at: reopens };
    for held in ["2026-12-18T12:00:00Z", "2026-12-24T03:00:00Z", "2027-01-04T05:59:59Z"] {
        assert_eq!(schedule.at(at(held)), blackout, "{held}");
    }
    // The evening before: the next window is not tomorrow's.
    assert_eq!(schedule.at(at("2026-12-18T07:00:00Z")), opens_at("2026-12-18T08:00:00Z"));
    let early = Schedule::new(&windows, [&freeze]).opening(at("2026-12-18T12:00:00Z"));
    assert_eq!(early, reopens);
    assert_eq!(freeze.reason_at(at("2026-12-24T03:00:00Z")), Some("Year end"));
    assert_eq!(freeze.reason_at(at("2027-01-04T06:00:00Z")), None);
}

#[test]
fn what_a_ticket_plans_narrows_the_windows() {
    let windows = [window("FREQ=DAILY;BYHOUR=8", "UTC", "4h")];
    let planned = |start: &str, end: &str| Schedule::new(&windows, []).planned(at(start), at(end));
    let schedule = planned("2026-12-01T10:00:00Z", "2026-12-02T09:00:00Z");
    assert_eq!(schedule.at(at("2026-12-01T09:00:00Z")), opens_at("2026-12-01T10:00:00Z"));
    assert_eq!(schedule.at(at("2026-12-01T10:00:00Z")), open_until("2026-12-01T12:00:00Z"));
    assert_eq!(schedule.at(at("2026-12-01T13:00:00Z")), opens_at("2026-12-02T08:00:00Z"));
    assert_eq!(schedule.at(at("2026-12-02T08:30:00Z")), open_until("2026-12-02T09:00:00Z"));
    let over = Standing::Outside { opens_at: None };
    assert_eq!(schedule.at(at("2026-12-02T09:00:00Z")), over);
    assert_eq!(
        planned("2026-12-01T13:00:00Z", "2026-12-01T14:00:00Z").at(at("2026-12-01T00:00:00Z")),
        over
    );
}

#[test]
fn a_calendar_that_covers_every_window_leaves_no_opening_and_is_done_soon() {
    let windows = [window("FREQ=DAILY;BYHOUR=0,4,8,12,16,20", "UTC", "1h")];
    let all_week =
        "[[recurring]]\nrrule = \"FREQ=DAILY;BYHOUR=0\"\ntz = \"UTC\"\nduration = \"168h\"\n";
    let freeze = calendar(all_week);
    let begun = std::time::Instant::now();
    let standing = Schedule::new(&windows, [&freeze]).at(at("2026-12-01T00:30:00Z"));
    assert_eq!(standing, Standing::Blackout { calendar: &freeze, opens_at: None });
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_calendar_is_read_strictly() {
    let head = "apiVersion = \"marque/v1\"\nkind = \"Calendar\"\nname = \"freeze\"\nowner = \"group:board\"\n\
                reason = \"Year end\"\nreview_by = \"2027-11-01\"\n";
    let fixed =
        "[[fixed]]\nfrom = \"2026-12-18T18:00\"\nuntil = \"2027-01-04T06:00\"\ntz = \"UTC\"\n";
    let whole = format!("{head}{fixed}");
    assert!(Calendar::parse(&whole).is_ok());
    for (from, to, line, says) in [
        ("marque/v1", "marque/v2", 1, "marque/v1"),
        ("\"Calendar\"", "\"Playbook\"", 2, "Calendar"),
        ("\"freeze\"", "\"Freeze\"", 3, "a calendar's name"),
        ("group:board", "board", 4, "kind:name"),
        ("Year end", "", 5, "1 to 200"),
        ("2027-11-01", "soon", 6, "is a date"),
        ("review_by", "reviewed_by", 6, "unknown field"),
        ("2026-12-18T18:00", "2026-12-18", 8, "local time"),
        ("2026-12-18T18:00", "2027-01-05T18:00", 7, "ends before it begins"),
        ("2026-12-18T18:00", "2025-01-05T18:00", 7, "longer than 400 days"),
        ("\"UTC\"", "\"Local\"", 10, "time zone"),
    ] {
        let errors = Calendar::parse(&whole.replace(from, to)).unwrap_err();
        let fits = |error: &crate::PlaybookError| {
            error.line() == Some(line) && error.message().contains(says)
        };
        assert!(errors.iter().any(fits), "{to}: {errors:?}");
    }
    assert!(Calendar::parse(head).is_err(), "a calendar without an interval");
    let many = |count: usize| Calendar::parse(&format!("{head}{}", fixed.repeat(count)));
    assert!(many(256).is_ok() && many(257).is_err());
    let rule = "[[recurring]]\nrrule = \"FREQ=DAILY;BYHOUR=2\"\ntz = \"UTC\"\nduration = \"1h\"\n";
    let rules = |count: usize| Calendar::parse(&format!("{head}{}", rule.repeat(count)));
    assert!(rules(32).is_ok() && rules(33).is_err());
    let long = format!("{whole}#{}", " ".repeat(MAX_CALENDAR_BYTES - whole.len() - 1));
    assert!(Calendar::parse(&long).is_ok() && Calendar::parse(&format!("{long} ")).is_err());
}

fn any_rule() -> impl Strategy<Value = String> {
    let hours = proptest::collection::btree_set(0..24_u8, 1..4);
    let days = prop_oneof![
        Just("FREQ=DAILY".to_owned()),
        proptest::sample::subsequence(vec!["MO", "TU", "WE", "TH", "FR", "SA", "SU"], 1..4)
            .prop_map(|days| format!("FREQ=WEEKLY;BYDAY={}", days.join(","))),
        (1..=31_i8, any::<bool>()).prop_map(|(day, end)| {
            format!("FREQ=MONTHLY;BYMONTHDAY={}", if end { -day } else { day })
        }),
        (1..=4_i8, 1..=12_u8).prop_map(|(number, month)| {
            format!("FREQ=MONTHLY;BYDAY={number}WE,-{number}SU;BYMONTH={month}")
        }),
        (1..=12_u8, 1..=28_u8)
            .prop_map(|(month, day)| format!("FREQ=YEARLY;BYMONTH={month};BYMONTHDAY={day}")),
    ];
    (days, hours, 0..60_u8).prop_map(|(days, hours, minute)| {
        let hours: Vec<String> = hours.iter().map(ToString::to_string).collect();
        format!("{days};BYHOUR={};BYMINUTE={minute}", hours.join(","))
    })
}

fn any_window() -> impl Strategy<Value = Window> {
    let zones = prop_oneof![
        Just("UTC"),
        Just("Europe/Berlin"),
        Just("America/New_York"),
        Just("Pacific/Auckland"),
        Just("Australia/Lord_Howe"),
        Just("Pacific/Apia"),
    ];
    (any_rule(), zones, 60_u64..=7 * 24 * 3600).prop_map(|(rule, zone, seconds)| {
        window(&rule, zone, &format!("{}m", seconds.div_ceil(60)))
    })
}

fn any_instant() -> impl Strategy<Value = Timestamp> {
    // 2011 (when Samoa left out a day) to 2040.
    (1_300_000_000_i64..2_200_000_000).prop_map(|second| Timestamp::from_second(second).unwrap())
}

proptest! {
    #[test]
    fn the_next_opening_is_inside_and_nothing_before_it_is(
        windows in proptest::collection::vec(any_window(), 1..3),
        from in any_instant(),
        part in 0.0..1.0_f64,
    ) {
        let schedule = Schedule::new(&windows, []);
        let Some(opening) = schedule.opening(from) else {
            return Err(TestCaseError::fail("such rules open again"));
        };
        let open = matches!(schedule.at(opening), Standing::Open { .. });
        prop_assert!(opening >= from && open);
        if opening > from {
            let wait = opening.duration_since(from).as_secs_f64();
            #[expect(clippy::cast_possible_truncation, reason = "a part of some seconds")]
            let between = from + Duration::from_secs((wait * part).floor().abs() as u64);
            prop_assert_eq!(schedule.at(between), Standing::Outside { opens_at: Some(opening) });
        }
    }

    #[test]
    fn what_is_open_stays_open_until_it_closes(
        windows in proptest::collection::vec(any_window(), 1..3),
        from in any_instant(),
    ) {
        let schedule = Schedule::new(&windows, []);
        let opening = schedule.opening(from).unwrap();
        if let Standing::Open { until: Some(until) } = schedule.at(opening) {
            prop_assert!(until > opening);
            let last = until - Duration::from_secs(1);
            prop_assert_eq!(schedule.at(last), Standing::Open { until: Some(until) });
            let closed = matches!(schedule.at(until), Standing::Outside { .. });
            prop_assert!(closed);
        }
    }

    #[test]
    fn a_window_reads_as_it_is_written(window in any_window()) {
        let written = serde_json::to_string(&window).unwrap();
        prop_assert_eq!(serde_json::from_str::<Window>(&written).unwrap(), window);
    }

    #[test]
    fn any_text_is_a_rule_or_refused(text in "[A-Z0-9=;,+-]{0,60}") {
        if let Ok(rule) = text.parse::<Recurrence>() {
            prop_assert_eq!(rule.as_str(), text);
        }
    }
}
