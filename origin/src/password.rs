//! Password hashes, made and checked in a pool that cannot starve the rest.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::Output;
use argon2::{Algorithm, Argon2, Block, Params, PasswordHash, Version};
use shared::token_request::Password;
use tokio::sync::{Semaphore, oneshot};

use crate::clock;

/// Memory of one hash, KiB (OWASP's second recommendation: 19 MiB, two passes, one lane).
const MEMORY: u32 = 19_456;
/// Passes over it.
const PASSES: u32 = 2;
/// Hashes that may be there at a time, computed or waiting; more are refused at once.
const WAITING: usize = 64;
/// Nor does one wait that would come to its turn later than this, going by how long hashes take of
/// late: half of [`TURN_IN`], because the machine may have more to do by then.
const EXPECTED_IN: Duration = Duration::from_millis(500);
/// Behind so few for each processor one waits, whatever is expected: where hashes are slow because
/// the machine does other things, too, a handful of logins is no crowd.
const FEW: usize = 4;
/// How long one waits for its turn when that was wrong: less than a request may take, so that
/// whoever is refused hears so, and the attempt is not counted.
const TURN_IN: Duration = Duration::from_secs(1);
/// Memory that is asked for at once, KiB, though a hash touches [`MEMORY`] of it: glibc gives what
/// is larger than 32 MiB back to the system when it is freed, and keeps what is smaller, once for
/// each thread that ever computed a hash.
const ASKED_FOR: usize = 33 << 10;

/// The pool. At most one hash per processor is computed at a time; whoever would wait long for a
/// turn is refused at once, and not after having waited.
#[derive(Clone)]
pub struct PasswordPool {
    processors: usize,
    running: Arc<Semaphore>,
    waiting: Arc<Semaphore>,
    pace: Arc<Pace>,
    threads: Threads,
    memory: Arc<Memory>,
    /// The hash of a random password: checked when there is no user, so that both take the same.
    nobody: Arc<str>,
}

