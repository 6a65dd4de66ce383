//! Password hashes, made and checked in a pool that cannot starve the rest.

use std::sync::Arc;

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use shared::token_request::Password;
use tokio::sync::Semaphore;

use crate::clock;

/// Memory of one hash, KiB (OWASP's second recommendation: 19 MiB, two passes, one lane).
const MEMORY: u32 = 19_456;
/// Passes over it.
const PASSES: u32 = 2;
/// Hashes that may wait for their turn; more are refused at once.
const WAITING: usize = 64;

/// The pool. At most one hash per processor is computed at a time.
#[derive(Clone)]
pub struct PasswordPool {
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    /// The hash of a random password: checked when there is no user, so that both take the same.
    nobody: Arc<str>,
}

/// Too many hashes wait for their turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overloaded;

/// What a password turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PasswordVerdict {
    /// The user's.
    Right,
    /// Not the user's, or there is no user.
    Wrong,
}

impl PasswordPool {
    /// Makes a pool for this machine.
    #[must_use]
    pub fn new() -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            running: Arc::new(Semaphore::new(processors)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            nobody: hash(&clock::random::<16>()).into(),
        }
    }

    /// Checks a password against a hash in PHC string format; without one, takes the same time
    /// and says [`PasswordVerdict::Wrong`].
    ///
    /// # Errors
    /// [`Overloaded`].
    pub async fn verify(
        &self,
        password: Password,
        hash: Option<&str>,
    ) -> Result<PasswordVerdict, Overloaded> {
        let waiting = self.waiting.clone().try_acquire_owned().map_err(|_| Overloaded)?;
        let running = self.running.clone().acquire_owned().await.map_err(|_| Overloaded)?;
        let exists = hash.is_some();
        let hash = hash.map_or_else(|| self.nobody.clone(), Arc::from);
        let same = tokio::task::spawn_blocking(move || {
            let same = argon2().verify_password(password.as_bytes(), &*hash).is_ok();
            drop((running, waiting));
            same
        });
        let same = same.await.map_err(|_| Overloaded)?;
        Ok(if same && exists { PasswordVerdict::Right } else { PasswordVerdict::Wrong })
    }
}

impl Default for PasswordPool {
    fn default() -> Self {
        Self::new()
    }
}

/// Hashes a password: Argon2id with a random salt, PHC string format.
///
/// # Panics
/// Never: the parameters are constants.
#[must_use]
pub fn hash(password: &[u8]) -> String {
    argon2()
        .hash_password_with_salt(password, &clock::random::<16>())
        .expect("the parameters are constants that Argon2 accepts")
        .to_string()
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(MEMORY, PASSES, 1, None)
        .expect("the parameters are constants that Argon2 accepts");
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    #[tokio::test]
    async fn a_password_is_right_only_for_its_own_hash() {
        let pool = PasswordPool::new();
        let hash = hash("correct horse".as_bytes());
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let verify = |text, hash| pool.verify(password(text), hash);
        assert_eq!(verify("correct horse", Some(&*hash)).await, Ok(PasswordVerdict::Right));
        for wrong in ["correct hors", "correct horse ", " correct horse", "Correct horse"] {
            assert_eq!(verify(wrong, Some(&*hash)).await, Ok(PasswordVerdict::Wrong), "{wrong}");
        }
        assert_eq!(verify("correct horse", None).await, Ok(PasswordVerdict::Wrong));
        assert_eq!(verify("correct horse", Some("rubbish")).await, Ok(PasswordVerdict::Wrong));
    }

    #[tokio::test]
    async fn what_does_not_fit_into_the_pool_is_refused_at_once() {
        let pool = PasswordPool::new();
        let all = pool.waiting.clone().acquire_many_owned(u32::try_from(WAITING).unwrap()).await;
        assert_eq!(pool.verify(password("x"), None).await, Err(Overloaded));
        drop(all);
        assert_eq!(pool.verify(password("x"), None).await, Ok(PasswordVerdict::Wrong));
    }
}
