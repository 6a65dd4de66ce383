//! The lines between the parts are slow, narrow, silent, or lead elsewhere.

use std::time::{Duration, Instant};

use super::Fault;
use crate::client::call;
use crate::history::{Act, Told};
use crate::proxy::Weather;
use crate::run::Stage;
use crate::system::{local, redis_options};
use crate::wire::Door;

pub(super) const FAULTS: &[Fault] = &[
    Fault::new("F3", "Redis answers 50, 200 and 1,000 ms late", late),
    Fault::new("F4", "Redis over 10 KB/s, half-open, and reset in mid-reply", poor_line),
    Fault::new("F13", "edge and origin apart: loss, slow, reset, silent", partition),
    Fault::new("F24", "Redis and the origin move", moved),
];

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn late(stage: &mut Stage<'_>) {
    let routes = ["/oauth2/token", "/oauth2/userinfo", "/oauth2/introspect", "/oauth2/revoke"];
    let reached = |stage: &mut Stage<'_>| {
        stage.system.origin().requests_where(|route| routes.contains(&route))
    };
    for (latency, jitter) in [(50, 20), (200, 100), (1_000, 300)] {
        stage.begins();
        let before = reached(stage);
        let latency = Weather { latency: ms(latency), jitter: ms(jitter), ..Weather::default() };
        stage.system.store_line().set(latency);
        stage.lasts(0.33);
        stage.system.store_line().clear();
        stage.returned();
        let (began, _) = stage.last_window();
        let reached = reached(stage) - before;
        let asked = stage.asked(began, stage.history.now(), |act| {
            matches!(
                act,
                Act::Redeem(_)
                    | Act::Refresh(_)
                    | Act::UserInfo(_)
                    | Act::Introspect(_)
                    | Act::RevokeGrant(_)
                    | Act::RevokeAccess(_)
            )
        });
        // Those that were under way when it began are counted on one side only.
        let bound = asked + asked / 5 + u64::from(stage.profile.clients);
        let what = format!("{asked} requests became {reached} at the origin");
        stage.holds(reached <= bound, "I6", what);
        stage.settles();
    }
}

fn poor_line(stage: &mut Stage<'_>) {
    stage.begins();
    let narrow = Weather { bytes_per_second: Some(10_000), ..Weather::default() };
    stage.system.store_line().set(narrow);
    stage.lasts(0.3);
    stage.system.store_line().clear();
    stage.returned();
    stage.settles();

    stage.begins();
    stage.system.store_line().strand();
    stage.lasts(0.2);
    stage.returned();
    stage.settles();

    stage.begins();
    let cut = Weather { cuts_replies_after: Some(3_000), ..Weather::default() };
    stage.system.store_line().set(cut);
    stage.lasts(0.3);
    stage.system.store_line().clear();
    stage.returned();
}

fn partition(stage: &mut Stage<'_>) {
    let parts = [
        Weather { loses_one_in: Some(100), ..Weather::default() },
        Weather { latency: ms(1_500), jitter: ms(1_000), ..Weather::default() },
        Weather { resets: true, ..Weather::default() },
        Weather { is_silent: true, ..Weather::default() },
    ];
    stage.loses_answers();
    for weather in parts {
        let (share, is_apart) =
            if weather.is_silent { (0.55, true) } else { (0.15, weather.resets) };
        stage.begins();
        stage.system.middle.line().set(weather);
        let began = Instant::now();
        stage.lasts(share);
        if is_apart {
            still_refused(stage);
        }
        if began.elapsed() > Duration::from_secs(18) {
            upstream_is_closed(stage);
        }
        stage.system.middle.line().clear();
        stage.returned();
        stage.settles();
    }
}

/// What is wrong whatever the origin says is still refused as such.
fn still_refused(stage: &mut Stage<'_>) {
    let door = Door::new(&stage.system.issuer);
    for act in [Act::Refresh("made-up".into()), Act::UserInfo("a.b.c".into())] {
        let answer = stage.runtime.block_on(call(&door, &act));
        let status = answer.as_ref().map_or(0, |(_, status, _)| *status);
        let is_refused = matches!((&act, status), (Act::Refresh(_), 400) | (Act::UserInfo(_), 401));
        stage.holds(is_refused, "I4", format!("{act:?} without the origin: {answer:?}"));
    }
}

/// What the edge lets in by itself stops within its bound.
fn upstream_is_closed(stage: &mut Stage<'_>) {
    let door = Door::new(&stage.system.issuer);
    let Some(token) = stage.newest_access_token() else { return };
    let answer = stage.runtime.block_on(call(&door, &Act::Upstream(token)));
    let is_open = matches!(answer, Ok((Told::Yes, ..)));
    stage.holds(!is_open, "I2", "an upstream is open though nobody has known for 18 s");
}

/// What stands behind an address changes, as behind a name of a balancer: every connection breaks,
/// and the next one leads elsewhere.
fn moved(stage: &mut Stage<'_>) {
    stage.begins();
    let port = stack::free_port();
    let options = redis_options(port, stage.profile.appendfsync);
    stage.system.redis().restart_with(options);
    stage.system.store_line().lead_to(local(port));
    stage.returned();
    stage.settles();
    stage.lasts(0.3);

    stage.begins();
    stage.loses_answers();
    let port = stack::free_port();
    stage.system.origin().move_to(port);
    stage.system.origin().restart();
    stage.system.middle.line().lead_to(local(port));
    stage.returned();
}
