// Twenty tabs of one browser, signed in through the backend-for-frontend. Says the session's handle,
// waits for a line, then lets all tabs ask at the same moment, signs one of them out and lets all ask
// again, and says what they were answered.
//
//   node tabs.mjs BASE USERNAME PASSWORD
import { once } from "node:events";
import { chromium } from "playwright-core";

const [base, username, password] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"],
});
const context = await browser.newContext();
const handle = async () => (await context.cookies()).find(({ name }) => name === "cadence_bff")?.value;

// Any page of the host can ask; this one has no policy of its own that would keep it from that.
const page = "/healthz";
const first = await context.newPage();
await first.goto(`${base}/bff/login?return_to=${page}`);
await first.getByLabel("Username").fill(username);
await first.getByLabel("Password").fill(password);
await first.getByRole("button", { name: "Sign in", exact: true }).click();
await first.waitForURL(`${base}${page}`);
const tabs = [first];
while (tabs.length < 20) {
  const tab = await context.newPage();
  await tab.goto(`${base}${page}`);
  tabs.push(tab);
}
process.stdout.write(`${JSON.stringify({ handle: await handle() })}\n`);
await once(process.stdin, "data");

// Each tab waits for the same moment of the clock.
const moment = Date.now() + 500;
const answers = await Promise.all(tabs.map((tab) => tab.evaluate(async (moment) => {
  await new Promise((done) => setTimeout(done, moment - Date.now()));
  const answer = await fetch("/bff/api/me", { headers: { "X-CSRF": "1" } });
  await answer.text();
  return answer.status;
}, moment)));
const kept = await handle();

// One signs out; what the others ask from then on is refused.
const headers = { "X-CSRF": "1" };
const signedOut = await first.evaluate(async (headers) => {
  const answer = await fetch("/bff/logout", { method: "POST", headers });
  return answer.status;
}, headers);
const after = await Promise.all(tabs.map((tab) => tab.evaluate(async (headers) => {
  const answer = await fetch("/bff/api/me", { headers });
  await answer.text();
  return answer.status;
}, headers)));
process.stdout.write(`${JSON.stringify({ answers, handle: kept, signedOut, after })}\n`);
await browser.close();
process.stdin.destroy();
