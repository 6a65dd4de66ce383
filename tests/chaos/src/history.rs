//! What clients asked and were answered, and what happened meanwhile: a log that only grows.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum By {
    /// A client, by its number.
    Client(u32),
    /// The network: a copy of a client's request.
    Copy,
    /// The last look at every token, when all is over.
    Probe,
}

/// The hidden fields of a form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fields {
    /// Names the sign-in.
    pub tx: String,
    /// Proves that the form is the server's.
    pub csrf: String,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Act {
    /// An authorization request of a browser that nobody is signed in at.
    Begin,
    /// A login form.
    LogIn(Fields),
    /// A consent form.
    Consent(Fields),
    /// An authorization request of a browser that somebody is signed in at.
    Authorize,
    /// The exchange of a code.
    Redeem(String),
    /// A refresh, with this token.
    Refresh(String),
    /// Userinfo, with this access token.
    UserInfo(String),
    /// A request to an API behind the gateway, with this access token.
    Upstream(String),
    /// The introspection of an access token.
    Introspect(String),
    /// The revocation of a refresh token, and so of its whole grant.
    RevokeGrant(String),
    /// The revocation of one access token.
    RevokeAccess(String),
}

impl Act {
    /// Names the kind of request.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Begin | Self::LogIn(_) | Self::Consent(_) => "login",
            Self::Authorize => "authorize",
            Self::Redeem(_) => "code",
            Self::Refresh(_) => "refresh",
            Self::UserInfo(_) => "userinfo",
            Self::Upstream(_) => "upstream",
            Self::Introspect(_) => "introspect",
            Self::RevokeGrant(_) | Self::RevokeAccess(_) => "revoke",
        }
    }
}

/// What an answer told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Told {
    /// Yes: revoked, let in.
    Yes,
    /// A page that asks for a login.
    LoginPage(Fields),
    /// A page that asks for a consent.
    ConsentPage(Fields),
    /// A code.
    Code(String),
    /// Tokens.
    Tokens {
        /// The access token.
        access: String,
        /// The refresh token.
        refresh: String,
    },
    /// Whose access token it is.
    Subject(String),
    /// Of an introspection: whose token it is, if it is active.
    Active(Option<String>),
    /// A redirect back to the client that says `temporarily_unavailable`.
    Unavailable,
    /// An OAuth error.
    Error(String),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Answer {
    /// With an answer.
    Came {
        /// Its status.
        status: u16,
        /// What it told.
        told: Told,
        /// The standing assertion that it broke.
        broke: Option<String>,
    },
    /// With none: `timeout`, `connect`, `reset`.
    Lost(String),
}

/// One request, from its first byte to its answer's last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Who asked.
    pub by: By,
    /// For which user.
    pub user: u32,
    /// When the request was begun, since the run began.
    pub began: Duration,
    /// When the answer was there, or was given up.
    pub ended: Duration,
    /// What was asked.
    pub act: Act,
    /// What came.
    pub answer: Answer,
}

impl Event {
    /// Tells whether nobody knows what the server has done: no answer, or one that says so.
    #[must_use]
    pub const fn is_unknown(&self) -> bool {
        match &self.answer {
            Answer::Lost(_) => true,
            Answer::Came { status, told, .. } => {
                *status >= 500 || matches!(told, Told::Unavailable)
            }
        }
    }

    /// Returns what was told.
    #[must_use]
    pub const fn told(&self) -> Option<&Told> {
        match &self.answer {
            Answer::Came { told, .. } => Some(told),
            Answer::Lost(_) => None,
        }
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match &self.answer {
            Answer::Came { status, .. } => Some(*status),
            Answer::Lost(_) => None,
        }
    }

    /// Names the kind of failure, if it is one: what a client would have to try again.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        match &self.answer {
            Answer::Lost(how) => Some(how.clone()),
            Answer::Came { status, .. } if *status >= 500 || *status == 429 => {
                Some(status.to_string())
            }
            Answer::Came { .. } if self.is_unknown() => Some("redirect".to_owned()),
            Answer::Came { .. } => None,
        }
    }
}

/// What happened to the system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mark {
    /// The load has warmed up: from here on it is what the rest is compared with.
    Baseline,
    /// A fault begins.
    Began,
    /// What had failed is back.
    Returned,
    /// The store is away for everybody, from here on until it may be back.
    StoreLost,
    /// The store may be back from here on, though nobody has seen it yet.
    StoreMayBeBack,
    /// The store has forgotten what it knew, or some of it.
    Forgotten,
    /// Answers of the origin get lost before the edge has them: its 503 may hide a success.
    AnswersLost,
    /// Clocks are wrong, from here on until what had failed is back.
    ClocksWrong,
    /// The whole machine has stood still, since this moment.
    StoodStill(Duration),
    /// The load ends.
    Ended,
}

/// What the health checks said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// When they were asked.
    pub at: Duration,
    /// When they had answered.
    pub until: Duration,
    /// Whether the origin is ready; `None` when it did not answer.
    pub ready: Option<bool>,
    /// Whether the origin lives.
    pub live: Option<bool>,
}

/// One line of the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Line {
    /// A request.
    Event(Event),
    /// Something that happened.
    Mark(Duration, Mark),
    /// A health check.
    Health(Health),
}

/// A history that is being written.
#[derive(Debug)]
pub struct History {
    began: Instant,
    lines: Mutex<(Vec<Line>, BufWriter<File>)>,
}

impl History {
    /// Begins a history, in memory and in a file of JSON lines.
    ///
    /// # Errors
    /// The file system's.
    pub fn begin(file: &Path) -> io::Result<Self> {
        let lines = Mutex::new((Vec::new(), BufWriter::new(File::create(file)?)));
        Ok(Self { began: Instant::now(), lines })
    }

    /// Returns the time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Returns a moment's time since the beginning.
    #[must_use]
    pub fn time_of(&self, moment: Instant) -> Duration {
        moment.saturating_duration_since(self.began)
    }

    /// Writes a line.
    pub fn add(&self, line: Line) {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let (memory, file) = &mut *lines;
        if let Ok(text) = serde_json::to_string(&line) {
            let _ = writeln!(file, "{text}");
        }
        memory.push(line);
    }

    /// Writes down that something happens now.
    pub fn mark(&self, mark: Mark) {
        self.mark_at(self.now(), mark);
    }

    /// Writes down that something has happened at a moment.
    pub fn mark_at(&self, at: Duration, mark: Mark) {
        self.add(Line::Mark(at, mark));
    }

    /// Returns what was written so far.
    #[must_use]
    pub fn lines(&self) -> Vec<Line> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = lines.1.flush();
        lines.0.clone()
    }

    /// Looks at the lines that were added behind `from`; returns where the next look begins.
    pub fn look_from(&self, from: usize, mut look: impl FnMut(&Line)) -> usize {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.0.iter().skip(from).for_each(&mut look);
        lines.0.len()
    }
}

/// Reads a history from its file.
///
/// # Errors
/// The file system's, and those of JSON.
pub fn read(file: &Path) -> io::Result<Vec<Line>> {
    let lines = BufReader::new(File::open(file)?).lines();
    lines.map(|line| serde_json::from_str(&line?).map_err(io::Error::other)).collect()
}
