/** Says who is signed in; `{ "session": null }` when nobody is. */
export default defineEventHandler((event): { session: VisibleSession | null } => {
  setHeader(event, "cache-control", "no-store");
  return { session: event.context.visibleSession ?? null };
});
