import type { H3Event } from "h3";

/**
 * Returns a path of this application to return to after the sign-in: `/` if none is given.
 *
 * Anything that a browser would take for another host is refused with 400: `https://…`, `//…`,
 * `/\…`, and control characters, which browsers leave out of URLs.
 */
export function parseReturnTo(value: unknown): string {
  if (value === undefined || value === "") return "/";
  const { origin } = useSettings().baseUrl;
  const isLocal =
    typeof value === "string" &&
    value.length <= 1024 &&
    /^\/(?!\/)[^\\\u0000-\u0020\u007f]*$/.test(value) &&
    new URL(value, origin).origin === origin;
  if (isLocal) return value;
  throw createError({
    statusCode: 400,
    statusMessage: "Bad return_to",
    message: "return_to must be a path of this site",
  });
}

/**
 * Refuses requests that another site's page made: everything that changes something asks here.
 *
 * Browsers say where a request comes from in `Sec-Fetch-Site`, older ones in `Origin`.
 */
export function requireSameOrigin(event: H3Event): void {
  const site = getHeader(event, "sec-fetch-site");
  const same = site
    ? site === "same-origin"
    : getHeader(event, "origin") === useSettings().baseUrl.origin;
  if (!same) {
    throw createError({
      statusCode: 403,
      statusMessage: "Cross-site request",
      message: "This request did not come from a page of this site",
    });
  }
}
