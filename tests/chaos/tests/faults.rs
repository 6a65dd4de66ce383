//! The short profile: a few seconds for each fault, under the judgment of the whole checker.

use chaos::faults;
use chaos::run::{Profile, run};
use chaos::table::{report, table};

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident: $id:literal;)+) => {$(
        $(#[$doc])*
        #[test]
        fn $name() {
            hold($id);
        }
    )+

    /// The faults of this file.
    const TRIED: &[&str] = &[$($id),+];
    };
}

/// Runs a fault, after which all invariants must have held.
fn hold(id: &str) {
    let fault = faults::find(id).expect("there is such a fault");
    let outcome = run(&fault, Profile::short());
    println!("{}", table(std::slice::from_ref(&outcome)));
    assert!(outcome.violations.is_empty(), "{id}\n{}", report(&outcome));
}

faults! {
    /// The load alone.
    nothing_happens: "F0";
    /// F1.
    redis_is_killed_and_comes_back: "F1";
    /// F2.
    redis_stops_for_a_while: "F2";
    /// F3.
    redis_answers_late: "F3";
    /// F4.
    the_line_to_redis_is_narrow_half_open_and_reset: "F4";
    /// F5.
    redis_comes_back_empty: "F5";
    /// F6.
    redis_is_full: "F6";
    /// F7.
    redis_evicts: "F7";
    /// F8.
    redis_is_read_only: "F8";
    /// F9.
    redis_loads: "F9";
    /// F10.
    the_file_of_redis_is_torn: "F10";
    /// F11.
    redis_fails_over_and_loses_writes: "F11";
    /// F11.
    redis_fails_over_and_loses_nothing_that_waited: "F11-wait";
    /// F12.
    redis_lets_the_origin_in_no_more: "F12";
    /// F13.
    edge_and_origin_are_apart: "F13";
    /// F14.
    the_origin_is_killed: "F14";
    /// F14.
    the_origin_is_killed_on_the_embedded_store: "F14-embedded";
    /// F15.
    two_origins_are_replaced_in_turn: "F15";
    /// F16.
    the_origin_stops: "F16";
    /// F17.
    the_origins_clock_steps: "F17";
    /// F17.
    the_clock_of_the_edge_steps: "F17-edge";
    /// F17.
    the_clock_of_redis_steps: "F17-redis";
    /// F21.
    slow_clients_hold_up_nobody: "F21";
    /// F22.
    there_are_too_many_logins_and_calls: "F22";
    /// F23.
    the_origin_has_no_file_descriptors_left: "F23";
    /// F24.
    redis_and_the_origin_move: "F24";
    /// F25.
    the_key_set_is_away_while_keys_change: "F25";
    /// F27.
    replies_are_lost: "F27";
    /// F27.
    replies_are_lost_on_the_embedded_store: "F27-embedded";
    /// F28.
    requests_come_twice: "F28";
    /// F29.
    refreshes_come_again_late: "F29";
    /// F30.
    the_edge_starts_anew: "F30";
}

/// No fault of the list is left out of the short profile.
#[test]
fn every_fault_is_tried() {
    let tried: Vec<&str> = TRIED.to_vec();
    let listed: Vec<&str> = faults::all().iter().map(|fault| fault.id).collect();
    assert_eq!(tried, listed);
}
