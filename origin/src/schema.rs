//! Versions of a database's schema: which one it has, and which one this program wants.
//!
//! A version is the number of a file in `migrations/`. Nothing here speaks to a database.

use std::fmt;

use sqlx::migrate::Migrator;

/// The schema of one database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The version that it has; 0 before there is one.
    pub version: i64,
    /// The version that this program brings it to.
    pub newest: i64,
    /// What is to be done, in order: versions and what each brings.
    pub pending: Vec<(i64, String)>,
}

/// Why a database is not worked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchemaRefused {
    /// A newer program has changed the schema.
    Newer {
        /// The version that the database has.
        version: i64,
        /// The newest that this program knows.
        known: i64,
    },
    /// The schema is older, and may not be changed.
    Pending {
        /// The version that the database has.
        version: i64,
        /// The version that this program needs.
        newest: i64,
    },
}

impl fmt::Display for SchemaRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Newer { version, known } => write!(
                f,
                "its schema has version {version}, and this program knows none after {known}: \
                 run the newer program"
            ),
            Self::Pending { version, newest } => write!(
                f,
                "its schema has version {version}, this program needs {newest}, and `migrate` is \
                 false: run `cadence migrate` first"
            ),
        }
    }
}

impl std::error::Error for SchemaRefused {}

impl Schema {
    /// Compares what was applied to a database with what this program has.
    ///
    /// # Errors
    /// [`SchemaRefused::Newer`].
    pub fn compare(migrations: &Migrator, applied: &[i64]) -> Result<Self, SchemaRefused> {
        let newest = migrations.iter().map(|migration| migration.version).max().unwrap_or(0);
        let version = applied.iter().copied().max().unwrap_or(0);
        if version > newest {
            return Err(SchemaRefused::Newer { version, known: newest });
        }
        let pending = migrations
            .iter()
            .filter(|migration| !applied.contains(&migration.version))
            .map(|migration| (migration.version, migration.description.to_string()))
            .collect();
        Ok(Self { version, newest, pending })
    }

    /// Tells whether there is something to run.
    #[must_use]
    pub fn is_old(&self) -> bool {
        !self.pending.is_empty()
    }

    /// Checks that there is nothing to run.
    ///
    /// # Errors
    /// [`SchemaRefused::Pending`].
    pub fn check_current(&self) -> Result<(), SchemaRefused> {
        let Self { version, newest, .. } = *self;
        if self.is_old() { Err(SchemaRefused::Pending { version, newest }) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_applied_is_compared_with_what_is_known() {
        let migrations = sqlx::migrate!("migrations/sqlite/directory");
        let compare = |applied: &[i64]| Schema::compare(&migrations, applied);
        let new = compare(&[]).unwrap();
        assert_eq!((new.version, new.pending.len()), (0, migrations.iter().count()));
        let refused = SchemaRefused::Pending { version: 0, newest: new.newest };
        assert_eq!(new.check_current(), Err(refused));
        let half = compare(&[1]).unwrap();
        assert_eq!(half.pending.first().map(|(version, _)| *version), Some(2));
        let all: Vec<i64> = migrations.iter().map(|migration| migration.version).collect();
        let current = compare(&all).unwrap();
        assert_eq!((current.version, current.check_current()), (new.newest, Ok(())));
        let newer = compare(&[&all[..], &[99]].concat());
        assert_eq!(newer, Err(SchemaRefused::Newer { version: 99, known: new.newest }));
    }
}
