/**
 * Fills `useAuth()`: on the server from the request, whose session `server/middleware/session.ts`
 * has opened; in the browser from the page, and again whenever the tab comes back to the front.
 */
export default defineNuxtPlugin((nuxt) => {
  const { session, refresh } = useAuth();
  if (import.meta.server) {
    session.value = nuxt.ssrContext?.event.context.visibleSession ?? null;
    return;
  }
  document.addEventListener("visibilitychange", () => {
    // A failure says nothing about who is signed in.
    if (document.visibilityState === "visible") refresh().catch(() => undefined);
  });
});
