//! Rotations of refresh tokens in the embedded database.

use shared::limits::ACCESS_TOKENS_OF_A_GRANT;
use shared::secret::Sha256Digest;
use shared::time::UnixTime;
use shared::token::{GrantId, Jti};
use sqlx::{Sqlite, Transaction};

use super::columns::{bytes, integer, seconds, unreadable};
use super::grants::{GrantRow, count_alive, put_access, revoke};
use crate::store::{AccessRow, Asked, AttemptId, Presented, RefreshRotation, Rotated, StoreError};

/// Rotates a refresh token, or says again what came of its rotation.
pub(super) async fn rotate(
    mut transaction: Transaction<'_, Sqlite>,
    rotation: &RefreshRotation,
    now: UnixTime,
) -> Result<Rotated, StoreError> {
    let RefreshRotation { grant_id, presented, successor, .. } = rotation;
    let row = GrantRow::read(&mut transaction, grant_id).await?;
    let Some(row) = row.filter(|row| row.grant.client_id == rotation.client_id) else {
        return Ok(Rotated::Missing);
    };
    if !row.is_live(now) {
        return Ok(Rotated::Missing);
    }
    let verdict = row.generations.judge(presented, &rotation.untold, now);
    if verdict == Presented::Stale {
        // A generation that was never reached was lost with the store: nobody's fault.
        if rotation.generation > row.generations.generation {
            return Ok(Rotated::Missing);
        }
        revoke(&mut transaction, grant_id, now).await?;
        transaction.commit().await?;
        return Ok(Rotated::Reused);
    }
    if rotation.scope.as_ref().is_some_and(|scope| !scope.is_subset_of(&row.grant.scope)) {
        return Ok(Rotated::ScopeExceeded);
    }
    if row.numbers >= ACCESS_TOKENS_OF_A_GRANT
        && count_alive(&mut transaction, grant_id, now).await? >= ACCESS_TOKENS_OF_A_GRANT
    {
        return Ok(Rotated::Crowded);
    }

    let GrantRow { grant, generations, numbers, .. } = row;
    let jti = Jti { grant_id: *grant_id, number: numbers + 1 };
    let expires_at = rotation.access_expires_at.min(grant.expires_at);
    let access = AccessRow { jti, expires_at, status: rotation.status };
    let repeated = generations.current.filter(|_| verdict == Presented::Previous);
    let generation = if repeated.is_some() {
        // When nobody was told until now, whoever asks now is in the place of the first, and the
        // grace begins.
        let told = generations.asked.without(&rotation.untold);
        let rotated_at = if told.is_empty() { now } else { generations.rotated_at.min(now) };
        sqlx::query("UPDATE grants SET rotated_at = ?, asked = ?, numbers = ? WHERE grant_id = ?")
            .bind(seconds(rotated_at)?)
            .bind(told.and(&rotation.attempt).to_text())
            .bind(integer(jti.number)?)
            .bind(grant_id.to_string())
            .execute(&mut *transaction)
            .await?;
        generations.generation
    } else {
        let generation = generations.generation.checked_add(1);
        let generation = generation.ok_or_else(|| unreadable("generation"))?;
        let idle_expires_at = grant.expires_at.min(now.plus(rotation.refresh_idle_in));
        sqlx::query(
            "UPDATE grants SET generation = ?, current = ?, previous = ?, \
             rotated_at = ?, asked = ?, numbers = ?, idle_expires_at = ? WHERE grant_id = ?",
        )
        .bind(generation)
        .bind(bytes(successor))
        .bind(bytes(presented))
        .bind(seconds(now)?)
        .bind(Asked::one(&rotation.attempt).to_text())
        .bind(integer(jti.number)?)
        .bind(seconds(idle_expires_at)?)
        .bind(grant_id.to_string())
        .execute(&mut *transaction)
        .await?;
        generation
    };
    put_access(&mut transaction, &access, generation).await?;
    transaction.commit().await?;
    Ok(match repeated {
        Some(current) => Rotated::Repeated { grant, access, current },
        None => Rotated::Next { grant, access },
    })
}

/// Keeps the grace of a refresh token whose successor nobody was told.
pub(super) async fn hold(
    mut transaction: Transaction<'_, Sqlite>,
    grant_id: &GrantId,
    presented: &Sha256Digest,
    untold: &[AttemptId],
) -> Result<(), StoreError> {
    let row = GrantRow::read(&mut transaction, grant_id).await?;
    let row = row.filter(|row| row.generations.previous.as_ref() == Some(presented));
    let Some(asked) = row.map(|row| row.generations.asked).filter(|asked| !asked.is_empty()) else {
        return Ok(());
    };
    let told = asked.without(untold);
    sqlx::query(
        "UPDATE grants SET asked = ?, rotated_at = iif(?, idle_expires_at, rotated_at) \
         WHERE grant_id = ?",
    )
    .bind(told.to_text())
    .bind(told.is_empty())
    .bind(grant_id.to_string())
    .execute(&mut *transaction)
    .await?;
    Ok(transaction.commit().await?)
}
