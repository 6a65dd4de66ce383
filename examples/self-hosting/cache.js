// What stands behind the Cache API: workerd sends it a GET, PUT or PURGE for each call, and takes
// an answer for a hit when `cf-cache-status` says so. What is kept is kept in memory: the edge keeps
// clients, keys and status lists here, so it is little, and it is fetched again after a restart.
const kept = new Map();

// Returns the milliseconds for which a kept answer is fresh.
const freshFor = (headers) => {
  const rules = headers.get("cache-control") ?? "";
  const age = /(?:^|[\s,])s-maxage=(\d+)/.exec(rules) ?? /(?:^|[\s,])max-age=(\d+)/.exec(rules);
  return age ? Number(age[1]) * 1000 : 0;
};

// Reads what a PUT carries: a whole answer as it goes over the wire.
const parse = (bytes) => {
  const text = new TextDecoder("latin1").decode(bytes);
  const end = text.indexOf("\r\n\r\n");
  const [line, ...fields] = text.slice(0, end).split("\r\n");
  const headers = new Headers();
  for (const field of fields) {
    const colon = field.indexOf(":");
    const name = field.slice(0, colon).toLowerCase();
    if (name !== "transfer-encoding" && name !== "content-length") {
      headers.append(name, field.slice(colon + 1).trim());
    }
  }
  return { status: Number(line.split(" ")[1]), headers, body: bytes.slice(end + 4) };
};

export default {
  async fetch(request) {
    const key = `${request.headers.get("cf-cache-namespace") ?? ""} ${request.url}`;
    if (request.method === "PUT") {
      const answer = parse(new Uint8Array(await request.arrayBuffer()));
      const now = Date.now();
      answer.staleAt = now + freshFor(answer.headers);
      for (const [key, { staleAt }] of kept) if (staleAt <= now) kept.delete(key);
      kept.set(key, answer);
      return new Response(null, { status: 204 });
    }
    if (request.method === "PURGE") {
      return new Response(null, { status: kept.delete(key) ? 200 : 404 });
    }
    const answer = kept.get(key);
    if (!answer || answer.staleAt <= Date.now()) {
      return new Response(null, { status: 504, headers: { "cf-cache-status": "MISS" } });
    }
    const headers = new Headers(answer.headers);
    headers.set("cf-cache-status", "HIT");
    return new Response(answer.body, { status: answer.status, headers });
  },
};
