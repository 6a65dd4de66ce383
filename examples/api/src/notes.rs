//! The notes: in memory, each user's own.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// Notes that one user can have.
const NOTES: usize = 100;

/// A note.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Note {
    /// Its number, never used again.
    pub(crate) id: u64,
    /// What it says.
    pub(crate) text: String,
}

/// A user has as many notes as there can be.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TooMany;

/// The notes of all users.
#[derive(Debug, Default)]
pub(crate) struct Notes(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: u64,
    by_user: HashMap<String, Vec<Note>>,
}

impl Notes {
    /// Returns a user's notes, the oldest first.
    pub(crate) fn of(&self, user: &str) -> Vec<Note> {
        self.state().by_user.get(user).cloned().unwrap_or_default()
    }

    /// Adds a note.
    ///
    /// # Errors
    /// [`TooMany`].
    pub(crate) fn add(&self, user: &str, text: String) -> Result<Note, TooMany> {
        let mut state = self.state();
        if state.by_user.get(user).is_some_and(|notes| notes.len() >= NOTES) {
            return Err(TooMany);
        }
        state.last += 1;
        let note = Note { id: state.last, text };
        state.by_user.entry(user.to_owned()).or_default().push(note.clone());
        Ok(note)
    }

    /// Removes a note, if it is the user's.
    pub(crate) fn remove(&self, user: &str, id: u64) -> Option<Note> {
        let mut state = self.state();
        let notes = state.by_user.get_mut(user)?;
        let at = notes.iter().position(|note| note.id == id)?;
        Some(notes.remove(at))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No line above leaves a state half written.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_their_users_alone() {
        let notes = Notes::default();
        let milk = notes.add("alice", "milk".into()).unwrap();
        let bread = notes.add("alice", "bread".into()).unwrap();
        assert_eq!(notes.of("bob"), []);
        assert_eq!(notes.remove("bob", milk.id), None);
        assert_eq!(notes.remove("alice", milk.id), Some(milk));
        assert_eq!(notes.of("alice"), [bread]);
    }

    #[test]
    fn there_is_a_largest_number_of_notes() {
        let notes = Notes::default();
        for _ in 0..NOTES {
            notes.add("alice", String::new()).unwrap();
        }
        assert_eq!(notes.add("alice", String::new()), Err(TooMany));
        notes.add("bob", String::new()).unwrap();
    }
}
