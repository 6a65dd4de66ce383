import { asCurl } from "./curl.js";
import { announce, el } from "./dom.js";

/**
 * A request as it stands on this page.
 *
 * @typedef {{ method: string, url: string, headers: [string, string][], form?: [string, string][] }} Request
 *
 * An answer. `status` 0: none came. `json` is undefined when the body is not JSON.
 * @typedef {{ status: number, statusText: string, headers: [string, string][], text: string, json?: any }} Answer
 */

/** Reasons of statuses, for HTTP/2 and newer, which no longer send them. */
const REASONS = { 200: "OK", 303: "See Other", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 429: "Too Many Requests", 503: "Service Unavailable" };

/** A form post, as the token endpoint takes it. */
export function post(url, fields) {
  return {
    method: "POST",
    url,
    headers: [["Accept", "application/json"], ["Content-Type", "application/x-www-form-urlencoded"]],
    form: Object.entries(fields),
  };
}

/** A `GET` for JSON, with a Bearer token if there is one. */
export function get(url, token) {
  const headers = [["Accept", "application/json"]];
  if (token) headers.push(["Authorization", `Bearer ${token}`]);
  return { method: "GET", url, headers };
}

/**
 * Sends a request and reads the answer. Without cookies: what happens here can be done from a shell.
 *
 * @param {Request} request
 * @returns {Promise<Answer>}
 */
async function send({ method, url, headers, form }) {
  let response;
  try {
    response = await fetch(url, {
      method,
      headers,
      body: form && new URLSearchParams(form),
      credentials: "omit",
      cache: "no-store",
      redirect: "error",
    });
  } catch (error) {
    return { status: 0, statusText: "No answer", headers: [], text: String(error.message) };
  }
  const text = await response.text();
  let json;
  try {
    json = JSON.parse(text);
  } catch { /* shown as it is */ }
  const { status } = response;
  return { status, statusText: response.statusText || REASONS[status] || "", headers: [...response.headers], text, json };
}

/** The request as bytes on the wire would look in HTTP/1.1, a line for each field of a form. */
function requestText({ method, url, headers, form }) {
  const { host, pathname, search } = new URL(url);
  const head = [`${method} ${pathname}${search} HTTP/1.1`, `Host: ${host}`];
  for (const [name, value] of headers) head.push(`${name}: ${value}`);
  const body = (form ?? []).map((field) => new URLSearchParams([field]).toString());
  return form ? `${head.join("\n")}\n\n${body.join("\n&")}` : head.join("\n");
}

/** Upper case where HTTP/1.1 usually has it; `fetch` hands names out in lower case. */
function headerName(name) {
  return name.replace(/(^|-)[a-z]/g, (letter) => letter.toUpperCase()).replace("Www-", "WWW-");
}

function wire(label, text) {
  return el("pre", { class: "wire", tabindex: "0", role: "region", "aria-label": label }, el("code", {}, text));
}

/** A button that copies a text. */
function copyButton(label, text) {
  const button = el("button", {
    class: "copy",
    type: "button",
    onclick: async () => {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      announce("Copied.");
      setTimeout(() => { button.textContent = label; }, 2500);
    },
  }, label);
  return button;
}

/** A request that this page only shows, such as a navigation. */
export function shownRequest(title, request) {
  const curl = asCurl(request);
  return el("div", { class: "request", "data-curl": curl },
    el("div", { class: "bar" }, el("h3", {}, title), copyButton("Copy as curl", curl)),
    wire(`${title}: the request`, requestText(request)));
}

/** An answer. */
export function shownAnswer({ status, statusText, headers, text, json }, title = "The answer") {
  const kind = status === 0 || status >= 500 ? "away" : status >= 400 ? "refused" : "good";
  const head = headers.map(([name, value]) => `${headerName(name)}: ${value}`).join("\n");
  const body = json === undefined ? text : JSON.stringify(json, null, 2);
  const line = status === 0 ? statusText : `${status} ${statusText}`;
  return el("div", { class: "answer", "data-status": status },
    el("p", { class: `status ${kind}`, tabindex: "-1" }, line),
    wire(title, [head, body].filter(Boolean).join("\n\n")));
}

/**
 * A request that can be looked at, copied, and sent; its answer appears below it.
 *
 * `then` gets the answer. A request that nobody answered, or 503, can be sent again.
 *
 * @param {{ title: string, request: Request, button?: string, second?: boolean, then?: (answer: Answer) => unknown }} what
 */
export function exchange({ title, request, button, second, then }) {
  const answers = el("div", { class: "answers" });
  const element = el("article", { class: "exchange" }, shownRequest(title, request));
  const run = async () => {
    const answer = await send(request);
    const shown = shownAnswer(answer, `${title}: the answer`);
    answers.replaceChildren(shown);
    announce(`${title}: ${answer.status} ${answer.statusText}.`);
    return { answer, shown };
  };
  if (button) {
    const press = el("button", { class: second ? "secondary" : "primary", type: "button" }, button);
    press.addEventListener("click", async () => {
      press.disabled = true;
      const { answer, shown } = await run();
      press.disabled = false;
      if (answer.status === 0 || answer.status >= 500) {
        press.textContent = "Send it again";
        return;
      }
      press.parentElement.remove();
      shown.querySelector(".status").focus({ preventScroll: true });
      await then?.(answer);
    });
    element.append(el("p", { class: "press" }, press));
  }
  element.append(answers);
  return { element, run };
}
