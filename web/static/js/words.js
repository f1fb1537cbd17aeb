/* The vocabulary: choosing the reading of a polyphone, taking selected words of a transcript in, and the misheard name
   that the keys decide on next. */
(function () {
  "use strict";

  var MAX_CHARS = 20;
  var adder = document.getElementById("add-selected");

  function mark() {
    var open = document.querySelectorAll("#transcript .suggest-open");
    Array.prototype.forEach.call(document.querySelectorAll(".suggest-current"), function (element) { element.classList.remove("suggest-current"); });
    if (open.length) { open[0].classList.add("suggest-current"); }
    return open.length ? open[0] : null;
  }

  function intoView(element) {
    var box = document.getElementById("transcript");
    if (!box || !element) { return; }
    var above = element.getBoundingClientRect().top - box.getBoundingClientRect().top;
    if (above < 0 || above > box.clientHeight - 40) { box.scrollTop += above - box.clientHeight / 3; }
  }

  function choose(button) {
    var holder = button.closest("form");
    var input = holder.querySelector("[name=pinyin]");
    var syllables = input.value.trim().split(/\s+/);
    syllables[Number(button.dataset.at)] = button.dataset.reading;
    input.value = syllables.join(" ");
    var shown = holder.querySelector(".form-text .spoken");
    if (shown) {
      var read = shown.textContent.trim().split(/\s+/);
      read[Number(button.dataset.at)] = button.textContent;
      shown.textContent = read.join(" ");
    }
    Array.prototype.forEach.call(button.parentNode.querySelectorAll("button"), function (other) {
      other.setAttribute("aria-pressed", other === button ? "true" : "false");
    });
  }

  function selected() {
    var selection = window.getSelection();
    var box = document.getElementById("transcript");
    if (!adder || !box || !selection.rangeCount || selection.isCollapsed) { return ""; }
    var range = selection.getRangeAt(0);
    if (!box.contains(range.commonAncestorContainer)) { return ""; }
    var text = selection.toString().replace(/[^\u4e00-\u9fff]/g, "");
    return text.length >= 2 && text.length <= MAX_CHARS ? text : "";
  }

  function offer() {
    if (!adder) { return; }
    var text = selected();
    adder.hidden = !text;
    if (!text) { adder.removeAttribute("data-key"); return; }
    var place = window.getSelection().getRangeAt(0).getBoundingClientRect();
    adder.dataset.word = text;
    adder.dataset.key = "a";
    adder.dataset.keyLabel = adder.textContent;
    adder.style.left = Math.max(4, Math.min(place.left, window.innerWidth - 180)) + window.pageXOffset + "px";
    adder.style.top = place.bottom + 6 + window.pageYOffset + "px";
  }

  function take() {
    var dialog = document.getElementById("new-word");
    var input = dialog.querySelector("[name=word]");
    dialog.querySelector("#new-word-result").textContent = "";
    input.value = adder.dataset.word;
    dialog.showModal();
    input.dispatchEvent(new Event("input", { bubbles: true }));
    input.focus();
    input.select();
    adder.hidden = true;
  }

  document.addEventListener("click", function (event) {
    var reading = event.target.closest("[data-reading]");
    if (reading) { choose(reading); return; }
    if (event.target.closest("#add-selected")) { take(); }
  });

  document.addEventListener("mousedown", function (event) {
    if (event.target.closest("#add-selected")) { event.preventDefault(); }
  });

  document.addEventListener("selectionchange", function () { window.setTimeout(offer, 0); });

  document.addEventListener("htmx:afterSettle", function (event) {
    var next = mark();
    if (event.detail.elt && event.detail.elt.classList && event.detail.elt.classList.contains("segment")) { intoView(next); }
  });

  mark();
})();
