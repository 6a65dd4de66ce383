/** Lists the notes of whoever is signed in. */
export default defineEventHandler((event) => callUpstream(event, "/api/notes", { method: "GET" }));
