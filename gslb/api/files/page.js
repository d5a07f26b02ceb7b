// The live state of one node: /v1/status every few seconds and at once after a change, and the changes as they come.
// All that is shown is set as text, never as markup.
"use strict";

const EVERY_MS = 3000;
const CHANGES = 30;
const SVG = "http://www.w3.org/2000/svg";
const at = (id) => document.getElementById(id);

function element(name, { text, kind, label, title } = {}, ...children) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  if (label) made.dataset.label = label;
  if (title) made.title = title;
  made.append(...children);
  return made;
}

const percent = (share) => `${(share * 100).toFixed(share < 0.1 ? 1 : 0)} %`;

function lasting(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= 2 * size) return `${Math.round(seconds / size)} ${unit}`;
  }
  return `${Math.round(seconds)} s`;
}

function bar(load) {
  const drawn = document.createElementNS(SVG, "svg");
  const top = Math.max(1, load.share ?? 0, load.hard ?? 0);
  const part = (x, width, kind) => {
    const rect = document.createElementNS(SVG, "rect");
    const of = { x: (x / top) * 100, y: 0, width: Math.max(0, width), height: 8, class: kind };
    for (const [name, value] of Object.entries(of)) rect.setAttribute(name, value);
    drawn.append(rect);
  };
  drawn.setAttribute("viewBox", "0 0 100 8");
  drawn.setAttribute("preserveAspectRatio", "none");
  drawn.setAttribute("class", "bar");
  drawn.setAttribute("aria-hidden", "true");
  part(0, 100, "back");
  if (load.share !== null && load.share !== undefined) {
    const over = load.over ? ` ${load.over}` : "";
    part(0, (load.share / top) * 100, `load${over}${load.stale ? " stale" : ""}`);
  }
  part(load.soft, 0.6, "mark");
  part(load.hard, 1.6, "mark");
  return drawn;
}

function loadCell(load) {
  const cell = element("td", { label: "Load" });
  if (!load) return cell;
  const known = load.share !== null && load.share !== undefined;
  const words = known ? `${percent(load.share)}${load.over ? ` over ${load.over}` : ""}${load.stale ? `, ${lasting(load.age_s)} old` : ""}` : "not known";
  const marks = `soft ${percent(load.soft)}${load.auto ? " (auto)" : ""}, hard ${percent(load.hard)}`;
  cell.append(element("span", { text: words, title: marks, kind: load.stale ? "warn" : "" }), bar(load));
  return cell;
}

function stateCell(pool) {
  const kinds = { up: "good", degraded: "warn", down: "bad" };
  const words = pool.checked ? pool.true_state : "not checked";
  const cell = element("td", { label: "State" }, element("span", { text: words, kind: kinds[words] ?? "faint" }));
  if (pool.override) cell.append(element("div", { text: `forced: ${pool.override}`, kind: "warn" }));
  if (pool.out) cell.append(element("div", { text: pool.out.held ? "held out" : "out of answers", kind: "warn" }));
  if (!pool.answered) cell.append(element("div", { text: "in no answer", kind: "faint" }));
  return cell;
}

function targetsCell(targets) {
  const cell = element("td", { label: "Targets" });
  const down = targets.filter((one) => one.health === "down");
  const ejected = targets.filter((one) => one.ejected_s);
  if (targets.length) cell.append(element("div", { text: `${targets.length - down.length} of ${targets.length} up` }));
  for (const one of down.slice(0, 4)) {
    cell.append(element("div", { text: `${one.address}: ${one.why || "down"}`, kind: "bad" }));
  }
  if (down.length > 4) cell.append(element("div", { text: `and ${down.length - 4} more`, kind: "bad" }));
  for (const one of ejected.slice(0, 4)) {
    cell.append(element("div", { text: `${one.address}: ejected for ${lasting(one.ejected_s)}`, kind: "warn" }));
  }
  return cell;
}

function poolRow(pool, first) {
  const sheds = element("td", { label: "Sheds" });
  if (pool.shed && pool.shed.level >= 0.0005) {
    const to = pool.shed.to?.length ? ` to ${pool.shed.to.join(", ")}` : "";
    sheds.append(element("span", { text: `${percent(pool.shed.level)} (${pool.shed.cause})${to}`, kind: "warn" }));
  }
  return element("tr", {},
    element("td", { text: first ? pool.site : "", label: first ? "Site" : "" }),
    element("td", { text: pool.name, label: "Pool" }),
    stateCell(pool), loadCell(pool.load), sheds, targetsCell(pool.targets ?? []));
}

