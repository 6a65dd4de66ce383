/**
 * Opens the session once for each request, before pages and API routes ask for it. So a page that
 * is rendered on the server renews before its first byte, while there are headers to set.
 */
export default defineEventHandler(async (event) => {
  // Files need no session; the routes of the sign-in open what they need themselves.
  if (/^\/(_nuxt|auth|callback)\b/.test(event.path)) return;
  event.context.session = await openSession(event);
  event.context.visibleSession = event.context.session && toVisible(event.context.session);
});

declare module "h3" {
  interface H3EventContext {
    session?: Session;
  }
}
