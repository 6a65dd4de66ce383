//! Bad histories, each of which the checker must find, and the good ones beside them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::*;
use crate::history::Fields;

const fn at(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A request that took 10 ms.
fn event(ms: u64, by: By, act: Act, answer: Answer) -> Line {
    let (began, ended) = (at(ms), at(ms + 10));
    Line::Event(Event { by, user: 1, began, ended, act, answer })
}

fn came(status: u16, told: Told) -> Answer {
    Answer::Came { status, told, broke: None }
}

fn ask(ms: u64, act: Act, status: u16, told: Told) -> Line {
    event(ms, By::Client(1), act, came(status, told))
}

fn lost(ms: u64, act: Act) -> Line {
    event(ms, By::Client(1), act, Answer::Lost("timeout".into()))
}

/// An access token with a subject, unsigned.
fn access(name: &str, sub: &str) -> String {
    let claims = format!(r#"{{"sub":"{sub}","jti":"{name}"}}"#);
    format!("e30.{}.{name}", URL_SAFE_NO_PAD.encode(claims))
}

fn tokens(name: &str) -> Told {
    Told::Tokens { access: access(name, "sub-1"), refresh: format!("refresh-{name}") }
}

fn code() -> Act {
    Act::Redeem("code".into())
}

fn refresh(name: &str) -> Act {
    Act::Refresh(format!("refresh-{name}"))
}

fn userinfo(name: &str) -> Act {
    Act::UserInfo(access(name, "sub-1"))
}

fn me() -> Told {
    Told::Subject("sub-1".into())
}

fn invalid_grant() -> Told {
    Told::Error("invalid_grant".into())
}

fn invalid_token() -> Told {
    Told::Error("invalid_token".into())
}

fn begun() -> Line {
    ask(0, code(), 200, tokens("a"))
}

/// Asserts which invariants a history breaks.
#[track_caller]
fn breaks(lines: Vec<Line>, expected: &[&str]) {
    let found = judge(&Record::of(lines));
    let names: Vec<&str> = found.iter().map(|violation| violation.invariant).collect();
    assert_eq!(names, expected, "{found:?}");
}

#[test]
fn a_day_without_faults_breaks_nothing() {
    breaks(
        vec![
            begun(),
            ask(100, refresh("a"), 200, tokens("b")),
            ask(200, userinfo("b"), 200, me()),
            ask(
                300,
                Act::Introspect(access("b", "sub-1")),
                200,
                Told::Active(Some("sub-1".into())),
            ),
            ask(400, Act::RevokeGrant("refresh-b".into()), 200, Told::Yes),
            ask(500, userinfo("b"), 401, invalid_token()),
            ask(600, Act::Introspect(access("b", "sub-1")), 200, Told::Active(None)),
            ask(700, refresh("b"), 400, invalid_grant()),
        ],
        &[],
    );
}

#[test]
fn i1_a_code_that_is_redeemed_twice_is_found() {
    breaks(vec![begun(), ask(100, code(), 200, tokens("b"))], &["I1"]);
    // Whoever sends it the second time.
    breaks(vec![begun(), event(100, By::Copy, code(), came(200, tokens("b")))], &["I1"]);
    breaks(vec![begun(), ask(100, code(), 400, invalid_grant())], &[]);
}

#[test]
fn i2_a_token_that_outlives_its_acknowledged_revocation_is_found() {
    let revoked = || ask(100, Act::RevokeGrant("refresh-a".into()), 200, Told::Yes);
    breaks(vec![begun(), revoked(), ask(200, userinfo("a"), 200, me())], &["I2"]);
    breaks(vec![begun(), revoked(), ask(200, refresh("a"), 200, tokens("b"))], &["I2"]);
    let introspect = Act::Introspect(access("a", "sub-1"));
    let active = Told::Active(Some("sub-1".into()));
    breaks(vec![begun(), revoked(), ask(200, introspect, 200, active)], &["I2"]);
    // A later token of the same grant, too.
    let later = vec![
        begun(),
        ask(50, refresh("a"), 200, tokens("b")),
        revoked(),
        ask(200, userinfo("b"), 200, me()),
    ];
    breaks(later, &["I2"]);
    // What was under way when it was answered, and what was not acknowledged.
    breaks(vec![begun(), revoked(), ask(105, userinfo("a"), 200, me())], &[]);
    let unknown = lost(100, Act::RevokeGrant("refresh-a".into()));
    breaks(vec![begun(), unknown, ask(200, userinfo("a"), 200, me())], &[]);
}

#[test]
fn i2_an_upstream_has_its_bound_and_no_more() {
    let revoked = || ask(100, Act::RevokeAccess(access("a", "sub-1")), 200, Told::Yes);
    let upstream = |ms| ask(ms, Act::Upstream(access("a", "sub-1")), 200, Told::Yes);
    breaks(vec![begun(), revoked(), upstream(7_000)], &[]);
    breaks(vec![begun(), revoked(), upstream(7_200)], &["I2"]);
    // While a fault lasts, the edge may have to go by what it knows.
    let fault =
        |from, to| [Line::Mark(at(from), Mark::Began), Line::Mark(at(to), Mark::Returned)].to_vec();
    let with = |fault: Vec<Line>, ms| [vec![begun(), revoked(), upstream(ms)], fault].concat();
    breaks(with(fault(50, 300), 15_000), &[]);
    breaks(with(fault(6_000, 9_000), 16_000), &[]);
    breaks(with(fault(6_000, 9_000), 16_400), &["I2"]);
    breaks(with(fault(10, 90), 7_400), &["I2"]);
}

#[test]
fn i2_one_token_revoked_alone_leaves_the_others() {
    let revoked = ask(100, Act::RevokeAccess(access("a", "sub-1")), 200, Told::Yes);
    let next = ask(200, refresh("a"), 200, tokens("b"));
    breaks(vec![begun(), revoked, next, ask(300, userinfo("b"), 200, me())], &[]);
}

#[test]
fn i3_two_live_leaves_are_found() {
    let forked = vec![
        begun(),
        ask(100, refresh("a"), 200, tokens("b")),
        ask(200, refresh("a"), 200, tokens("c")),
    ];
    breaks(forked, &["I3"]);
    let same = vec![
        begun(),
        ask(100, refresh("a"), 200, tokens("b")),
        ask(200, refresh("a"), 200, tokens("b")),
    ];
    breaks(same, &[]);
    let joined = vec![
        begun(),
        ask(50, Act::Redeem("other".into()), 200, tokens("x")),
        ask(100, refresh("a"), 200, tokens("b")),
        ask(200, refresh("x"), 200, tokens("b")),
    ];
    breaks(joined, &["I3"]);
}

#[test]
fn i3_a_forced_login_is_found() {
    // The answer was lost, and the same token is refused within the grace.
    let within =
        vec![begun(), lost(100, refresh("a")), ask(9_000, refresh("a"), 400, invalid_grant())];
    breaks(within, &["I3"]);
    let unavailable = vec![
        begun(),
        ask(100, refresh("a"), 503, Told::Error("temporarily_unavailable".into())),
        ask(600, refresh("a"), 400, invalid_grant()),
    ];
    breaks(unavailable, &["I3"]);
    // Beyond it that is the rule.
    let beyond =
        vec![begun(), lost(100, refresh("a")), ask(10_200, refresh("a"), 400, invalid_grant())];
    breaks(beyond, &[]);
    // Who was told 503 all the time is not late, however long it takes.
    let away = |ms| ask(ms, refresh("a"), 503, Told::Error("temporarily_unavailable".into()));
    let refused = || ask(15_000, refresh("a"), 400, invalid_grant());
    breaks(vec![begun(), away(100), away(7_000), refused()], &["I3"]);
    breaks(vec![begun(), away(100), lost(200, refresh("a")), away(7_000), refused()], &[]);
    breaks(vec![begun(), Line::Mark(at(50), Mark::AnswersLost), away(100), refused()], &[]);
    // A successor that was never presented before cannot be late.
    let first = vec![
        begun(),
        ask(100, refresh("a"), 200, tokens("b")),
        ask(60_000, refresh("b"), 400, invalid_grant()),
    ];
    breaks(first, &["I3"]);
}

#[test]
fn i3_a_copy_of_the_network_is_a_reason_and_a_last_look_is_none() {
    let copied = event(5_000, By::Copy, refresh("a"), came(400, invalid_grant()));
    let after = ask(6_000, refresh("b"), 400, invalid_grant());
    breaks(vec![begun(), ask(100, refresh("a"), 200, tokens("b")), copied, after], &[]);
    let looked = event(5_000, By::Probe, refresh("b"), came(400, invalid_grant()));
    breaks(vec![begun(), ask(100, refresh("a"), 200, tokens("b")), looked], &["I3"]);
}

#[test]
fn i3_a_session_that_is_gone_is_found() {
    let fields = || Fields { tx: "tx".into(), csrf: "csrf".into() };
    let page = || ask(100, Act::Authorize, 200, Told::LoginPage(fields()));
    breaks(vec![page()], &["I3"]);
    breaks(vec![Line::Mark(at(50), Mark::Forgotten), page()], &[]);
}

#[test]
fn i4_a_refusal_without_a_reason_is_found() {
    breaks(vec![begun(), ask(100, userinfo("a"), 401, invalid_token())], &["I4"]);
    let introspect = Act::Introspect(access("a", "sub-1"));
    breaks(vec![begun(), ask(100, introspect, 200, Told::Active(None))], &["I4"]);
    breaks(vec![ask(0, code(), 400, invalid_grant())], &["I4"]);
    // The first answer was lost: it may have been redeemed.
    breaks(vec![lost(0, code()), ask(100, code(), 400, invalid_grant())], &[]);
    // Another error than the one that says that it is dead.
    let wrong = Told::Error("invalid_client".into());
    breaks(vec![begun(), ask(100, refresh("a"), 401, wrong.clone())], &["I3", "I4"]);
    breaks(vec![begun(), ask(100, Act::RevokeGrant("refresh-a".into()), 401, wrong)], &["I4"]);
}

#[test]
fn i4_an_answer_that_hangs_or_breaks_a_rule_is_found() {
    let slow = |seconds| {
        Line::Event(Event {
            by: By::Client(1),
            user: 1,
            began: at(100),
            ended: at(100) + Duration::from_secs(seconds),
            act: userinfo("a"),
            answer: came(503, Told::Error("temporarily_unavailable".into())),
        })
    };
    breaks(vec![begun(), slow(7)], &[]);
    breaks(vec![begun(), slow(9)], &["I4"]);
    let broke = Answer::Came { status: 500, told: Told::Yes, broke: Some("G1: status".into()) };
    breaks(vec![begun(), event(100, By::Client(1), userinfo("a"), broke)], &["I4"]);
    let throttled = ask(100, refresh("a"), 429, Told::Error("temporarily_unavailable".into()));
    breaks(vec![begun(), throttled], &["I4"]);
}

#[test]
fn i5_what_is_somebody_elses_is_found() {
    let other = Told::Subject("sub-2".into());
    breaks(vec![begun(), ask(100, userinfo("a"), 200, other)], &["I5"]);
    let other = Told::Active(Some("sub-2".into()));
    breaks(vec![begun(), ask(100, Act::Introspect(access("a", "sub-1")), 200, other)], &["I5"]);
    // A reply that was meant for another's request.
    let other = Told::Tokens { access: access("z", "sub-2"), refresh: "refresh-z".into() };
    breaks(vec![begun(), ask(100, refresh("a"), 200, other)], &["I5"]);
}

#[test]
fn i6_a_late_recovery_and_a_failure_without_a_fault_are_found() {
    let failed = |ms| lost(ms, userinfo("a"));
    let fine = |ms| ask(ms, userinfo("a"), 200, me());
    let mark = |ms, mark| Line::Mark(at(ms), mark);
    let lines = vec![
        begun(),
        mark(100, Mark::Baseline),
        fine(150),
        mark(1_000, Mark::Began),
        failed(1_500),
        mark(2_000, Mark::Returned),
        failed(3_000),
        failed(8_000),
        fine(9_000),
        mark(10_000, Mark::Ended),
    ];
    let record = Record::of(lines.clone());
    let measured = recovery(&record, Duration::from_secs(5));
    assert_eq!(measured.time, at(6_010));
    assert_eq!((measured.failed_after, measured.asked_after), (1, 2));
    assert_eq!(measured.p99_before, at(10));
    assert_eq!(failures_outside(&record), []);
    let early = [lines, vec![failed(500)]].concat();
    assert_eq!(failures_outside(&Record::of(early.clone())).len(), 1);
    // Unless the machine stood still then, or shortly before: not for a moment, nor after.
    let still = |since, until| mark(until, Mark::StoodStill(at(since)));
    for (stalls, count) in [
        (vec![still(100, 505)], 0),
        (vec![still(100, 300)], 0),
        (vec![still(100, 150), still(200, 260), still(400, 450)], 0),
        (vec![still(400, 490)], 1),
        (vec![still(510, 800)], 1),
    ] {
        let record = Record::of([early.clone(), stalls.clone()].concat());
        assert_eq!(failures_outside(&record).len(), count, "{stalls:?}");
    }
}

#[test]
fn i6_a_password_that_lacked_a_processor_is_no_failure_of_the_server() {
    let fields = || Fields { tx: "t".into(), csrf: "c".into() };
    for (act, took, count) in [
        (Act::LogIn(fields()), 1_000, 0),
        (Act::LogIn(fields()), 900, 1),
        (Act::LogIn(fields()), 2_500, 1),
        (Act::Consent(fields()), 1_000, 1),
    ] {
        let (began, ended) = (at(200), at(200 + took));
        let answer = came(503, Told::Error("temporarily_unavailable".into()));
        let refused = Event { by: By::Client(1), user: 1, began, ended, act, answer };
        let lines = [Line::Mark(at(100), Mark::Baseline), Line::Event(refused.clone())];
        assert_eq!(failures_outside(&Record::of(lines.into())).len(), count, "{refused:?}");
        let lost = Event { answer: Answer::Lost("reset".into()), ..refused };
        let lines = [Line::Mark(at(100), Mark::Baseline), Line::Event(lost)];
        assert_eq!(failures_outside(&Record::of(lines.into())).len(), 1, "only 503 says why");
    }
}

#[test]
fn i8_a_readiness_that_lies_and_a_liveness_that_asks_for_a_restart_are_found() {
    let health = |ms, ready, live| {
        Line::Health(Health { at: at(ms), until: at(ms + 5), ready: Some(ready), live: Some(live) })
    };
    let lost =
        || vec![Line::Mark(at(1_000), Mark::StoreLost), Line::Mark(at(9_000), Mark::Returned)];
    let with = |line| [lost(), vec![line]].concat();
    breaks(with(health(2_900, true, true)), &[]);
    breaks(with(health(3_100, true, true)), &["I8"]);
    breaks(with(health(3_100, false, true)), &[]);
    breaks(with(health(1_100, false, false)), &["I8"]);
    breaks(with(health(9_100, true, true)), &[]);
    let silent = Line::Health(Health { at: at(1_500), until: at(4_500), ready: None, live: None });
    breaks(with(silent), &["I8"]);
    let hangs = Line::Health(Health { at: at(1_500), until: at(9_500), ready: None, live: None });
    breaks(with(hangs), &["I8"]);

    // Who waits for the store need not be the first one that sees it.
    let may_be_back = Line::Mark(at(5_000), Mark::StoreMayBeBack);
    let seen_at = |ms| {
        let [lost, returned] = lost().try_into().expect("there are two");
        vec![lost, may_be_back.clone(), returned, health(ms, true, true)]
    };
    breaks(seen_at(5_100), &[]);
    breaks(seen_at(4_100), &["I8"]);
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let file = folder.path().join("history.jsonl");
    let history = crate::history::History::begin(&file).expect("a history can be begun");
    history.add(begun());
    history.mark(Mark::Began);
    history.add(lost(5, code()));
    let lines = history.lines();
    assert_eq!(crate::history::read(&file).expect("it can be read"), lines);
    assert_eq!(lines.len(), 3);
}

#[test]
fn i4_a_form_is_taken_once_and_one_that_never_was_is_found() {
    let fields = || Fields { tx: "tx".into(), csrf: "csrf".into() };
    let refused = |ms| ask(ms, Act::LogIn(fields()), 400, Told::Error("a page".into()));
    breaks(vec![refused(100)], &["I4"]);
    breaks(vec![lost(50, Act::LogIn(fields())), refused(100)], &[]);
}

#[test]
fn what_a_lost_window_takes_is_told_from_what_it_does_not() {
    let redeemed =
        |name: &str, ms| ask(ms, Act::Redeem(name.into()), 200, tokens(&format!("{name}-{ms}")));
    let lines = vec![
        redeemed("before", 100),
        Line::Mark(at(1_000), Mark::Forgotten),
        redeemed("within", 1_500),
        Line::Mark(at(2_000), Mark::Returned),
        redeemed("before", 3_000),
        redeemed("within", 3_100),
    ];
    let record = Record::of(lines);
    let (lost, wrong) = record.split_lost(judge(&record));
    assert_eq!((lost.len(), wrong.len()), (1, 1), "{lost:?} {wrong:?}");
    assert!(wrong[0].what.contains("before"), "{wrong:?}");
}

#[test]
fn what_a_lost_window_has_issued_cannot_be_revoked_at_an_upstream_alone() {
    let a = || access("a", "sub-1");
    for (act, told, issued_at, is_excused) in [
        (Act::Upstream(a()), Told::Yes, 1_500, true),
        (Act::Upstream(a()), Told::Yes, 900, false),
        (Act::UserInfo(a()), me(), 1_500, false),
    ] {
        let record = Record::of(vec![
            Line::Mark(at(1_000), Mark::Forgotten),
            ask(issued_at, code(), 200, tokens("a")),
            Line::Mark(at(2_000), Mark::Returned),
            ask(2_100, Act::RevokeGrant("refresh-a".into()), 200, Told::Yes),
            ask(9_500, act, 200, told),
        ]);
        let (lost, wrong) = record.split_lost(i2(&record));
        assert_eq!((lost.len(), wrong.len()), (is_excused.into(), (!is_excused).into()));
    }
}

#[test]
fn i4_whoever_is_throttled_was_cut_off_ten_times() {
    let fields = |tx: u64| Fields { tx: tx.to_string(), csrf: "csrf".into() };
    let page = || Told::Error("a page".into());
    let cut_off = |many: u64, status| {
        let logins = (0..many).map(move |at| ask(100 * at, Act::LogIn(fields(at)), status, page()));
        logins.collect::<Vec<Line>>()
    };
    let throttled = |ms, act| vec![ask(ms, act, 429, page())];
    let login = || Act::LogIn(fields(99));
    breaks([cut_off(10, 503), throttled(1_500, login())].concat(), &[]);
    breaks([cut_off(9, 503), throttled(1_500, login())].concat(), &["I4"]);
    breaks([cut_off(10, 503), throttled(8_000, login())].concat(), &["I4"]);
    breaks([cut_off(10, 503), throttled(1_500, refresh("a"))].concat(), &["I4"]);
}
