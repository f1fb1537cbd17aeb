/* The draft form: what the officer typed is saved by itself, and nobody leaves the page with unsaved words unwarned. */
(function () {
  "use strict";

  var form = document.getElementById("draft-form");
  if (!form) { return; }
  var typed = 0;
  var sent = 0;
  var saved = 0;

  function state(name) {
    var element = document.getElementById("save-state");
    if (!element) { return; }
    element.textContent = element.dataset[name];
    element.classList.toggle("save-bad", name === "failed");
  }

  function changed() { typed += 1; state("dirty"); }

  form.addEventListener("input", changed);
  form.addEventListener("change", changed);

  document.addEventListener("htmx:beforeSend", function (event) {
    if (event.detail.elt !== form) { return; }
    sent = typed;
    state("saving");
  });

  document.addEventListener("htmx:afterRequest", function (event) {
    if (event.detail.elt !== form) { return; }
    if (event.detail.successful) { saved = sent; } else { state("failed"); }
    if (event.detail.successful && typed > saved) { state("dirty"); }
  });

  document.addEventListener("htmx:afterSettle", function (event) {
    if (event.detail.elt && event.detail.elt.id === "finalize-body") { saved = typed; }
  });

  document.addEventListener("click", function (event) {
    var adopt = event.target.closest("[data-adopt]");
    if (adopt) {
      var field = document.getElementById(adopt.dataset.adopt);
      field.value = adopt.dataset.value;
      field.dispatchEvent(new Event("change", { bubbles: true }));
      field.focus();
      return;
    }
    if (event.target.closest("[data-focus-first]")) {
      var first = form.querySelector(".field-missing input, .field-missing textarea") || form.querySelector("input:not([type=hidden]), textarea");
      if (first) { first.focus(); }
    }
  });

  window.addEventListener("beforeunload", function (event) {
    if (document.body.contains(form) && typed > saved) { event.preventDefault(); event.returnValue = document.body.dataset.textUnsaved; }
  });
})();
