// The entry of the worker: hands events to the wasm module. A trap spoils the instance in which it
// happened, so the instance is thrown away: the trapped request is told to try again, and the next
// one meets a new instance.
import * as wasm from "./NAME.js";

// The executor in the wasm module asks for a turn whenever something goes on. The platform's own
// function takes a way through native code for each; a reaction to a kept promise does not.
const kept = Promise.resolve();
globalThis.queueMicrotask = (task) => void kept.then(task);

const unavailable = () =>
  new Response(
    '{"error":"temporarily_unavailable","error_description":"a part of the service is away, please try again"}',
    {
      status: 503,
      headers: { "content-type": "application/json", "cache-control": "no-store", "retry-after": "1" },
    },
  );

// Any other exception leaves the instance sound.
const reset = (error) => {
  console.error("the worker was stopped by an error:", error?.stack ?? String(error));
  if (error instanceof WebAssembly.RuntimeError) wasm.__wbg_reset_state();
};

export default {
  async fetch(request, env, ctx) {
    try {
      return await wasm.fetch(request, env, ctx);
    } catch (error) {
      reset(error);
      return unavailable();
    }
  },
  async scheduled(event, env, ctx) {
    try {
      await wasm.scheduled?.(event, env, ctx);
    } catch (error) {
      reset(error);
      throw error;
    }
  },
};