function overrideItem(one, now) {
  const until = one.until === null ? "until ended" : `for ${lasting(Math.max(0, one.until - now))} more`;
  const state = `${one.state}${one.holds ? "" : " (expired)"}${one.known === false ? " (no such target)" : ""}`;
  return element("li", { text: `${one.target}: ${state} by ${one.who}, ${until}: ${one.why}` });
}

function fill(id, items, nothing) {
  at(id).replaceChildren(...(items.length ? items : [element("li", { text: nothing, kind: "faint" })]));
}

function nodeRow(one) {
  const heard = one.alive ? "alive" : one.heard_s === null ? "never heard" : `not heard for ${lasting(one.heard_s)}`;
  const state = element("td", { label: "State" },
    element("span", { text: one.this ? "this node" : heard, kind: one.alive ? "good" : "bad" }));
  if (typeof one.blind_s === "number") state.append(element("div", { text: `blind for ${lasting(one.blind_s)}`, kind: "warn" }));
  if (one.stranger) state.append(element("div", { text: "not in the configuration", kind: "warn" }));
  const version = one.config_version ? `version ${one.config_version}` : "own file";
  const configuration = element("td", { label: "Configuration" });
  if (one.config) {
    const text = `${one.other_config ? "another: " : ""}${version} (${one.config.slice(0, 8)})`;
    configuration.append(element("span", { text, kind: one.other_config ? "warn" : "" }));
  }
  const skewed = Math.abs(one.skew_s ?? 0) >= 0.5;
  const clock = skewed ? `${Math.abs(one.skew_s).toFixed(1)} s ${one.skew_s > 0 ? "ahead" : "behind"}` : "";
  return element("tr", {},
    element("td", { text: one.site, label: "Site" }),
    element("td", { text: one.node, label: "Node" }),
    state, configuration,
    element("td", { text: one.plan ? `${one.plan_version} ${one.plan.slice(0, 8)}` : "", label: "Plan" }),
    element("td", { text: clock, label: "Clock", kind: skewed ? "warn" : "" }));
}

function showCompany(sharing, now) {
  at("company").hidden = !sharing;
  if (!sharing) return;
  const since = lasting(Math.max(0, now - sharing.bus.since));
  const keys = sharing.bus.keys_why ? `; its keys cannot be reached: ${sharing.bus.keys_why}` : "";
  at("bus").textContent = sharing.bus.connected
    ? `bus ${sharing.bus.server}, connected for ${since}${keys}`
    : `no bus for ${since}: what other nodes say is as old (${sharing.bus.why})`;
  at("bus").className = sharing.bus.connected && !keys ? "" : "bad";
  at("nodes").replaceChildren(...sharing.nodes.map(nodeRow));
}

function routeRow(one, now) {
  const kinds = { announced: "good", drain: "warn", off: "faint" };
  const state = element("td", { label: "State" }, element("span", { text: one.state, kind: kinds[one.state] ?? "" }),
    element("div", { text: `for ${lasting(Math.max(0, now - one.since))}`, kind: "faint" }));
  if (!one.acked) state.append(element("div", { text: "not acknowledged", kind: "warn" }));
  const why = element("td", { text: one.why, label: "Why" });
  if (one.veto) why.append(element("div", { text: `kept: ${one.veto}`, kind: "bad" }));
  if (one.on_lo === false) why.append(element("div", { text: "its address is not on lo", kind: "bad" }));
  const routers = element("td", { label: "Routers" });
  for (const look of one.in_router) {
    routers.append(element("div", { text: `${look.neighbor}: ${look.standing}`, kind: look.standing === "used" ? "" : "warn" }));
  }
  return element("tr", {}, element("td", { text: one.prefix, label: "Prefix" }), state, why,
    element("td", { text: one.sites.join(", ") || "nowhere", label: "Elsewhere", kind: one.sites.length ? "" : "warn" }), routers);
}

function showRoutes(state, now) {
  at("routing").hidden = !state;
  if (!state) return;
  fill("neighbors", state.neighbors.map((one) => {
    const lasts = one.since === null ? "" : ` for ${lasting(Math.max(0, now - one.since))}`;
    const more = one.up ? `${one.routes} route${one.routes === 1 ? "" : "s"}` : one.reason || "no answer";
    return element("li", { text: `router ${one.address} (AS ${one.as}): ${one.up ? "up" : "down"}${lasts}; ${more}`, kind: one.up ? "" : "bad" });
  }), "no router");
  at("routes").replaceChildren(...state.prefixes.map((one) => routeRow(one, now)));
}

