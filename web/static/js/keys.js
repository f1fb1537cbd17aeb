/* The keyboard: whatever carries data-key on the page is reached by that key, and the shown map is made of the same. */
(function () {
  "use strict";

  function typing(element) {
    return !!element && (/^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName) || element.isContentEditable) && element.type !== "checkbox";
  }

  function visible(element) {
    return !!(element.offsetParent || element.classList.contains("visually-hidden")) && !element.disabled;
  }

  function keyed() {
    return Array.prototype.slice.call(document.querySelectorAll("[data-key]")).filter(visible);
  }

  function press(element) {
    if (/^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName)) { element.focus(); element.select && element.select(); return; }
    element.click();
  }

  function walk(step) {
    var rows = Array.prototype.slice.call(document.querySelectorAll("[data-row]")).filter(visible);
    if (!rows.length) { return; }
    var at = rows.indexOf(document.activeElement) + step;
    var row = rows[Math.max(0, Math.min(rows.length - 1, at))];
    row.focus();
    row.scrollIntoView({ block: "nearest" });
  }

  function fillMap() {
    var body = document.querySelector("#keymap tbody");
    if (!body) { return; }
    body.textContent = "";
    var listed = {};
    keyed().forEach(function (element) {
      if (listed[element.dataset.key]) { return; }
      listed[element.dataset.key] = true;
      var line = body.insertRow();
      var key = document.createElement("kbd");
      var name = element.dataset.key;
      key.textContent = name === "Space" ? document.body.dataset.textKeySpace : name === "ArrowLeft" ? "←" : name === "ArrowRight" ? "→" : name.toUpperCase();
      line.insertCell().appendChild(key);
      line.insertCell().textContent = element.dataset.keyLabel;
    });
  }

  document.addEventListener("click", function (event) {
    if (event.target.closest("[data-open=keymap]")) { fillMap(); }
  }, true);

  document.addEventListener("keydown", function (event) {
    if (event.ctrlKey || event.altKey || event.metaKey) { return; }
    if (event.key === "Escape" && typing(document.activeElement) && !document.querySelector("dialog[open]")) {
      document.activeElement.blur();
      return;
    }
    if (typing(event.target) || document.querySelector("dialog[open]")) { return; }
    if (event.key === "j" || event.key === "k") { walk(event.key === "j" ? 1 : -1); return; }
    var wanted = event.key === " " ? "Space" : event.key.length === 1 ? event.key.toLowerCase() : event.key;
    if (wanted === "Space" && /^(BUTTON|A|SUMMARY)$/.test(event.target.tagName)) { return; }
    var found = keyed().filter(function (element) { return element.dataset.key === wanted; })[0];
    if (found) { event.preventDefault(); press(found); }
  });
})();
