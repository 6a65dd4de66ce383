/** Where the lanes stand. */
const LANES = { browser: 34, edge: 180, origin: 326 };

/** The steps, and what travels in each: from, to, what. */
const STEPS = [
  ["discovery", [["browser", "edge", "discovery document?"], ["edge", "browser", "endpoints"]]],
  ["pkce", [["browser", "browser", "verifier → challenge"]]],
  ["authorize", [
    ["browser", "edge", "authorize, challenge"],
    ["edge", "browser", "login page"],
    ["browser", "origin", "password, consent"],
  ]],
  ["callback", [["origin", "browser", "code, state, iss"]]],
  ["token", [["browser", "origin", "code, verifier"], ["origin", "browser", "tokens"]]],
  ["tokens", [["browser", "edge", "keys?"], ["edge", "browser", "key set"]]],
  ["userinfo", [["browser", "origin", "access token"], ["origin", "browser", "claims"]]],
  ["refresh", [["browser", "origin", "refresh token"], ["origin", "browser", "the next tokens"]]],
  ["lost", [["browser", "origin", "the same one again"], ["origin", "browser", "the same successor"]]],
  ["reuse", [["browser", "origin", "an old one"], ["origin", "browser", "refused, all revoked"]]],
  ["logout", [["browser", "origin", "sign out"], ["origin", "browser", "back here"]]],
];

const TOP = 40;
const ROW = 25;

function svg(name, attributes, ...children) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** An arrow with its label above it; what goes through the edge is checked there, hence the dot. */
function arrow([from, to, label], y) {
  const [a, b] = [LANES[from], LANES[to]];
  if (a === b) {
    return svg("g", { class: "arrow" },
      svg("path", { class: "shaft", d: `M${a} ${y - 9}h16a4 4 0 0 1 4 4v6a4 4 0 0 1-4 4h-12` }),
      svg("path", { class: "head", d: `M${a + 1} ${y + 5}l7-3.5v7z` }),
      svg("text", { x: a + 28, y: y + 2 }, label));
  }
  const way = Math.sign(b - a);
  const children = [
    svg("path", { class: "shaft", d: `M${a + way * 4} ${y}H${b - way * 8}` }),
    svg("path", { class: "head", d: `M${b - way * 2} ${y}l${-way * 8}-4v8z` }),
    svg("text", { x: (LANES.browser + LANES.edge) / 2, y: y - 5, "text-anchor": "middle" }, label),
  ];
  if (Math.abs(b - a) > 200) children.push(svg("circle", { class: "through", cx: LANES.edge, cy: y, r: 3.5 }));
  return svg("g", { class: "arrow" }, ...children);
}

/**
 * Draws the way of the whole walk. Returns a function that lights up one step's arrows.
 *
 * @param {HTMLElement} place
 */
export function draw(place) {
  const groups = new Map();
  const children = [];
  let y = TOP;
  for (const [id, arrows] of STEPS) {
    const height = arrows.length * ROW;
    groups.set(id, svg("g", { class: "step" },
      svg("rect", { class: "band", x: 1, y: y + 1, width: 358, height: height + 3, rx: 8 }),
      ...arrows.map((one, number) => arrow(one, y + 20 + number * ROW))));
    y += height + 7;
  }
  const height = y + 6;
  for (const [name, x] of Object.entries(LANES)) {
    children.push(
      svg("path", { class: "lane", d: `M${x} 30V${height}` }),
      svg("text", { class: "lane-name", x, y: 18, "text-anchor": "middle" }, name[0].toUpperCase() + name.slice(1)));
  }
  const bands = [...groups.values()].map((group) => group.firstChild);
  const picture = svg("svg", { viewBox: `0 0 360 ${height}`, role: "img" }, ...bands, ...children, ...groups.values());
  place.append(picture);
  const order = STEPS.map(([id]) => id);
  return (id, title) => {
    picture.setAttribute("aria-label", `What travels between browser, edge and origin. Now: ${title}.`);
    const now = order.indexOf(id);
    order.forEach((one, number) => {
      const state = number < now ? "done" : number === now ? "now" : "later";
      groups.get(one).setAttribute("class", `step ${state}`);
      bands[number].setAttribute("class", `band ${state}`);
    });
  };
}
