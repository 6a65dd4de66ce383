/**
 * Adds a note. The page sends JSON; without JavaScript its form arrives as a form, and the answer is
 * the page again.
 */
export default defineEventHandler(async (event) => {
  requireSameOrigin(event);
  const body = await readBody<unknown>(event);
  const text = typeof body === "object" && body !== null && "text" in body ? body.text : undefined;
  if (typeof text !== "string" || text.trim() === "" || text.length > 500) {
    throw createError({
      statusCode: 400,
      statusMessage: "Bad note",
      message: "A note has 1 to 500 characters",
    });
  }
  const answer = await callUpstream(event, "/api/notes", {
    method: "POST",
    body: JSON.stringify({ text: text.trim() }),
  });
  const isForm = getHeader(event, "content-type")?.startsWith("application/x-www-form-urlencoded");
  const isAdded = getResponseStatus(event) < 300;
  return isForm && isAdded ? sendRedirect(event, "/notes", 303) : answer;
});
