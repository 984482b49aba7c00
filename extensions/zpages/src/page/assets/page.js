"use strict";
// Keeps the page current and draws what follows the pointer. All markup comes from the agent: a refresh fetches the
// page anew and takes over what differs, so that selection, scroll, focus and open details stay as they are.
(() => {
  const EVERY = 2000, GIVE_UP = 5000, LOST_AFTER = 5000, HIDDEN = 10000;
  const live = location.protocol.startsWith("http");
  const root = document.documentElement;
  let heard = performance.now(), failed = 0, title = document.title, report = null, hover = null;

  const readReport = () => {
    report = JSON.parse(document.querySelector('script[type="application/json"]').textContent);
  };

  // Times: the agent writes UTC, people read local time.
  const two = (n) => String(n).padStart(2, "0");
  const zone = () => {
    const east = -new Date().getTimezoneOffset();
    return `UTC${east < 0 ? "-" : "+"}${two(Math.floor(Math.abs(east) / 60))}:${two(Math.abs(east) % 60)}`;
  };
  const day = (d) => `${d.getDate()} ${d.toLocaleString("en", { month: "short" })}`;
  const clock = (d) => `${two(d.getHours())}:${two(d.getMinutes())}`;
  const format = {
    hm: clock,
    hms: (d) => `${clock(d)}:${two(d.getSeconds())}`,
    day,
    moment: (d, now) => {
      if (d.toDateString() === now.toDateString()) return clock(d);
      return `${day(d)} ${d.getFullYear() === now.getFullYear() ? "" : `${d.getFullYear()} `}${clock(d)}`;
    },
  };
  const count = (n) => n.toLocaleString("en", { maximumFractionDigits: Math.abs(n) < 100 ? 1 : 0 });

  // Fits a document to this reader before it is shown: local times, the chosen row, buttons that work here.
  function prepare(page) {
    const now = new Date(Number(page.querySelector("main").dataset.now) * 1000);
    for (const at of page.querySelectorAll("[data-t]")) {
      at.textContent = format[at.dataset.f](new Date(at.dataset.t * 1000), now);
    }
    for (const at of page.querySelectorAll(".zone")) at.textContent = zone();
    for (const button of page.querySelectorAll(".copy")) button.hidden = false;
    choose(page);
  }

  function choose(page) {
    const links = [...page.querySelectorAll(".findings a")];
    const current = links.find((a) => a.hash === location.hash) ?? links[0];
    for (const link of links) {
      link.closest("tr").classList.toggle("current", link === current);
      if (link === current) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
  }

  // Makes `old` equal to `fresh` with as few changes as possible. Elements with an id or data-key keep their identity.
  const key = (node) => node.id || node.dataset?.key || "";
  const alike = (a, b) => a.nodeName === b.nodeName && key(a) === key(b);
  function morph(old, fresh) {
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.data !== fresh.data) old.data = fresh.data;
      return;
    }
    const mine = (name) => old.nodeName === "DETAILS" && name === "open";
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && !mine(name)) old.removeAttribute(name);
    }
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value && !mine(name)) old.setAttribute(name, value);
    }
    const keyed = new Map([...old.children].filter(key).map((child) => [key(child), child]));
    let at = old.firstChild;
    for (const node of [...fresh.childNodes]) {
      const match = key(node) ? keyed.get(key(node)) : at && alike(at, node) ? at : null;
      if (match && alike(match, node)) {
        if (match === at) at = at.nextSibling;
        else old.insertBefore(match, at);
        morph(match, node);
      } else {
        old.insertBefore(document.importNode(node, true), at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  // A selection whose text was replaced collapses; it is put back where it was.
  function keepingSelection(change) {
    const s = getSelection();
    const { anchorNode, anchorOffset, focusNode, focusOffset, isCollapsed } = s;
    change();
    const room = (node) => node?.isConnected ? (node.data ?? node.childNodes).length : -1;
    if (!isCollapsed && room(anchorNode) >= 0 && room(focusNode) >= 0) {
      s.setBaseAndExtent(anchorNode, Math.min(anchorOffset, room(anchorNode)),
        focusNode, Math.min(focusOffset, room(focusNode)));
    }
  }

  async function refresh() {
    try {
      const answer = await fetch(location.pathname, { cache: "no-store", signal: AbortSignal.timeout(GIVE_UP) });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.querySelector("main");
      if (!answer.ok || !fresh) throw new Error(answer.status);
      const script = (from) => from.querySelector("script:not([type])").textContent;
      if (script(page) !== script(document)) return location.reload();  // another version of the agent
      prepare(page);
      keepingSelection(() => {
        for (const part of ["main", ".meta"]) morph(document.querySelector(part), page.querySelector(part));
      });
      const data = 'script[type="application/json"]';
      document.querySelector(data).textContent = page.querySelector(data).textContent;
      document.querySelector("link").href = page.querySelector("link").href;
      title = page.title;
      heard = performance.now();
      failed = 0;
      readReport();
      if (hover) draw(hover.plot, hover.share);
    } catch {
      failed += 1;  // `status` says for how long there was no answer
    }
  }

  // A lost agent is shown as lost, with its age; what it said last is no longer shown as the state of things.
  function status() {
    const silent = performance.now() - heard, lost = failed > 0 && silent > LOST_AFTER;
    const at = document.querySelector(".live");
    root.classList.toggle("lost", lost);
    document.title = lost ? `no answer · ${title}` : title;
    if (!live) at.textContent = "saved copy, not live";
    else if (lost) at.textContent = `no answer from the agent for ${Math.round(silent / 1000)} s; trying again`;
    else if (!at.textContent || at.textContent.startsWith("no answer")) at.textContent = "live";
  }

  // Chart: the values at a place between 0 (left) and 1 (right) of the plot.
  function valuesAt(plot, share) {
    const { from, to, series } = plot.dataset;
    const time = Number(from) + share * (to - from);
    const history = report.series[series].history;
    const last = history.time.length - 1;
    const ahead = JSON.parse(plot.dataset.forecast);
    if (time > history.time[last] && ahead.length > 1) {
      const right = Math.max(1, ahead.findIndex((corner) => corner[0] >= time));
      const [a, b] = [ahead[right - 1], ahead[right]];
      const part = Math.min(1, Math.max(0, (time - a[0]) / (b[0] - a[0])));
      const [, open, low, high] = a.map((value, index) => value + part * (b[index] - value));
      return { time, open, text: `forecast ${count(open)} (${count(low)} to ${count(high)})` };
    }
    let near = 0;
    history.time.forEach((t, index) => {
      if (Math.abs(t - time) < Math.abs(history.time[near] - time)) near = index;
    });
    const open = history.open[near], floor = history.idle_old[near];
    const text = `open ${count(open)}${floor == null ? "" : `, old and idle ${count(floor)}`}`;
    return { time: history.time[near], open, floor, text };
  }

  function draw(plot, share) {
    hover = { plot, share };
    const { from, to, top } = plot.dataset;
    const at = valuesAt(plot, Math.min(1, Math.max(0, share)));
    const x = `${(100 * (at.time - from)) / (to - from)}%`;
    const cross = plot.querySelector(".cross");
    const [line, open, floor] = cross.children;
    line.setAttribute("x1", x);
    line.setAttribute("x2", x);
    for (const [dot, value] of [[open, at.open], [floor, at.floor]]) {
      dot.setAttribute("cx", x);
      dot.setAttribute("cy", `${100 - (100 * (value ?? 0)) / top}%`);
      dot.setAttribute("visibility", value == null ? "hidden" : "inherit");
    }
    cross.setAttribute("visibility", "visible");
    const when = new Date(at.time * 1000), far = to - from > 86400;
    say(plot, `${far ? `${day(when)} ` : ""}${format.hms(when)}  ${at.text}`);
  }

  // Below the chart stands what is so without a pointer, or the values under it.
  function say(plot, text) {
    const [rest, here] = plot.parentNode.querySelector(".readout").children;
    here.textContent = text;
    rest.hidden = text !== "";
    here.hidden = text === "";
  }

  function leave() {
    if (!hover) return;
    hover.plot.querySelector(".cross").setAttribute("visibility", "hidden");
    say(hover.plot, "");
    hover = null;
  }

  async function copy(button) {
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "copied";
    } catch {
      button.textContent = "not allowed here";
    }
    setTimeout(() => { button.textContent = "copy"; }, 1500);
  }

  addEventListener("pointermove", (event) => {
    const plot = event.target.closest?.(".plot");
    if (!plot) return leave();
    const box = plot.querySelector(".hit").getBoundingClientRect();
    draw(plot, (event.clientX - box.left) / box.width);
  });
  addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -0.01, ArrowRight: 0.01 }[event.key];
    const plot = event.target.closest?.(".plot");
    if (!plot || !step) return;
    event.preventDefault();
    plot.parentNode.querySelector(".readout").setAttribute("aria-live", "polite");
    draw(plot, Math.min(1, Math.max(0, (hover?.share ?? 1) + step)));
  });
  addEventListener("focusout", leave);
  addEventListener("click", (event) => {
    const button = event.target.closest(".copy");
    if (button) return copy(button);
    const link = event.target.closest("tr")?.querySelector(".who a");
    if (link && !event.target.closest("a") && getSelection().isCollapsed) link.click();
  });
  addEventListener("hashchange", () => choose(document));

  readReport();
  prepare(document);
  status();
  if (live) {
    let timer = 0;
    const loop = async () => {
      clearTimeout(timer);
      await refresh();
      status();
      clearTimeout(timer);
      timer = setTimeout(loop, document.hidden ? HIDDEN : EVERY);
    };
    timer = setTimeout(loop, EVERY);
    setInterval(status, 1000);
    document.addEventListener("visibilitychange", () => { if (!document.hidden) loop(); });
  }
})();
