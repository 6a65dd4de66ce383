//! Faults under load.
//!
//! Real processes with proxies between them, clients that are state machines and write down every
//! request and answer, faults, and a checker that judges the history afterwards.

pub mod checker;
pub mod client;
pub mod faults;
pub mod gate;
pub mod history;
pub mod probe;
pub mod proxy;
pub mod random;
pub mod resources;
pub mod run;
pub mod system;
pub mod table;
pub mod wire;
