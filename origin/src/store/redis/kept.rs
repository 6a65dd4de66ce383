//! Writes that replicas must have before they are answered (`WAIT`).
//!
//! `WAIT` is about what its own connection has written, and holds that connection up. So these
//! writes have one of their own, and share the waiting: all that have come while one batch waits
//! make the next one, with one `WAIT` behind them.

use redis::aio::{ConnectionLike as _, MultiplexedConnection};
use redis::{Cmd, ErrorKind, RedisError, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::deadlines::Deadlines;
use super::link::late;

/// Writes in one batch at most.
const BATCH: usize = 256;

/// The connection for such writes.
pub(super) struct Writer(mpsc::Sender<Write>);

struct Write {
    commands: Vec<Cmd>,
    answer: oneshot::Sender<Result<Value, RedisError>>,
}

impl Writer {
    /// Makes one that waits for `replicas`.
    pub(super) fn new(
        connection: MultiplexedConnection,
        replicas: u32,
        deadlines: Deadlines,
    ) -> Self {
        let (writes, queue) = mpsc::channel(4 * BATCH);
        tokio::spawn(run(connection, queue, replicas, deadlines));
        Self(writes)
    }

    /// Sends a command, and returns its answer when enough replicas have what it wrote.
    ///
    /// # Errors
    /// Also when they do not have it in time: it may stay, and may be lost.
    pub(super) async fn write(&self, command: &Cmd, is_asking: bool) -> Result<Value, RedisError> {
        let (answer, answered) = oneshot::channel();
        let asking = is_asking.then(|| redis::cmd("ASKING"));
        let commands = asking.into_iter().chain([command.clone()]).collect();
        let gone = || RedisError::from((ErrorKind::Io, "the connection to Redis is lost"));
        self.0.send(Write { commands, answer }).await.map_err(|_| gone())?;
        answered.await.map_err(|_| gone())?
    }
}

/// Writes batch after batch until nobody writes any more, or the connection is lost.
async fn run(
    mut connection: MultiplexedConnection,
    mut queue: mpsc::Receiver<Write>,
    replicas: u32,
    deadlines: Deadlines,
) {
    let mut batch = Vec::new();
    while queue.recv_many(&mut batch, BATCH).await > 0 {
        // Nobody waits any more for those that were given up; they do not happen.
        batch.retain(|write| !write.answer.is_closed());
        if batch.is_empty() {
            continue;
        }
        match timeout(deadlines.command, send(&mut connection, &batch, replicas, deadlines)).await {
            Ok(Ok(answers)) => {
                for (write, answer) in batch.drain(..).zip(answers) {
                    let _ = write.answer.send(answer);
                }
            }
            Ok(Err(error)) => return give_up(batch, &error),
            Err(_) => return give_up(batch, &late()),
        }
    }
}

fn give_up(batch: Vec<Write>, error: &RedisError) {
    for write in batch {
        let _ = write.answer.send(Err(error.clone()));
    }
}

/// Sends a batch and one `WAIT` behind it; returns the answer to each.
async fn send(
    connection: &mut MultiplexedConnection,
    batch: &[Write],
    replicas: u32,
    deadlines: Deadlines,
) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
    let mut pipeline = redis::pipe();
    for command in batch.iter().flat_map(|write| &write.commands) {
        pipeline.add_command(command.clone());
    }
    pipeline.cmd("WAIT").arg(replicas).arg(deadlines.replicas.as_millis().to_string());
    let mut answers = connection.req_packed_commands(&pipeline, 0, pipeline.len()).await?;
    let waited = answers.pop().unwrap_or(Value::Nil).extract_error();
    let is_kept = waited.and_then(|have| Ok(redis::from_redis_value::<u32>(have)? >= replicas));
    let mut answers = answers.into_iter();
    let answer_to = |write: &Write| {
        // Of `ASKING` and the command, the second one's.
        let answer = answers.by_ref().take(write.commands.len()).last();
        let answer = answer.unwrap_or(Value::Nil).extract_error()?;
        match &is_kept {
            Ok(true) => Ok(answer),
            Ok(false) => {
                Err(RedisError::from((ErrorKind::Client, "too few replicas have the write")))
            }
            Err(error) => Err(error.clone()),
        }
    };
    Ok(batch.iter().map(answer_to).collect())
}
