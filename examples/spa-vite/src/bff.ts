/**
 * The browser's side of the backend-for-frontend at the edge. Copy this file.
 *
 * There is no token here: the session is a cookie that no script can read, and the edge attaches the
 * access token to what goes to `/bff/api`. Three things can happen to a request: it is answered, the
 * session is over ({@link SignInNeeded}), or nobody can tell now ({@link Unavailable}). The last one
 * signs nobody out: keep what is on the screen, and ask again.
 */

/** Who is signed in, and until when. Times are seconds since 1970. */
export interface Session {
  readonly sub: string;
  readonly name?: string;
  readonly email?: string;
  readonly email_verified?: boolean;
  /** When the person signed in. */
  readonly auth_time: number;
  /** When the session ends, whatever happens. */
  readonly expires_at: number;
  /** When it ends if nothing is asked of the edge until then. */
  readonly idle_expires_at: number;
  /** Whatever else the issuer tells. */
  readonly [claim: string]: unknown;
}

/** Nobody is signed in, or no longer. */
export class SignInNeeded extends Error {}

/** No answer, or a 5xx: nothing is known. */
export class Unavailable extends Error {
  /** Takes the seconds to wait that the answer named, if it did. */
  constructor(readonly retryAfter?: number) {
    super("temporarily unavailable");
  }
}

/**
 * Asks the edge. `X-CSRF` shows that a script of this site asks: no form and no other site can send it.
 * Read the body of what comes back, whatever it is.
 *
 * @throws {SignInNeeded} on 401
 * @throws {Unavailable} on 5xx, 429, or no answer
 */
export async function bff(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  headers.set("X-CSRF", "1");
  const response = await fetch(`/bff${path}`, { cache: "no-store", ...init, headers }).catch(() => {
    throw new Unavailable();
  });
  const isUnknown = response.status >= 500 || response.status === 429;
  if (response.status === 401 || isUnknown) {
    // A body that nobody reads keeps its connection busy, and a browser has six of them for a host.
    await response.text().catch(() => "");
    if (isUnknown) throw new Unavailable(Number(response.headers.get("Retry-After")) || undefined);
    throw new SignInNeeded();
  }
  return response;
}

/** Goes to sign in, and comes back to `returnTo`, a path of this site. Unsaved input is lost. */
export function signIn(returnTo = location.pathname + location.search): void {
  location.assign(`/bff/login?${new URLSearchParams({ return_to: returnTo })}`);
}

/** Ends the session here and at the issuer, in every tab. Throws {@link Unavailable}: still signed in. */
export async function signOut(): Promise<void> {
  await bff("/logout", { method: "POST" }).catch((error: unknown) => {
    if (!(error instanceof SignInNeeded)) throw error;
  });
  tabs.postMessage("signed-out");
}

/** What {@link watchSession} tells. */
export type State =
  | { readonly is: "signed-in"; readonly session: Session }
  | { readonly is: "signed-out"; readonly why: "nobody" | "ended" | "signed-out" }
  /** Nothing is known; the state of before may well hold. The next try is in so many seconds. */
  | { readonly is: "unknown"; readonly retryIn: number };

const tabs = new BroadcastChannel("cadence-session");

/**
 * Tells who is signed in: now, when another tab signs in or out, when this tab is looked at again,
 * and when the session must be over. It never asks while a session merely goes on, because each
 * question would keep the session alive. Asks again after an outage, later and later.
 *
 * Returns a function that asks at once: call it after {@link SignInNeeded}, and after signing out.
 */
export function watchSession(tell: (state: State) => void): (why?: "signed-out") => Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let failures = 0;
  let last: State | undefined;
  let latest = 0;
  /** Why nobody will be signed in, once that is known: somebody has signed out, and no question since was answered. */
  let reason: "signed-out" | undefined;

  async function ask(why?: "signed-out"): Promise<void> {
    const mine = ++latest;
    clearTimeout(timer);
    // Only the latest question is listened to. Whoever asks it may not know what the one before it knew.
    reason = why ?? reason;
    const state = await look();
    if (mine !== latest) return;
    if (state.is === "unknown") {
      timer = setTimeout(() => void ask(), state.retryIn * 1000);
    } else {
      reason = undefined;
      // The first tab after a sign-in tells the others, which do not tell it again.
      if (state.is === "signed-in" && last === undefined) tabs.postMessage("signed-in");
      last = state;
      if (state.is === "signed-in") {
        const { expires_at, idle_expires_at } = state.session;
        const left = Math.min(expires_at, idle_expires_at) + 1 - Date.now() / 1000;
        timer = setTimeout(() => void ask(), Math.min(Math.max(left, 10), 86_400) * 1000);
      }
    }
    tell(state);
  }

  async function look(): Promise<State> {
    try {
      const response = await bff("/session");
      const session: Session = await response.json();
      if (!response.ok) throw new Unavailable();
      failures = 0;
      return { is: "signed-in", session };
    } catch (error) {
      if (error instanceof SignInNeeded) {
        failures = 0;
        const before = last?.is === "signed-out" ? last.why : last ? "ended" : "nobody";
        return { is: "signed-out", why: reason ?? before };
      }
      const named = error instanceof Unavailable ? error.retryAfter : undefined;
      const backOff = Math.min(2 ** failures++, 60) * (1 + Math.random() / 4);
      return { is: "unknown", retryIn: Math.ceil(Math.max(named ?? 0, backOff)) };
    }
  }

  tabs.onmessage = ({ data }) => void ask(data === "signed-out" ? "signed-out" : undefined);
  document.addEventListener("visibilitychange", () => {
    if (document.visibilityState === "visible") void ask();
  });
  void ask();
  return ask;
}
