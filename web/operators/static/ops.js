/* Times in words, the live part of a page, the menu of a phone, and `/` for the search.  Pages work without it. */
"use strict";
(() => {
  const EVERY_MS = 4000;
  const SECONDS_MAX_MS = 15000;

  /* Times: the server writes UTC; here beside it how long ago that is. */
  const words = (seconds) => {
    const past = Math.abs(seconds);
    const said = past < 60 ? `${Math.round(past)} s`
      : past < 3600 ? `${Math.round(past / 60)} min`
      : past < 86400 ? `${Math.floor(past / 3600)} h ${Math.floor((past % 3600) / 60)} min`
      : `${Math.round(past / 86400)} d`;
    return seconds < 0 ? `in ${said}` : `${said} ago`;
  };
  const skew = Date.now() - Date.parse(document.documentElement.dataset.now || new Date().toISOString());
  const tell = (root) => {
    for (const time of root.querySelectorAll("time.ago")) {
      time.textContent = words((Date.now() - skew - Date.parse(time.dateTime)) / 1000);
    }
  };

  /* Make `old` what `fresh` is, keeping what is the same: focus, selection, opened details stay. */
  const morph = (old, fresh) => {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old === document.activeElement && /^(INPUT|TEXTAREA|SELECT)$/.test(old.nodeName)) return;
    for (const { name, value } of [...fresh.attributes]) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      const isOpened = name === "open" && old.nodeName === "DETAILS";
      if (!fresh.hasAttribute(name) && !isOpened) old.removeAttribute(name);
    }
    const before = [...old.childNodes], after = [...fresh.childNodes];
    after.forEach((node, place) => (before[place] ? morph(before[place], node) : old.append(node)));
    before.slice(after.length).forEach((node) => node.remove());
  };

  const live = document.getElementById("live");
  const state = document.getElementById("live-state");
  let etag = "", waitMs = EVERY_MS, timer = 0, underWay = false;

  const say = (isOn, text) => {
    if (!state) return;
    state.className = `live-state ${isOn ? "on" : "off"}`;
    state.textContent = text;
  };
  const plan = () => {
    clearTimeout(timer);
    if (live && !document.hidden) timer = setTimeout(refresh, waitMs);
  };
  const show = (html) => {
    const holder = document.createElement("template");
    holder.innerHTML = html;
    const fresh = live.cloneNode(false);
    fresh.append(holder.content);
    tell(fresh);
    morph(live, fresh);
  };
  async function refresh() {
    if (underWay) return;
    underWay = true;
    try {
      const headers = { "X-Ops-Fragment": "live" };
      if (etag) headers["If-None-Match"] = etag;
      const answer = await fetch(location.href, {
        headers, cache: "no-store", credentials: "same-origin", redirect: "error",
        signal: AbortSignal.timeout(SECONDS_MAX_MS),
      });
      if (answer.status === 401) { location.reload(); return; }
      if (answer.status === 200) {
        etag = answer.headers.get("ETag") || "";
        show(await answer.text());
      } else if (answer.status !== 304) {
        throw new Error(String(answer.status));
      }
      waitMs = EVERY_MS;
      say(true, "Live");
    } catch {
      waitMs = Math.min(waitMs * 1.5, SECONDS_MAX_MS);
      say(false, "No answer; what you see is old");
    } finally {
      underWay = false;
      plan();
    }
  }
  document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : live && refresh()));

  /* The phone's menu and folded filters; a search from anywhere. */
  document.body.classList.remove("no-script");
  if (matchMedia("(max-width: 760px)").matches && !location.search) {
    for (const filters of document.querySelectorAll("details.fold")) filters.open = false;
  }
  const menu = document.getElementById("menu"), side = document.getElementById("side");
  if (menu && side) {
    menu.addEventListener("click", () => menu.setAttribute("aria-expanded", String(side.classList.toggle("open"))));
  }
  document.addEventListener("keydown", (event) => {
    const isTyping = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.nodeName);
    const search = document.getElementById("search");
    if (event.key === "/" && !isTyping && !event.ctrlKey && !event.metaKey && search) {
      event.preventDefault();
      search.focus();
    }
  });
  /* A form is sent once, however often its button is pressed. */
  document.addEventListener("submit", (event) => {
    if (event.target.method !== "post" || event.target.dataset.again !== undefined) return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "yes";
  });
  addEventListener("pageshow", (event) => {
    if (event.persisted) for (const form of document.forms) delete form.dataset.sent;
  });

  tell(document);
  setInterval(() => { if (!document.hidden) tell(document); }, 1000);
  if (live) { say(true, "Live"); plan(); }
})();