/// Too many hashes wait for their turn, or one did for too long.
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
        let began = Instant::now();
        let nobody = hash(&clock::random::<16>()).into();
        Self {
            processors,
            running: Arc::new(Semaphore::new(processors)),
            waiting: Arc::new(Semaphore::new(WAITING)),
            pace: Arc::new(Pace::new(began.elapsed())),
            threads: Threads::start(processors),
            memory: Arc::default(),
            nobody,
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
        let ahead = WAITING - 1 - self.waiting.available_permits();
        let is_crowded = ahead >= FEW * self.processors;
        if is_crowded && self.pace.turn_in(ahead, self.processors) > EXPECTED_IN {
            return Err(Overloaded);
        }
        let turn = tokio::time::timeout(TURN_IN, self.running.clone().acquire_owned()).await;
        let running = turn.map_err(|_| Overloaded)?.map_err(|_| Overloaded)?;
        let exists = hash.is_some();
        let hash = hash.map_or_else(|| self.nobody.clone(), Arc::from);
        let (memory, all) = (self.memory.clone(), self.waiting.clone());
        let (pace, began) = (self.pace.clone(), Instant::now());
        let (told, same) = oneshot::channel();
        self.threads.run(move || {
            let mut blocks = memory.take();
            let same = is_hash_of(&hash, password.as_bytes(), &mut blocks).unwrap_or(false);
            memory.put(blocks);
            pace.saw(began.elapsed());
            drop((running, waiting));
            if all.available_permits() == WAITING {
                memory.clear();
            }
            // Whoever asked may have gone.
            let _ = told.send(same);
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

/// Threads of the pool's own. Where threads can be nice one by one, on Linux, they stand back: an
/// answer that needs no hash has the processor before them, and they what it leaves.
#[derive(Clone)]
struct Threads(mpsc::Sender<Job>);

type Job = Box<dyn FnOnce() + Send>;

/// How nice they are: a third of the weight of whoever else wants the processor.
const NICE: i32 = 5;

impl Threads {
    fn start(count: usize) -> Self {
        let (jobs, queue) = mpsc::channel::<Job>();
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count {
            let queue = queue.clone();
            std::thread::spawn(move || {
                if cfg!(target_os = "linux") {
                    // One that may not be nice works all the same.
                    let _ = rustix::process::nice(NICE);
                }
                // Ends with the pool.
                while let Ok(job) = next(&queue) {
                    // Whoever waits for it sees that nothing was told.
                    let _ = catch_unwind(AssertUnwindSafe(job));
                }
            });
        }
        Self(jobs)
    }

    fn run(&self, job: impl FnOnce() + Send + 'static) {
        // The threads live as long as this does.
        let _ = self.0.send(Box::new(job));
    }
}

fn next(queue: &Mutex<mpsc::Receiver<Job>>) -> Result<Job, mpsc::RecvError> {
    queue.lock().unwrap_or_else(PoisonError::into_inner).recv()
}

/// How long a hash takes of late, with everything else that the machine does: microseconds. Each one
/// moves it an eighth of the way.
struct Pace(AtomicU64);

impl Pace {
    fn new(took: Duration) -> Self {
        Self(AtomicU64::new(micros(took)))
    }

    fn saw(&self, took: Duration) {
        // One that is lost between two threads makes no difference.
        let (pace, took) = (self.0.load(Ordering::Relaxed), micros(took));
        self.0.store(pace - pace / 8 + took / 8, Ordering::Relaxed);
    }

    /// When the turn of a hash comes that has so many before it: at once while a processor is free.
    fn turn_in(&self, ahead: usize, processors: usize) -> Duration {
        let rounds = u64::try_from(ahead / processors).unwrap_or(u64::MAX);
        Duration::from_micros(self.0.load(Ordering::Relaxed).saturating_mul(rounds))
    }
}

fn micros(took: Duration) -> u64 {
    // Longer ones are no different from this one: an hour.
    u64::try_from(took.as_micros()).unwrap_or(u64::MAX).min(3_600_000_000)
}

/// Memory of hashes that were computed, kept while others are under way: at most one for each that
/// may be computed at a time, and none in quiet times.
#[derive(Default)]
struct Memory(Mutex<Vec<Vec<Block>>>);

impl Memory {
    fn take(&self) -> Vec<Block> {
        self.blocks().pop().unwrap_or_else(|| Vec::with_capacity(ASKED_FOR))
    }

    fn put(&self, blocks: Vec<Block>) {
        self.blocks().push(blocks);
    }

    fn clear(&self) {
        self.blocks().clear();
    }

    fn blocks(&self) -> std::sync::MutexGuard<'_, Vec<Vec<Block>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells whether a hash in PHC string format is that of a password; `None` for one that is none of
/// Argon2's. Algorithm, version and costs are those that the hash names. What was in `blocks`
/// before has no part in it: Argon2 writes each block before it reads it.
fn is_hash_of(hash: &str, password: &[u8], blocks: &mut Vec<Block>) -> Option<bool> {
    let hash = PasswordHash::new(hash).ok()?;
    let algorithm = Algorithm::try_from(hash.algorithm.as_str()).ok()?;
    let version = hash.version.map_or(Ok(Version::default()), Version::try_from).ok()?;
    let params = Params::try_from(&hash).ok()?;
    blocks.resize(params.block_count(), Block::default());
    let (salt, expected) = (hash.salt?, hash.hash?);
    let mut output = [0; Output::MAX_LENGTH];
    let output = output.get_mut(..expected.len())?;
    let argon2 = Argon2::new(algorithm, version, params);
    argon2.hash_password_into_with_memory(password, &salt, output, blocks.as_mut_slice()).ok()?;
    // In constant time.
    Some(Output::new(output).ok()? == expected)
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

    #[test]
    fn a_hash_names_its_costs_and_what_was_in_memory_before_has_no_part_in_it() {
        let mut blocks = vec![Block::default(); 3];
        for (memory, passes) in [(64, 1), (32, 3), (MEMORY, PASSES)] {
            let params = Params::new(memory, passes, 1, None).unwrap();
            let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
            let hash = argon2.hash_password_with_salt(b"correct horse", &[7; 16]).unwrap();
            let mut is_hash_of = |password| is_hash_of(&hash.to_string(), password, &mut blocks);
            assert_eq!(is_hash_of(b"correct horse"), Some(true), "{memory} {passes}");
            assert_eq!(is_hash_of(b"Correct horse"), Some(false), "{memory} {passes}");
            assert_eq!(is_hash_of(b"correct horse"), Some(true), "{memory} {passes}");
        }
        for none in ["rubbish", "$argon2id$v=19$m=64,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw", "$x$v=1$a$b"]
        {
            assert_eq!(is_hash_of(none, b"correct horse", &mut blocks), None, "{none}");
        }
    }

    #[tokio::test]
    async fn memory_is_kept_only_while_somebody_waits_for_it() {
        let pool = PasswordPool::new();
        let waits = pool.waiting.clone().acquire_owned().await;
        let verified = pool.verify(password("x"), None).await;
        assert_eq!(verified, Ok(PasswordVerdict::Wrong));
        assert_eq!(pool.memory.blocks().len(), 1);
        drop(waits);
        assert_eq!(pool.verify(password("x"), None).await, verified);
        assert!(pool.memory.blocks().is_empty());
    }

    #[tokio::test]
    async fn whoever_waits_too_long_for_a_turn_is_refused() {
        let pool = PasswordPool::new();
        let permits = u32::try_from(pool.running.available_permits()).unwrap();
        let all = pool.running.clone().acquire_many_owned(permits).await;
        assert_eq!(pool.verify(password("x"), None).await, Err(Overloaded));
        drop(all);
        assert_eq!(pool.verify(password("x"), None).await, Ok(PasswordVerdict::Wrong));
    }

    #[tokio::test]
    async fn a_hash_that_panics_ends_no_thread() {
        let pool = PasswordPool::new();
        for _ in 0..2 * pool.processors {
            pool.threads.run(|| panic!("this one is meant"));
        }
        assert_eq!(pool.verify(password("x"), None).await, Ok(PasswordVerdict::Wrong));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_computes_hashes_stands_back_and_nobody_else_does() {
        let nice = || rustix::process::nice(0).unwrap();
        let before = nice();
        let (told, hashing) = oneshot::channel();
        PasswordPool::new().threads.run(move || told.send(nice()).unwrap());
        assert_eq!(hashing.await, Ok((before + NICE).min(19)));
        assert_eq!(nice(), before);
    }

    #[test]
    fn a_pace_follows_what_hashes_take() {
        let ms = Duration::from_millis;
        let pace = Pace::new(ms(20));
        assert_eq!(pace.turn_in(0, 2), Duration::ZERO);
        assert_eq!(pace.turn_in(1, 2), Duration::ZERO);
        assert_eq!(pace.turn_in(2, 2), ms(20));
        assert_eq!(pace.turn_in(51, 2), ms(500));
        pace.saw(ms(100));
        assert_eq!(pace.turn_in(2, 2), ms(30));
        (0..100).for_each(|_| pace.saw(ms(100)));
        assert!(pace.turn_in(2, 2).abs_diff(ms(100)) < ms(1), "{:?}", pace.turn_in(2, 2));
        pace.saw(Duration::MAX);
        assert!(pace.turn_in(WAITING, 1) > EXPECTED_IN);
        (0..400).for_each(|_| pace.saw(ms(20)));
        assert!(pace.turn_in(2, 2).abs_diff(ms(20)) < ms(1), "{:?}", pace.turn_in(2, 2));
    }

    #[tokio::test]
    async fn whoever_would_wait_too_long_is_refused_at_once() {
        let pool = PasswordPool::new();
        let slow = micros(Duration::from_mins(1));
        pool.pace.0.store(slow, Ordering::Relaxed);
        let few = u32::try_from(FEW * pool.processors).unwrap();
        let before = pool.waiting.clone().acquire_many_owned(few).await;
        let began = Instant::now();
        assert_eq!(pool.verify(password("x"), None).await, Err(Overloaded));
        assert!(began.elapsed() < TURN_IN);
        drop(before);
        // A slow pace shuts nobody out behind a few, so one that is wrong is soon mended.
        let before = pool.waiting.clone().acquire_many_owned(few - 1).await;
        assert_eq!(pool.verify(password("x"), None).await, Ok(PasswordVerdict::Wrong));
        assert!(pool.pace.0.load(Ordering::Relaxed) < slow);
        drop(before);
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
