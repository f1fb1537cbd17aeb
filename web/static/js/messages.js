/* Where answers to a refused act appear, dialogs, and the small acts every page shares. */
(function () {
  "use strict";

  function slotFor(element) {
    var holder = element && element.closest ? element.closest("form, dialog, section") : null;
    var slot = null;
    while (holder && !slot) {
      slot = holder.querySelector("[data-messages]");
      holder = holder.parentElement ? holder.parentElement.closest("form, dialog, section") : null;
    }
    return slot || document.getElementById("messages");
  }

  function say(slot, text) {
    var box = document.createElement("div");
    box.className = "alert alert-danger alert-plain";
    box.setAttribute("role", "alert");
    box.textContent = text;
    slot.textContent = "";
    slot.appendChild(box);
  }

  document.addEventListener("htmx:configRequest", function (event) {
    event.detail.headers["X-CSRF-Token"] = document.body.dataset.csrf;
  });

  document.addEventListener("htmx:beforeSwap", function (event) {
    if (!event.detail.isError) { return; }
    event.detail.shouldSwap = true;
    event.detail.target = slotFor(event.detail.requestConfig.elt);
    event.detail.swapOverride = "innerHTML";
  });

  document.addEventListener("htmx:afterRequest", function (event) {
    if (event.detail.successful && event.detail.requestConfig.verb !== "get") {
      var slot = slotFor(event.detail.requestConfig.elt);
      if (slot && slot.id === "messages") { slot.textContent = ""; }
    }
  });

  ["htmx:sendError", "htmx:timeout"].forEach(function (name) {
    document.addEventListener(name, function (event) {
      if (event.detail.requestConfig && event.detail.requestConfig.verb === "get") { return; }
      say(slotFor(event.detail.elt), document.body.dataset.textSendError);
    });
  });

  document.addEventListener("click", function (event) {
    var opener = event.target.closest("[data-open]");
    if (opener) {
      var first = opener.dataset.saveFirst && document.getElementById(opener.dataset.saveFirst);
      if (first) { window.htmx.trigger(first, "save"); }
      document.getElementById(opener.dataset.open).showModal();
      return;
    }
    var closer = event.target.closest("[data-close]");
    if (closer) {
      closer.closest("dialog").close();
      if (closer.hasAttribute("data-reload")) { window.location.reload(); }
      return;
    }
    var goer = event.target.closest("[data-focus]");
    if (goer) {
      var aim = document.getElementById(goer.dataset.focus);
      if (aim) { event.preventDefault(); aim.scrollIntoView({ block: "center" }); aim.focus(); }
    }
  });
})();