function arrivalItem(one) {
  const what = one.source === "dns" ? "answers" : "new connections";
  const rate = one.per_s === null ? "rate not known yet" : `${one.per_s} ${what}/s`;
  const checks = one.checks_per_s ? ` (${one.checks_per_s} are checks of other sites)` : "";
  const quiet = one.quiet_s ? `${checks}, ${checks ? "no others" : "none"} for ${lasting(one.quiet_s)}` : checks;
  return element("li", { text: `${one.what} ${one.name}: ${one.unknown ? `not known: ${one.unknown}` : rate + quiet}` });
}

function showDrain(state) {
  at("drain").hidden = !state;
  if (!state) return;
  at("draining").textContent = state.safe
    ? `site ${state.site}: nothing new comes: safe to stop gslb here`
    : `site ${state.site}: not safe to stop yet: ${state.obstacles.join("; ")}`;
  at("draining").className = state.safe ? "good" : "warn";
  fill("arrivals", state.arrivals.map(arrivalItem), "nothing is counted here");
}

function show(report) {
  at("which").textContent = `${report.deployment}, node ${report.node}, version ${report.version}`;
  const serving = report.generation;
  at("state").textContent = serving
    ? `plan ${serving.plan_version}, ${lasting(serving.plan_age_s)} old; ${report.queries} queries`
    : "nothing is served yet";
  at("state").className = serving ? "" : "bad";
  const problems = Object.entries(report.problems ?? {}).flatMap(([what, lines]) => lines.map((line) => `${what}: ${line}`));
  if (report.blind_since) problems.unshift("blind: no reference target can be reached, so checks do not count");
  at("problems").hidden = !problems.length;
  at("problems").replaceChildren(...problems.map((line) => element("p", { text: line })));
  const sites = Map.groupBy ? Map.groupBy(report.pools, (pool) => pool.site) : grouped(report.pools);
  const rows = [...sites.values()].flatMap((pools) => pools.map((pool, index) => poolRow(pool, index === 0)));
  at("pools").replaceChildren(...rows);
  showCompany(report.sharing, report.now);
  showRoutes(report.announcing, report.now);
  showDrain(report.draining);
  const policies = (report.policies ?? []).map((one) => {
    const modes = Object.entries(one.modes).flatMap(([type, found]) =>
      found.filter((mode) => mode !== "normal").map((mode) => `${type} ${mode}`));
    return element("li", { text: `${one.name}: TTL ${one.ttl} s${modes.length ? `, ${modes.join(", ")}` : ""}` });
  });
  fill("policies", policies, "none");
  fill("overrides", report.overrides.map((one) => overrideItem(one, report.now)), "none");
  const databases = report.geography?.databases ?? [];
  at("attribution").hidden = !databases.some((name) => name.toLowerCase().replaceAll("-", "").includes("dbip"));
}

function grouped(pools) {
  const found = new Map();
  for (const pool of pools) found.set(pool.site, [...(found.get(pool.site) ?? []), pool]);
  return found;
}

const words = (value) => (value === null ? "nothing" : typeof value === "object"
  ? Object.entries(value).map(([name, of]) => `${name} ${Array.isArray(of) ? of.join(" ") : of}`).join(", ") : String(value));

function addChange(change) {
  const when = element("time", { text: new Date(change.time * 1000).toLocaleTimeString() });
  const who = change.who === "gslb" ? "" : ` by ${change.who}`;
  const text = `${change.what} ${change.subject}: ${words(change.before)} \u2192 ${words(change.after)}${who}: ${change.why}`;
  at("changes").prepend(element("li", {}, when, text));
  while (at("changes").children.length > CHANGES) at("changes").lastChild.remove();
}

let asking = false;

async function refresh() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const answer = await fetch("/v1/status", { signal: AbortSignal.timeout(10000) });
    if (!answer.ok) throw new Error((await answer.json()).detail);
    show(await answer.json());
  } catch (error) {
    at("state").textContent = `the node does not answer: ${error.message}`;
    at("state").className = "bad";
  } finally {
    asking = false;
  }
}

const events = new EventSource(`/v1/events?last=${CHANGES}`);
let soon = null;
events.addEventListener("change", (event) => {
  addChange(JSON.parse(event.data));
  if (soon === null) soon = setTimeout(() => { soon = null; refresh(); }, 200);
});
events.addEventListener("gap", () => { at("changes").prepend(element("li", { text: "some changes were missed", kind: "faint" })); });
document.addEventListener("visibilitychange", refresh);
setInterval(refresh, EVERY_MS);
refresh();
