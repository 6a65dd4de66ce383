// An entry of the suite's own: takes signatures by POST, and answers what the verifier of the edge
// says about each. It asks the same module that the worker's own entry does.
import { verify_signature } from "./edge_worker.js";

const bytes = (base64) => Uint8Array.from(atob(base64), (byte) => byte.charCodeAt(0));

const verdict = async ({ jwk, message, signature }) => {
  try {
    const isGood = await verify_signature(JSON.stringify(jwk), bytes(message), bytes(signature));
    return isGood ? "good" : "bad";
  } catch (error) {
    // A refusal is a text. Anything else, a trap above all, fails the test.
    if (typeof error !== "string") throw error;
    return `refused: ${error}`;
  }
};

export default {
  async fetch(request) {
    const verdicts = [];
    for (const vector of await request.json()) verdicts.push(await verdict(vector));
    return Response.json(verdicts);
  },
};
