// Live updates, and keys of the page of episodes. The rest is htmx.
"use strict";

const live = document.getElementById("live");
const stream = new EventSource(document.currentScript.dataset.events);
let seen = document.body.dataset.version; // what changed while the page was on its way is a change, too
stream.addEventListener("open", () => { live.textContent = "live"; });
stream.addEventListener("error", () => { live.textContent = "not connected"; });
stream.addEventListener("changed", (event) => {
  if (event.data !== seen) htmx.trigger(document.body, "changed");
  seen = event.data;
});
window.addEventListener("pagehide", () => stream.close());

// Say the new number of episodes: a live region that is swapped in with its text is not read out.
document.addEventListener("htmx:afterSettle", () => {
  const title = document.getElementById("rows-title");
  if (title) document.getElementById("said").textContent = title.textContent;
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input, textarea, select")) return;
  const link = document.getElementById({ j: "next", k: "previous" }[event.key]);
  if (link) link.click();
});
