import { createHash } from "node:crypto";
import type { H3Event } from "h3";
import * as client from "openid-client";

/**
 * What a signed-in browser carries, sealed.
 *
 * The tokens are in the cookie, encrypted, and not in a store of this server: nothing has to run
 * beside the application, a restart signs nobody out, and any instance can answer any request.
 * What a store would do better is to never lose a renewed refresh token on its way to the browser;
 * `renewed` below and Cadence's 10 seconds of grace make up for that.
 *
 * About 2.3 KB with Cadence's tokens.
 */
export interface Session {
  access_token: string;
  /** Both in seconds since 1970. */
  issued_at: number;
  expires_at: number;
  refresh_token: string;
  /** Names the session to Cadence's logout. */
  id_token: string;
  user: User;
}

/** As long as a Cadence refresh token lives unused. Each renewal begins it again. */
const cookie = new SealedCookie<Session>("notes_session", 14 * 24 * 60 * 60);

/**
 * Returns the session of the browser, renewed if its access token is about to end.
 *
 * Does NOT sign out when Cadence cannot be asked: then the session comes back as it is.
 */
export async function openSession(event: H3Event): Promise<Session | undefined> {
  const session = await readSession(event);
  return session && isDue(session) ? renewSession(event, session) : session;
}

/** Returns the session as the cookie has it, however old. */
export async function readSession(event: H3Event): Promise<Session | undefined> {
  const session = await cookie.get(event);
  // A cookie that cannot be opened is good for nothing: the browser need not send it again.
  if (!session && getCookie(event, cookie.name)) cookie.clear(event);
  return session;
}

export function saveSession(event: H3Event, session: Session): Promise<void> {
  return cookie.set(event, session);
}

export function endSession(event: H3Event): void {
  cookie.clear(event);
}

/** Trades the refresh token for new tokens, and hands the browser its new cookie. */
export async function renewSession(
  event: H3Event,
  session: Session,
): Promise<Session | undefined> {
  try {
    const next = await successor(session);
    await saveSession(event, next);
    return next;
  } catch (error) {
    if (isGrantOver(error)) {
      endSession(event);
      return undefined;
    }
    console.warn("the session could not be renewed, and stays as it is:", reason(error));
    return session;
  }
}

/** What a token request begins, in the shape of a session. */
export function toSession(
  tokens: client.TokenEndpointResponse & client.TokenEndpointResponseHelpers,
  known: Pick<Session, "user"> & Partial<Session>,
): Session {
  const issued_at = now();
  const refresh_token = tokens.refresh_token ?? known.refresh_token;
  const id_token = tokens.id_token ?? known.id_token;
  if (!refresh_token || !id_token) throw new Error("Cadence sent no refresh token or ID token");
  return {
    access_token: tokens.access_token,
    issued_at,
    expires_at: issued_at + (tokens.expires_in ?? 0),
    refresh_token,
    id_token,
    user: known.user,
  };
}

/** What pages may see. */
export function toVisible(session: Session): VisibleSession {
  return { user: session.user, expires_at: session.expires_at };
}

/** Tells whether the access token can still be used. */
export function isFresh(session: Session): boolean {
  return now() < session.expires_at;
}

// A token that has just been issued is never due, whatever NUXT_RENEW_BEFORE says: else one
// request of a page would renew what the one before has renewed.
const justIssued = 5;

function isDue(session: Session): boolean {
  if (now() < session.issued_at + justIssued) return false;
  return now() >= session.expires_at - useSettings().renewBefore;
}

/**
 * The renewals of the last hour, by the digest of the refresh token that they used.
 *
 * Requests that need the same renewal at the same time share it. One that comes later with the old
 * cookie (it was on its way, or the answer with the new cookie was lost) gets the same successor,
 * and Cadence never sees a refresh token twice, which after 10 seconds would look like a theft.
 * Another instance of this server has another map: there the 10 seconds of grace must do.
 */
const renewed = new Map<string, { tokens: Promise<Session>; at: number }>();
const keptFor = 60 * 60;
const keptAtMost = 10_000;
const failedFor = 5_000;

async function successor(session: Session): Promise<Session> {
  forgetOld();
  const key = createHash("sha256").update(session.refresh_token).digest("base64url");
  const known = renewed.get(key);
  if (known) {
    const next = await known.tokens;
    // The lost answer may be older than the access token that was in it.
    return isDue(next) ? successor(next) : next;
  }
  const tokens = refresh(session);
  renewed.set(key, { tokens, at: now() });
  try {
    return await tokens;
  } catch (error) {
    // For a moment the failure is everybody's answer: while Cadence is away, not every request of a
    // page should wait for it again.
    setTimeout(() => renewed.delete(key), failedFor).unref();
    throw error;
  }
}

async function refresh(session: Session): Promise<Session> {
  const tokens = await client.refreshTokenGrant(await useCadence(), session.refresh_token);
  return toSession(tokens, session);
}

// A Map lists its entries in the order in which they came.
function forgetOld(): void {
  for (const [key, { at }] of renewed) {
    if (renewed.size <= keptAtMost && now() < at + keptFor) break;
    renewed.delete(key);
  }
}

function now(): number {
  return Math.floor(Date.now() / 1000);
}

/** The error in one line, without what was sent. */
export function reason(error: unknown): string {
  if (error instanceof client.ResponseBodyError) return `${error.status} ${error.error}`;
  return error instanceof Error ? error.message : String(error);
}
