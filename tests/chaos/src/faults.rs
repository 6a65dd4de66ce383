//! The faults: what is done to a system under load.

mod clock;
mod edge;
mod failover;
mod network;
mod origin;
mod redis;
mod requests;
mod resources;

use crate::run::Stage;
use crate::system::Plan;

/// A fault.
#[derive(Clone, Copy)]
pub struct Fault {
    /// Its id, `F1` to `F30`.
    pub id: &'static str,
    /// What it is.
    pub name: &'static str,
    /// On what it acts.
    pub plan: Plan,
    /// What it does: says when it begins and when all that had failed is back.
    pub act: fn(&mut Stage<'_>),
    /// Whether no request may fail.
    pub fails_nobody: bool,
    /// Whether the store may lose its last writes: what was promised by them is counted, and is no
    /// violation.
    pub may_lose: bool,
}

impl Fault {
    /// A fault on the plain system, under which requests may fail.
    const fn new(id: &'static str, name: &'static str, act: fn(&mut Stage<'_>)) -> Self {
        Self { id, name, plan: Plan::PLAIN, act, fails_nobody: false, may_lose: false }
    }
}

/// What all others are compared with.
const CONTROL: Fault =
    Fault { fails_nobody: true, ..Fault::new("F0", "nothing, for comparison", nothing) };

fn nothing(stage: &mut Stage<'_>) {
    stage.begins();
    stage.lasts(1.0);
    stage.returned();
}

/// Returns all faults, in the order of their ids.
#[must_use]
pub fn all() -> Vec<Fault> {
    let groups = [
        &[CONTROL],
        redis::FAULTS,
        network::FAULTS,
        failover::FAULTS,
        origin::FAULTS,
        clock::FAULTS,
        resources::FAULTS,
        edge::FAULTS,
        requests::FAULTS,
    ];
    let mut faults: Vec<Fault> = groups.into_iter().flatten().copied().collect();
    faults.sort_by_key(|fault| number(fault.id));
    faults
}

/// Finds a fault.
#[must_use]
pub fn find(id: &str) -> Option<Fault> {
    all().into_iter().find(|fault| fault.id == id)
}

/// Returns the number of an id.
fn number(id: &str) -> u32 {
    let digits: String = id.chars().skip(1).take_while(char::is_ascii_digit).collect();
    digits.parse().unwrap_or_default()
}
