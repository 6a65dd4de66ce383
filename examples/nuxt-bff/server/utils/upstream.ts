import type { H3Event } from "h3";

/**
 * Sends a request on to an API behind Cadence's edge, with the access token of the session, and
 * passes the answer back.
 *
 * 401 when nobody is signed in, or no longer; 503 when nobody can tell, and the session stays.
 */
export async function callUpstream(
  event: H3Event,
  path: string,
  options: { method: "GET" | "POST"; body?: string },
): Promise<unknown> {
  setHeader(event, "cache-control", "no-store");
  let session = event.context.session;
  if (!session) throw signedOut();
  if (!isFresh(session)) throw unavailable();

  let answer = await send(session.access_token);
  if (answer.status === 401) {
    // Revoked before its time, or the keys are others. One renewal tells whether the grant is over.
    session = await renewSession(event, session);
    if (!session) throw signedOut();
    answer = await send(session.access_token);
    // Still refused, with a token that Cadence has just issued: the API is not ready for it.
    if (answer.status === 401) throw unavailable();
  }
  setResponseStatus(event, answer.status);
  for (const name of ["content-type", "retry-after"]) {
    const value = answer.headers.get(name);
    if (value) setHeader(event, name, value);
  }
  return answer.text();

  async function send(access_token: string): Promise<Response> {
    try {
      return await fetch(new URL(path, useSettings().issuer), {
        method: options.method,
        headers: {
          authorization: `Bearer ${access_token}`,
          accept: "application/json",
          ...(options.body && { "content-type": "application/json" }),
        },
        body: options.body,
        redirect: "error",
        signal: AbortSignal.timeout(10_000),
      });
    } catch (error) {
      console.warn(`${path} did not answer:`, reason(error));
      throw unavailable();
    }
  }
}

const signedOut = () =>
  createError({ statusCode: 401, statusMessage: "Signed out", message: "Nobody is signed in" });

const unavailable = () =>
  createError({
    statusCode: 503,
    statusMessage: "Unavailable",
    message: "Cadence does not answer at the moment",
  });
