//! Replies are lost, requests come twice, or much later.

use std::time::Duration;

use super::{Fault, Plan};
use crate::client::read_answer;
use crate::gate::{Copied, Gate, Rule, Trick};
use crate::history::{Act, Answer, By, Event, Line};
use crate::run::Stage;

/// Gates on both sides of the edge.
const GATES: Plan = Plan { front_gate: true, middle_gate: true, ..Plan::PLAIN };

pub(super) const FAULTS: &[Fault] = &[
    Fault { plan: GATES, ..Fault::new("F27", "replies of /oauth2/token are lost", swallowed) },
    Fault {
        plan: Plan { backing: stack::Backing::Embedded, ..GATES },
        ..Fault::new("F27-embedded", "the same on the embedded store", swallowed)
    },
    Fault { plan: GATES, ..Fault::new("F28", "requests come twice", doubled) },
    Fault { plan: GATES, ..Fault::new("F29", "refreshes come again, late", again) },
];

fn on_tokens(one_in: u64, contains: &'static str, trick: Trick) -> Vec<Rule> {
    vec![Rule { path: "/oauth2/token", contains, one_in, trick }]
}

fn swallowed(stage: &mut Stage<'_>) {
    stage.loses_answers();
    for is_front in [true, false] {
        stage.begins();
        gate(stage, is_front).play(on_tokens(3, "", Trick::SwallowReply));
        stage.lasts(0.5);
        gate(stage, is_front).play(Vec::new());
        stage.returned();
        stage.settles();
    }
}

/// What comes twice at the edge may be a client's own repetition, and nobody can tell. What comes
/// twice at the origin carries the edge's signature of one request, and is let in once.
fn doubled(stage: &mut Stage<'_>) {
    stage.loses_answers();
    for is_front in [true, false] {
        stage.begins();
        gate(stage, is_front).play(on_tokens(2, "", Trick::AgainAfter(Duration::ZERO)));
        stage.lasts(0.5);
        gate(stage, is_front).play(Vec::new());
        stage.returned();
        stage.settles();
        let copies = gate(stage, is_front).copies();
        stage.holds(!copies.is_empty(), "I3", "nothing came twice");
        let is_turned_away = |copy: &Copied| copy.answer.as_ref().is_some_and(|it| it.0 == 403);
        let (away, let_in): (Vec<_>, Vec<_>) =
            copies.into_iter().partition(|copy| !is_front && is_turned_away(copy));
        stage.holds(is_front || !away.is_empty(), "I3", "no copy was turned away");
        write_down(stage, let_in, By::Client(u32::MAX));
    }
}

/// An old refresh token that comes again is refused, or, within the grace, given the same
/// successor as before; when that was used already, the grant ends: nobody can tell it from a thief.
fn again(stage: &mut Stage<'_>) {
    let is_long = stage.profile.is_long();
    let pauses: &[u64] = if is_long { &[2, 20] } else { &[1] };
    for seconds in pauses {
        let pause = Duration::from_secs(*seconds);
        stage.begins();
        let late = on_tokens(10, "grant_type=refresh_token", Trick::AgainAfter(pause));
        gate(stage, true).play(late);
        stage.lasts(0.25);
        gate(stage, true).play(Vec::new());
        let copies = gate(stage, true).copies();
        stage.returned();
        stage.holds(!copies.is_empty(), "I3", "nothing came again");
        let refused = copies.iter().filter(|it| it.answer.as_ref().is_some_and(|it| it.0 == 400));
        stage.note(format!(
            "of {} that came {seconds} s late, {} were refused",
            copies.len(),
            refused.count()
        ));
        write_down(stage, copies, By::Copy);
    }
}

fn gate<'s>(stage: &'s Stage<'_>, is_front: bool) -> &'s Gate {
    if is_front { stage.system.front.gate() } else { stage.system.middle.gate() }
}

/// Puts what the network has sent by itself into the history.
fn write_down(stage: &Stage<'_>, copies: Vec<Copied>, by: By) {
    for copy in copies {
        let field = |name: &str| {
            let pairs = copy.form.split('&').filter_map(|pair| pair.split_once('='));
            pairs.clone().find(|(known, _)| *known == name).map(|(_, value)| stack::decode(value))
        };
        let act = match (field("code"), field("refresh_token")) {
            (Some(code), _) => Act::Redeem(code),
            (None, Some(token)) => Act::Refresh(token),
            (None, None) => continue,
        };
        let answer = match copy.answer {
            Some((status, body)) => {
                Answer::Came { status, told: read_answer(&act, status, &body), broke: None }
            }
            None => Answer::Lost("reset".to_owned()),
        };
        let user = stage.user_of(&act);
        let (began, ended) = (stage.history.time_of(copy.began), stage.history.time_of(copy.ended));
        stage.history.add(Line::Event(Event { by, user, began, ended, act, answer }));
    }
}
