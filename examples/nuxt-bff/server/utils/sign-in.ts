import type { H3Event } from "h3";

/** What must be the same when the browser comes back from Cadence. */
export interface SignIn {
  state: string;
  nonce: string;
  code_verifier: string;
  return_to: string;
}

/** Cadence gives a sign-in ten minutes. */
const lifetime = 10 * 60;

const label = "notes_sign_in_";

/**
 * The cookie of one sign-in, which binds its `state` to this browser. Its name has a part of the
 * state, so that sign-ins in several tabs do not disturb each other.
 */
export function signInCookie(state: string): SealedCookie<SignIn> {
  return new SealedCookie<SignIn>(label + state.replace(/[^\w-]/g, "").slice(0, 8), lifetime);
}

/**
 * Forgets sign-ins that were begun and left, when there are so many that the browser's requests
 * would grow too long for a server.
 */
export function dropAbandoned(event: H3Event): void {
  const names = Object.keys(parseCookies(event)).filter((name) => name.includes(label));
  if (names.length < 5) return;
  for (const name of names) signInCookie(name.slice(name.indexOf(label) + label.length)).clear(event);
}
