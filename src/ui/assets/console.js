// Keeps pages up to date, and gives them keys. Without it they are read and steered all the same.
(() => {
  "use strict";
  const page = document.getElementById("page");
  const button = document.getElementById("live");
  const interval = Number(page.dataset.refresh);
  const KEY = "backroom-updates";
  let paused = false;
  let timer = 0;
  let loading = null;
  let misses = 0;

  try { paused = localStorage.getItem(KEY) === "paused"; } catch { /* no storage: updates run */ }

  // Makes `old` like `fresh` in place, so that focus, selection and what is open stay. Forms that a person may be
  // filling in (`data-keep`) are left alone, and so is an opened <details>.
  function become(old, fresh) {
    if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) {
      old.replaceWith(fresh);
      return;
    }
    if (old.nodeType !== Node.ELEMENT_NODE) {
      if (old.nodeValue !== fresh.nodeValue) old.nodeValue = fresh.nodeValue;
      return;
    }
    if (old.hasAttribute("data-keep")) return;
    for (const { name, value } of fresh.attributes) {
      if (old.getAttribute(name) !== value) old.setAttribute(name, value);
    }
    for (const { name } of [...old.attributes]) {
      if (!fresh.hasAttribute(name) && name !== "open") old.removeAttribute(name);
    }
    becomeChildren(old, [...fresh.childNodes]);
  }

  // Children with an id are found by it wherever they have moved; the others are matched in order.
  function becomeChildren(old, fresh) {
    let at = old.firstChild;
    for (const node of fresh) {
      const same = node.id && [...old.children].find((child) => child.id === node.id);
      if (same && same !== at) old.insertBefore(same, at);
      const match = same || (at && !at.id && !node.id ? at : null);
      if (match) {
        const next = match.nextSibling;
        become(match, node);
        at = next;
      } else {
        old.insertBefore(node, at);
      }
    }
    while (at) {
      const next = at.nextSibling;
      at.remove();
      at = next;
    }
  }

  const isReading = () => {
    const selection = document.getSelection();
    return selection && !selection.isCollapsed && page.contains(selection.anchorNode);
  };

  async function update() {
    if (isReading()) return schedule();
    loading = new AbortController();
    let wait = interval;
    try {
      const answer = await fetch(location.pathname + location.search, { signal: loading.signal, headers: { Accept: "text/html" } });
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (answer.redirected) return location.reload();
      if (!answer.ok) throw new Error(answer.statusText);
      // Whoever reads a log at its end stays there while it grows.
      const atEnd = (log) => log.scrollHeight - log.scrollTop - log.clientHeight < 8;
      const followed = [...document.querySelectorAll("pre.log")].filter(atEnd);
      for (const old of document.querySelectorAll("[data-live]")) {
        const node = fresh.getElementById(old.id);
        if (node) become(old, document.adoptNode(node));
      }
      for (const log of followed) log.scrollTop = log.scrollHeight;
      wait = Number(page.dataset.refresh);
      misses = 0;
    } catch (error) {
      if (error.name === "AbortError") return;
      misses += 1;
      wait = Math.min(interval * 2 ** misses, 30000);
    }
    show();
    schedule(wait);
  }

  function schedule(wait = interval) {
    clearTimeout(timer);
    if (!paused && !document.hidden && wait > 0) timer = setTimeout(update, wait);
  }

  function show() {
    const live = Number(page.dataset.refresh) > 0;
    button.hidden = !live;
    button.setAttribute("aria-pressed", String(!paused));
    button.textContent = paused ? "Updates paused" : misses > 1 ? "Host does not answer" : "Live";
    button.classList.toggle("lost", misses > 1 && !paused);
  }

  function toggle() {
    paused = !paused;
    try { localStorage.setItem(KEY, paused ? "paused" : "on"); } catch { /* it lasts for this page */ }
    if (paused && loading) loading.abort();
    show();
    schedule(0 + (paused ? 0 : 1));
  }

  // The note about an action is told once, not again after a reload.
  const address = new URL(location.href);
  if (address.searchParams.has("done")) {
    address.searchParams.delete("done");
    history.replaceState(null, "", address);
    const note = document.getElementById("done");
    if (note) note.setAttribute("data-keep", "");
  }

  if (interval > 0) {
    button.addEventListener("click", toggle);
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) { clearTimeout(timer); if (loading) loading.abort(); } else schedule(1);
    });
    show();
    schedule();
  }

  let leader = 0;
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea");
    if (event.key === "Escape" && typing) return typing.blur();
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "/") {
      event.preventDefault();
      const search = document.querySelector("[data-search]");
      if (search) search.focus(); else location.assign("/jobs#search");
    } else if (event.key === "u" && interval > 0) {
      toggle();
    } else if (event.key === "g") {
      leader = Date.now();
    } else if (Date.now() - leader < 1500) {
      const link = document.querySelector(`[data-jump="${CSS.escape(event.key)}"]`);
      if (link) location.assign(link.href);
      leader = 0;
    }
  });
  if (location.hash === "#search") document.querySelector("[data-search]")?.focus();

  // A chosen plugin.toml fills in the name and the version.
  document.querySelector("[data-manifest]")?.addEventListener("change", async ({ target }) => {
    const [file] = target.files;
    if (!file || file.size > 65536) return;
    const text = (await file.text()).split(/^\s*\[/m)[0];
    for (const field of ["name", "version"]) {
      const found = text.match(new RegExp(`^\\s*${field}\\s*=\\s*["']([^"']*)["']`, "m"));
      if (found) target.form.elements[field].value = found[1];
    }
  });
  for (const form of document.querySelectorAll("form.upload")) {
    form.addEventListener("submit", () => {
      const submit = form.querySelector("button");
      submit.textContent = "Uploading…";
      submit.setAttribute("aria-busy", "true");
    });
  }
})();
