import { createHash } from "node:crypto";

/**
 * Sets what browsers enforce for every page. Scripts run only from files of this site, and the one
 * that Nuxt writes into the page (its public settings) by its digest.
 */
export default defineNitroPlugin((nitro) => {
  nitro.hooks.hook("request", (event) => {
    setHeader(event, "x-content-type-options", "nosniff");
    setHeader(event, "referrer-policy", "same-origin");
    if (useSettings().baseUrl.protocol === "https:") {
      setHeader(event, "strict-transport-security", "max-age=31536000");
    }
  });
  nitro.hooks.hook("beforeResponse", (event, { body }) => {
    removeResponseHeader(event, "x-powered-by");
    if (typeof body !== "string" || !body.startsWith("<!DOCTYPE html>")) return;
    setHeader(event, "cache-control", "no-store");
    setHeader(
      event,
      "content-security-policy",
      [
        "default-src 'self'",
        ["script-src 'self'", ...digestsOf(body)].join(" "),
        // Signing out is a form whose answer leads on to Cadence.
        `form-action 'self' ${useSettings().issuer.origin}`,
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "object-src 'none'",
      ].join("; "),
    );
  });
});

// Not those with `src`, which are files, and not JSON, which is not run.
const inlineScript = /<script(?![^>]*\bsrc=)(?![^>]*type="application\/json")[^>]*>([^]*?)<\/script>/g;

function digestsOf(html: string): string[] {
  return [...html.matchAll(inlineScript)].map(([, script = ""]) => {
    return `'sha256-${createHash("sha256").update(script).digest("base64")}'`;
  });
}
