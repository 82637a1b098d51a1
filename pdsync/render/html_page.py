"""The parts of the plan's page that are not data: its style, its script, its frame.

The page works offline, loads nothing and sends nothing: the policy in its head allows this style and this script, known
by their digests, and no other.  The script puts data into the page as text only.
"""

from __future__ import annotations

from typing import Final

STYLE: Final = """
:root { --bg: #fff; --fg: #1f2328; --soft: #59636e; --line: #d1d9e0; --panel: #f6f8fa; --accent: #0969da;
  --create: #1a7f37; --update: #9a6700; --delete: #cf222e; --quiet: #0550ae; }
@media (prefers-color-scheme: dark) { :root { --bg: #0d1117; --fg: #e6edf3; --soft: #9198a1; --line: #3d444d;
  --panel: #151b23; --accent: #4493f8; --create: #3fb950; --update: #d29922; --delete: #f85149; --quiet: #79c0ff; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--fg); font: 14px/1.5 system-ui, sans-serif; }
main, header { max-width: 72rem; margin: 0 auto; padding: 0 1.25rem; }
header { padding-top: 1.5rem; }
h1 { font-size: 1.35rem; margin: 0 0 .25rem; }
h2 { font-size: 1rem; margin: 1.5rem 0 .5rem; }
.base { color: var(--soft); margin: 0 0 1rem; overflow-wrap: anywhere; }
.counts { display: flex; flex-wrap: wrap; gap: .5rem; margin: 0 0 1rem; padding: 0; list-style: none; }
.counts li { background: var(--panel); border: 1px solid var(--line); border-radius: 6px; padding: .35rem .75rem; }
.counts b { font-size: 1.1rem; margin-right: .3rem; }
.notes { margin: 0; padding-left: 1.2rem; }
.notes li { overflow-wrap: anywhere; }
.many > summary { cursor: pointer; } .many h2 { display: inline-block; }
.filters { position: sticky; top: 0; background: var(--bg); border-bottom: 1px solid var(--line); padding: .75rem 0;
  display: flex; flex-wrap: wrap; gap: .5rem; align-items: center; z-index: 1; }
.filters input, .filters select { font: inherit; color: inherit; background: var(--panel); padding: .35rem .6rem;
  border: 1px solid var(--line); border-radius: 6px; }
.filters input { flex: 1 1 16rem; min-width: 10rem; }
.shown { color: var(--soft); margin-left: auto; }
.change { border-bottom: 1px solid var(--line); }
.change > summary { display: flex; gap: .6rem; padding: .35rem 0; cursor: pointer; align-items: baseline; }
.change > summary::-webkit-details-marker { display: none; }
.number { color: var(--soft); min-width: 4ch; text-align: right; font-variant-numeric: tabular-nums; }
.symbol { font: 700 1rem/1 ui-monospace, monospace; width: 1ch; }
.key { font-family: ui-monospace, monospace; font-size: .85rem; overflow-wrap: anywhere; flex: 0 1 auto;
  min-width: min(24ch, 45%); }
.title { flex: 1 1 0; min-width: 8ch; overflow: hidden; overflow-wrap: anywhere; display: -webkit-box;
  -webkit-box-orient: vertical; -webkit-line-clamp: 3; }
[open] > summary .title { display: inline; }
.why { color: var(--soft); margin-left: auto; max-width: 45%; min-width: 12ch; text-align: right; }
@media (max-width: 40rem) { .change > summary { flex-wrap: wrap; }
  .why { flex-basis: 100%; max-width: none; text-align: left; } }
.create { color: var(--create); } .update, .release { color: var(--update); } .delete { color: var(--delete); }
.adopt, .forget, .rename { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; margin: .25rem 0 1rem; font-size: .85rem; }
td, th { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-top: 1px solid var(--line); }
td { font-family: ui-monospace, monospace; overflow-wrap: anywhere; white-space: pre-wrap; max-width: 26rem; }
td.place { color: var(--soft); }
td.inside span { display: block; } .added { color: var(--create); } .gone { color: var(--delete); }
.more { margin: 1rem 0 3rem; font: inherit; color: var(--accent); background: none; border: 1px solid var(--line);
  border-radius: 6px; padding: .4rem .8rem; cursor: pointer; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
"""

