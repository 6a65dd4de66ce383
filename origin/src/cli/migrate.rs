//! `cadence migrate`.

use clap::Args;
use serde_json::{Value, json};

use super::output::Output;
use super::{CommandError, Place, make_private};
use crate::config::Config;
use crate::schema::Schema;
use crate::store::embedded::Embedded;

/// Brings the databases to the newest schema.
#[derive(Debug, Args)]
pub struct Migrate {
    /// Changes nothing, and fails when there is something to do.
    #[arg(long)]
    check: bool,
}

impl Migrate {
    /// Runs the command: the directory, then the embedded store, unless Redis is set.
    ///
    /// # Errors
    /// One sentence; with `--check` also when something is pending.
    pub async fn run(self, config: &Config, output: &Output) -> Result<(), CommandError> {
        let place = Place::of(config);
        let store = config.redis.is_none().then(|| config.data_file("store.db"));
        let mut rows = vec![self.row("directory", &place.schema().await?)];
        if let Some(path) = &store {
            rows.push(self.row("store", &Embedded::schema(path).await?));
        }
        if !self.check {
            drop(place.open(config).await?);
            if let Some(path) = &store {
                make_private(&config.data_dir)?;
                drop(Embedded::open(path).await?);
            }
        }
        output.list(&rows, &["database", "change", "from", "to", "migrations"]);
        let is_pending = rows.iter().any(|row| row["change"] == "pending");
        if is_pending { Err("migrations are pending".into()) } else { Ok(()) }
    }

    fn row(&self, database: &str, schema: &Schema) -> Value {
        let change = match (schema.is_old(), self.check) {
            (false, _) => "unchanged",
            (true, true) => "pending",
            (true, false) => "migrated",
        };
        let migrations: Vec<String> =
            schema.pending.iter().map(|(version, name)| format!("{version}:{name}")).collect();
        json!({
            "database": database,
            "change": change,
            "from": schema.version,
            "to": schema.newest,
            "migrations": migrations,
        })
    }
}
