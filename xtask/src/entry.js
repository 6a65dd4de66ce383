// The entry of the worker: hands requests to the wasm module. A trap ends the instance it happened
// in, so the next request gets a new one, and the trapped one an answer that tells to try again.
import * as wasm from "./NAME.js";

const unavailable = () =>
  new Response(
    '{"error":"temporarily_unavailable","error_description":"a part of the service is away, please try again"}',
    {
      status: 503,
      headers: { "content-type": "application/json", "cache-control": "no-store", "retry-after": "1" },
    },
  );

async function guarded(handler, first, env, ctx) {
  try {
    return await handler(first, env, ctx);
  } catch (error) {
    console.error("the worker trapped and was reset:", error?.stack ?? String(error));
    wasm.__wbg_reset_state();
    return unavailable();
  }
}

export default {
  fetch: (request, env, ctx) => guarded(wasm.fetch, request, env, ctx),
};