SCRIPT: Final = """
"use strict";
const plan = JSON.parse(document.getElementById("plan").textContent);
const SYMBOLS = plan.symbols, STEP = 200;
const [N, ACTION, NAME, BLUEPRINT, TITLE, CAUSE, WHY, FIELDS, WHOSE, CAUSES] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const list = document.getElementById("changes"), more = document.getElementById("more");
const controls = ["text", "action", "cause", "blueprint", "whose"].map((id) => document.getElementById(id));
const make = (tag, text, name) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
};
for (const [control, values] of [
  [controls[1], plan.changes.map((change) => change[ACTION])],
  [controls[2], plan.changes.flatMap((change) => change[CAUSES])],
  [controls[3], plan.changes.map((change) => change[BLUEPRINT])],
  [controls[4], plan.changes.map((change) => change[WHOSE]).filter(Boolean)],
]) {
  control.hidden = control.id === "whose" && values.length === 0;
  for (const value of [...new Set(values)].sort()) {
    const option = make("option", value);
    option.value = value;
    control.append(option);
  }
}
const haystack = new Map();
const words = (change) => {
  if (!haystack.has(change)) {
    const fields = change[FIELDS].flatMap((field) => [field[0], field[1], field[2]]);
    haystack.set(change, [change[NAME], change[TITLE], ...fields].join("\\n").toLowerCase());
  }
  return haystack.get(change);
};
const row = (change) => {
  const details = make("details", undefined, "change"), summary = make("summary");
  const action = change[ACTION];
  summary.append(
    make("span", change[N] ? "#" + change[N] : "", "number"),
    make("span", SYMBOLS[action], "symbol " + action),
    make("span", change[NAME], "key"),
    make("span", change[TITLE], "title"),
    make("span", [change[WHOSE], change[CAUSE], change[WHY]].filter(Boolean).join(" \\u00b7 "), "why"),
  );
  summary.setAttribute("aria-label", action + " " + change[NAME]);
  details.append(summary);
  details.addEventListener("toggle", () => details.childElementCount > 1 || details.append(table(change)));
  return details;
};
const MARKS = { "+": "added", "-": "gone" };
const difference = (lines) => {
  const cell = make("td", undefined, "inside");
  cell.colSpan = 2;
  cell.append(...lines.map((text) => make("span", text, MARKS[text[0]])));
  return cell;
};
const table = (change) => {
  const whole = make("table"), head = make("tr");
  for (const name of ["field", "before", "after", "cause", "where"]) head.append(make("th", name));
  whole.append(head);
  for (const field of change[FIELDS]) {
    const line = make("tr");
    const [path, before, after, cause, place, inside] = field;
    line.append(make("td", path));
    if (inside.length) line.append(difference(inside));
    else line.append(make("td", before), make("td", after));
    line.append(make("td", cause, "place"), make("td", place, "place"));
    whole.append(line);
  }
  return whole;
};
let found = [], drawn = 0;
const draw = () => {
  list.append(...found.slice(drawn, drawn + STEP).map(row));
  drawn = Math.min(found.length, drawn + STEP);
  more.hidden = drawn >= found.length;
  more.textContent = "Show more (" + (found.length - drawn).toLocaleString() + ")";
};
const filter = () => {
  const [text, action, cause, blueprint, whose] = controls.map((control) => control.value);
  const wanted = text.toLowerCase().split(/\\s+/).filter(Boolean);
  found = plan.changes.filter((change) =>
    (!action || change[ACTION] === action) && (!blueprint || change[BLUEPRINT] === blueprint) &&
    (!cause || change[CAUSES].includes(cause)) && (!whose || change[WHOSE] === whose) &&
    wanted.every((word) => words(change).includes(word)));
  list.replaceChildren();
  if (!found.length) list.append(make("p", plan.changes.length ? "Nothing matches." : "No changes.", "base"));
  drawn = 0;
  draw();
  document.getElementById("shown").textContent =
    found.length.toLocaleString() + " of " + plan.changes.length.toLocaleString();
};
let waiting;
controls[0].addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
controls.slice(1).forEach((control) => control.addEventListener("change", filter));
more.addEventListener("click", draw);
new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && !more.hidden && draw()).observe(more);
filter();
"""

PAGE: Final = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src {style_digest}; \
script-src {script_digest}; base-uri 'none'; form-action 'none'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
<p class="base">{base}</p>
<ul class="counts">{counts}</ul>
{notes}
</header>
<main>
<noscript><p>Without scripts this page shows no changes; <code>pdsync show</code> prints the same plan.</p></noscript>
<div class="filters" role="search">
<input id="text" type="search" placeholder="Search names, titles, fields, values" aria-label="Search">
<select id="action" aria-label="Action"><option value="">every action</option></select>
<select id="cause" aria-label="Cause"><option value="">every cause</option></select>
<select id="blueprint" aria-label="Blueprint"><option value="">every blueprint</option></select>
<select id="whose" aria-label="Whose doing"><option value="">branch and rest</option></select>
<span class="shown" id="shown" role="status"></span>
</div>
<div id="changes"></div>
<button class="more" id="more" type="button" hidden>Show more</button>
</main>
<script type="application/json" id="plan">{data}</script>
<script>{script}</script>
</body>
</html>
"""
