/** Says who is signed in; `null` when nobody is. */
export default defineEventHandler((event): VisibleSession | null => {
  setHeader(event, "cache-control", "no-store");
  return event.context.visibleSession ?? null;
});
