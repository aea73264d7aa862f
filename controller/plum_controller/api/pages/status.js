// The status page: lists each kind once, then follows its watch. Text reaches the page only as text, never as markup.
//
//   list -> objects by key -> render once per frame
//   watch (resumed from the last revision; a 410 lists again) -> objects by key

const KINDS = {
  deployments: { path: "/apis/plum.dev/v1/deployments", row: deploymentRow },
  instances: { path: "/apis/plum.dev/v1/instances", row: instanceRow },
  nodes: { path: "/apis/plum.dev/v1/nodes", row: nodeRow },
  events: { path: "/api/v1/events", row: eventRow, order: newestFirst, most: 100 },
};
const MOST_ROWS = 500;
const PHASES = {
  Running: "good", Succeeded: "good", Pending: "wait", Scheduled: "wait", Preparing: "wait", Starting: "wait", Stopping: "wait",
  Stopped: "idle", Failed: "bad", Unknown: "bad",
};

const state = Object.fromEntries(Object.keys(KINDS).map((name) => [name, { objects: new Map(), live: false }]));
const namespace = document.getElementById("namespace");
let drawn = false;

namespace.addEventListener("change", draw);
for (const name of Object.keys(KINDS)) follow(name);
setInterval(draw, 10000);
fetch("/version").then((answer) => answer.json()).then((version) => {
  document.getElementById("version").textContent = `Plum ${version.plumVersion} on ${version.platform}, speaks Kubernetes ${version.gitVersion}`;
}).catch(() => {});

async function follow(name) {
  let wait = 250;
  for (;;) {
    try {
      let revision = await list(name);
      wait = 250;
      setLive(name, true);
      while (revision) revision = await watch(name, revision);
    } catch (error) {
      setLive(name, false);
    }
    await new Promise((resolve) => setTimeout(resolve, wait * (0.7 + Math.random() * 0.6)));
    wait = Math.min(wait * 2, 10000);
  }
}

async function list(name) {
  const answer = await fetch(KINDS[name].path);
  if (!answer.ok) throw new Error(`${answer.status}`);
  const body = await answer.json();
  state[name].objects = new Map(body.items.map((item) => [keyOf(item), item]));
  draw();
  return body.metadata.resourceVersion;
}

// Follows changes until the server ends the watch; answers with the revision to go on from, or "" when it must list again.
async function watch(name, since) {
  const query = new URLSearchParams({ watch: "true", allowWatchBookmarks: "true", resourceVersion: since });
  const answer = await fetch(`${KINDS[name].path}?${query}`);
  if (!answer.ok) throw new Error(`${answer.status}`);
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let revision = since;
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return revision;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const event = JSON.parse(line);
      if (event.type === "ERROR") return event.object.code === 410 ? "" : revision;
      revision = event.object.metadata.resourceVersion;
      if (event.type === "DELETED") state[name].objects.delete(keyOf(event.object));
      else if (event.type !== "BOOKMARK") state[name].objects.set(keyOf(event.object), event.object);
    }
    draw();
  }
}

function setLive(name, live) {
  state[name].live = live;
  const broken = Object.values(state).some((kind) => !kind.live);
  const link = document.getElementById("link");
  link.textContent = broken ? "no connection: what is shown may be old" : "live";
  link.className = broken ? "broken" : "";
}

function keyOf(object) {
  return `${object.metadata.namespace || ""}/${object.metadata.name}`;
}

function draw() {
  if (drawn) return;
  drawn = true;
  requestAnimationFrame(() => {
    drawn = false;
    drawNamespaces();
    for (const [name, kind] of Object.entries(KINDS)) drawKind(name, kind);
  });
}

function drawNamespaces() {
  const names = new Set();
  for (const name of ["deployments", "instances", "events"]) {
    for (const object of state[name].objects.values()) names.add(object.metadata.namespace);
  }
  const wanted = ["", ...[...names].sort()];
  const shown = [...namespace.options].map((option) => option.value);
  if (wanted.join() === shown.join() || !wanted.includes(namespace.value)) return;
  const chosen = namespace.value;
  namespace.replaceChildren(...wanted.map((value) => new Option(value || "all", value, false, value === chosen)));
}

function drawKind(name, kind) {
  const chosen = namespace.value;
  let objects = [...state[name].objects.values()];
  if (chosen) objects = objects.filter((object) => !object.metadata.namespace || object.metadata.namespace === chosen);
  objects.sort(kind.order || byKey);
  const shown = objects.slice(0, kind.most || MOST_ROWS);
  document.getElementById(`${name}-count`).textContent = objects.length > shown.length ? `${shown.length} of ${objects.length}` : `${objects.length}`;
  const body = document.getElementById(name);
  if (!shown.length) {
    const cell = element("td", "none", "empty");
    cell.colSpan = 8;
    body.replaceChildren(row([cell]));
    return;
  }
  body.replaceChildren(...shown.map((object) => row(kind.row(object))));
}

