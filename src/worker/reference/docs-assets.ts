// What the page of the reference is served with: its style sheet, its script, and the policy that allows these two and nothing else.

export const DOCS_STYLE = `
:root {
  color-scheme: light dark;
  --text: light-dark(#1c2330, #dfe4ec);
  --quiet: light-dark(#5a6577, #9aa5b6);
  --page: light-dark(#ffffff, #12161d);
  --panel: light-dark(#f5f7fa, #1a2029);
  --line: light-dark(#dfe4ec, #2c3440);
  --accent: light-dark(#0b5cad, #7db8f5);
  --get: light-dark(#1a6d3c, #74d69b);
  --put: light-dark(#8a5300, #eabd6b);
  --post: light-dark(#0b5cad, #7db8f5);
  --patch: light-dark(#6b3fa0, #c3a2ee);
  --delete: light-dark(#ad1f2d, #f59aa3);
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "DejaVu Sans Mono", Menlo, Consolas, monospace;
}
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body {
  margin: 0; background: var(--page); color: var(--text);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .25rem; letter-spacing: -.015em; }
h2 { font-size: 1.35rem; margin: 3.5rem 0 .25rem; padding-bottom: .4rem; border-bottom: 1px solid var(--line); }
h3 { font-size: 1.1rem; margin: 0; }
h4 { font-size: .8rem; margin: 1.4rem 0 .4rem; color: var(--quiet); text-transform: uppercase; letter-spacing: .06em; }
p { margin: .6rem 0; max-width: 46rem; }
code, pre { font-family: var(--mono); font-size: .86em; }
code { overflow-wrap: anywhere; }
p code, td code, li code { background: var(--panel); border-radius: .25rem; padding: .1em .3em; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: .4rem; padding: .75rem .9rem; margin: .4rem 0; overflow-x: auto; line-height: 1.5; }
pre code { overflow-wrap: normal; }
.skip { position: absolute; left: -99rem; }
.skip:focus { left: 1rem; top: 1rem; z-index: 1; background: var(--page); padding: .5rem; }
.frame { display: grid; grid-template-columns: 17rem minmax(0, 1fr); max-width: 84rem; margin: 0 auto; }
nav { position: sticky; top: 0; height: 100vh; overflow-y: auto; padding: 1.75rem 1rem 2rem 1.5rem; border-right: 1px solid var(--line); font-size: .9rem; }
nav h2 { font-size: .75rem; margin: 1.3rem 0 .3rem; padding: 0; border: 0; color: var(--quiet); text-transform: uppercase; letter-spacing: .06em; }
nav ul { list-style: none; margin: 0; padding: 0; }
nav li a { display: flex; align-items: baseline; gap: .5rem; padding: .2rem .4rem; border-radius: .3rem; color: var(--text); }
nav li a:hover { background: var(--panel); text-decoration: none; }
nav .home { font-weight: 650; font-size: 1rem; color: var(--text); }
nav .method { width: 3.4rem; flex: none; font-size: .72rem; padding: 0; border: 0; text-align: left; }
nav input { width: 100%; margin-top: .9rem; padding: .4rem .6rem; font: inherit; color: inherit; background: var(--page); border: 1px solid var(--line); border-radius: .35rem; }
main { padding: 1.75rem 2.5rem 5rem; min-width: 0; }
.quiet { color: var(--quiet); }
.lead { font-size: 1.1rem; color: var(--quiet); margin: 0 0 1.2rem; }
.operation, .schema { padding: 1.7rem 0 1.5rem; border-bottom: 1px solid var(--line); }
.operation:last-child, .schema:last-child { border-bottom: 0; }
.operation header { display: flex; flex-wrap: wrap; align-items: center; gap: .5rem .7rem; }
.operation header h3 { font-family: var(--mono); font-size: 1rem; font-weight: 600; overflow-wrap: anywhere; }
.operation header h3 a { color: inherit; }
.method { font-family: var(--mono); font-size: .78rem; font-weight: 700; border: 1px solid; border-radius: .3rem; padding: .05rem .4rem; }
.get { color: var(--get); } .put { color: var(--put); } .post { color: var(--post); } .patch { color: var(--patch); } .delete { color: var(--delete); }
.summary { font-size: 1.05rem; font-weight: 600; margin: .5rem 0 .2rem; }
.tag { font-size: .75rem; color: var(--quiet); border: 1px solid var(--line); border-radius: 1rem; padding: .05rem .55rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { text-align: left; font-weight: 600; font-size: .78rem; color: var(--quiet); padding: .3rem .75rem .3rem 0; border-bottom: 1px solid var(--line); }
td { vertical-align: top; padding: .45rem .75rem .45rem 0; border-bottom: 1px solid var(--line); }
tr:last-child td { border-bottom: 0; }
td:first-child { white-space: nowrap; }
td p { margin: 0; }
.required { color: var(--delete); font-size: .75rem; white-space: nowrap; }
.bounds { color: var(--quiet); font-size: .85em; }
.status { font-family: var(--mono); font-weight: 700; }
.status-2, .status-1 { color: var(--get); } .status-4 { color: var(--put); } .status-5 { color: var(--delete); }
details { margin: .5rem 0; }
summary { cursor: pointer; color: var(--accent); font-size: .9rem; padding: .2rem 0; width: fit-content; }
dl { margin: .5rem 0; } dt { margin-top: .9rem; } dt code { font-weight: 700; } dd { margin: 0; }
[hidden] { display: none !important; }
@media (max-width: 60rem) {
  .frame { display: block; }
  nav { position: static; height: auto; border-right: 0; border-bottom: 1px solid var(--line); padding: 1.25rem 1rem; }
  nav .groups { columns: 2 10rem; column-gap: 1rem; margin-top: 1rem; }
  nav section { break-inside: avoid; padding-bottom: 1rem; }
  nav h2 { margin-top: 0; }
  nav li a { padding: .3rem 0; gap: .35rem; font-size: .84rem; overflow-wrap: anywhere; }
  nav .method { width: 2.7rem; font-size: .68rem; }
  main { padding: 1.25rem 1rem 4rem; }
}
@media (max-width: 40rem) {
  thead { position: absolute; left: -99rem; }
  table, tbody, tr, td { display: block; }
  tr { padding: .55rem 0; border-bottom: 1px solid var(--line); }
  tr:last-child { border-bottom: 0; }
  td { border: 0; padding: .08rem 0; }
  td:first-child { white-space: normal; }
  td:empty { display: none; }
  td[data-label]:not(:empty)::before { content: attr(data-label) ": "; color: var(--quiet); }
}
@media print {
  nav { display: none; }
  .frame { display: block; }
  pre { white-space: pre-wrap; }
}
`;

/** Shows the filter box, which without a script would do nothing, and hides what does not have the words that are typed. */
export const DOCS_SCRIPT = `
const box = document.querySelector("#filter");
const parts = [...document.querySelectorAll("[data-words]")];
box.hidden = false;
box.addEventListener("input", () => {
  const words = box.value.toLowerCase().split(/\\s+/).filter(Boolean);
  for (const part of parts) part.hidden = !words.every((word) => part.dataset.words.includes(word));
  for (const group of document.querySelectorAll("[data-group]")) group.hidden = !group.querySelector("[data-words]:not([hidden])");
});
`;

// A hash changes with every character of its text; the test of the page names the new one.
const STYLE_HASH = "sha256-emrvaeWBQoQG/qVzuxEHBUe31Fga0fIIXoGHy36XdeQ=";
const SCRIPT_HASH = "sha256-8XwnAuZFHl6LejzecSWlYGuTQ+XXKIKDMF1tG0qVIt0=";

/** The Content-Security-Policy of the page. */
export const DOCS_POLICY = [
  "default-src 'none'",
  `style-src '${STYLE_HASH}'`,
  `script-src '${SCRIPT_HASH}'`,
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");