function deploymentRow(object) {
  const spec = object.spec || {}, status = object.status || {};
  const stopped = spec.state === "Stopped";
  const wanted = stopped ? 0 : spec.nodeReplicas ? Object.values(spec.nodeReplicas).reduce((sum, count) => sum + count, 0) : spec.replicas ?? 1;
  const seen = (status.observedGeneration || 0) >= (object.metadata.generation || 0);
  const ready = status.readyReplicas || 0;
  const settled = seen && ready === wanted && (status.replicas || 0) === wanted;
  const word = object.metadata.deletionTimestamp ? "Deleting" : stopped && settled ? "Stopped" : settled ? "Running" : spec.paused ? "Paused" : "Changing";
  return [
    name(object), badge(word, { Running: "good", Stopped: "idle", Paused: "idle" }[word] || "wait"), count(wanted),
    count(status.replicas || 0, wanted), count(ready, wanted), count(status.updatedReplicas || 0, wanted), why(settled ? "" : waitsFor(status)), age(object.metadata.creationTimestamp),
  ];
}

function instanceRow(object) {
  const spec = object.spec || {}, status = object.status || {};
  const phase = status.phase || "Pending";
  const wanted = object.metadata.deletionTimestamp ? "Deleted" : spec.state || "Running";
  const fine = phase === wanted && (phase !== "Running" || status.ready);
  return [
    name(object), element("td", wanted), badge(phase === "Running" && !status.ready ? "Running, not ready" : phase, phase === "Running" && !status.ready ? "wait" : PHASES[phase] || "wait"),
    element("td", spec.nodeName || "—", "where"), element("td", status.pid || "", "number"), element("td", status.restarts || 0, "number"),
    why(fine ? "" : status.message || waitsFor(status)), age(object.metadata.creationTimestamp),
  ];
}

function nodeRow(object) {
  const spec = object.spec || {}, status = object.status || {};
  const ready = (status.conditions || []).find((condition) => condition.type === "Ready");
  const word = !ready ? "Not seen yet" : ready.status === "True" ? "Ready" : ready.status === "Unknown" ? "Lost" : "Not ready";
  const capacity = status.capacity ? `${status.capacity.cpu ?? "?"} cpu, ${status.capacity.memory ?? "?"}` : "";
  const labels = Object.entries(object.metadata.labels || {}).map(([key, value]) => `${key}=${value}`).join(" ");
  return [
    name(object), element("td", spec.drain ? "Drained" : spec.unschedulable ? "Cordoned" : "Schedulable"), badge(word, word === "Ready" ? "good" : "bad"),
    element("td", capacity), element("td", labels), why(word === "Ready" ? "" : ready ? ready.message : ""), age(object.metadata.creationTimestamp),
  ];
}

function eventRow(object) {
  const involved = object.involvedObject || {};
  return [
    age(lastSeen(object)), badge(object.type || "", object.type === "Warning" ? "bad" : "idle"), element("td", object.reason || ""),
    element("td", `${(involved.kind || "").toLowerCase()}/${involved.name || ""}`), element("td", object.message || ""), element("td", object.count || 1, "number"),
  ];
}

function waitsFor(status) {
  const order = ["Failed", "Progressing", "Scheduled", "Prepared", "Started", "Ready", "Available"];
  const open = (status.conditions || []).filter((condition) => condition.status !== "True" && condition.message);
  open.sort((left, right) => order.indexOf(left.type) - order.indexOf(right.type));
  if (open.length) return `${open[0].reason}: ${open[0].message}`;
  const progressing = (status.conditions || []).find((condition) => condition.type === "Progressing");
  return progressing ? progressing.message || progressing.reason : "";
}

function lastSeen(object) {
  return (object.series && object.series.lastObservedTime) || object.lastTimestamp || object.eventTime || object.metadata.creationTimestamp;
}
function newestFirst(left, right) { return Date.parse(lastSeen(right)) - Date.parse(lastSeen(left)) || byKey(left, right); }
function byKey(left, right) { return keyOf(left) < keyOf(right) ? -1 : 1; }

function element(tag, text, className) {
  const made = document.createElement(tag);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}
function row(cells) {
  const made = document.createElement("tr");
  made.append(...cells);
  return made;
}
function name(object) {
  const showsNamespace = !namespace.value && object.metadata.namespace && object.metadata.namespace !== "default";
  return element("td", showsNamespace ? `${object.metadata.namespace}/${object.metadata.name}` : object.metadata.name, "name");
}
function badge(word, look) {
  const cell = document.createElement("td");
  cell.append(element("span", word, `badge ${look}`));
  return cell;
}
function count(value, wanted) { return element("td", value, wanted !== undefined && value !== wanted ? "number differs" : "number"); }
function why(text) { return element("td", text || "", "why"); }
function age(time) {
  const seconds = Math.max(0, Math.floor((Date.now() - Date.parse(time)) / 1000));
  if (Number.isNaN(seconds)) return element("td", "");
  const text = seconds < 120 ? `${seconds}s` : seconds < 7200 ? `${Math.floor(seconds / 60)}m` : seconds < 172800 ? `${Math.floor(seconds / 3600)}h` : `${Math.floor(seconds / 86400)}d`;
  const cell = element("td", text);
  cell.title = time;
  return cell;
}
