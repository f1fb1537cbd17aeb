/* The event stream: keeps pages current, says when it is lost, comes back by itself from the last event seen. */
(function () {
  "use strict";

  var body = document.body;
  if (!body.dataset.stream) { return; }

  var SILENCE_MS = 12000;
  var RETRY_MS = 2000;
  var onDesk = window.location.pathname === "/desk";
  var last = body.dataset.lastEvent;
  var source = null;
  var watchdog = null;
  var lost = false;
  var skew = new Date(body.dataset.now).getTime() - Date.now();
  var lostBanner = document.getElementById("lost");
  var state = document.getElementById("stream-state");

  function serverNow() { return Date.now() + skew; }

  function tell(name, detail) {
    body.dispatchEvent(new CustomEvent(name, { detail: detail }));
  }

  function mark(name) {
    state.dataset.state = name;
    lostBanner.hidden = name !== "lost";
  }

  function alive() {
    window.clearTimeout(watchdog);
    watchdog = window.setTimeout(function () { lose(); open(); }, SILENCE_MS);
    if (lost) { lost = false; tell("duty-recovered", null); }
    mark("on");
  }

  function lose() {
    lost = true;
    mark("lost");
  }

  function onEvent(message) {
    last = message.lastEventId || last;
    var event = JSON.parse(message.data);
    event.id = message.lastEventId;
    var name = "duty-" + event.kind.replace(/\./g, "-");
    tell(name, event);
    if (event.call) { tell(name + "-" + event.call, event); }
    alive();
  }

  function ended() {
    fetch("/session", { credentials: "same-origin", redirect: "manual", headers: { "HX-Request": "true" } }).then(function (answer) {
      if (answer.status === 401 || answer.status === 403) { window.location.reload(); return; }
      window.setTimeout(open, RETRY_MS);
    }, function () { window.setTimeout(open, RETRY_MS); });
  }

  function close() {
    window.clearTimeout(watchdog);
    if (source) { source.onerror = null; source.close(); source = null; }
  }

  function open() {
    close();
    source = new EventSource(body.dataset.stream + (last ? "?after=" + encodeURIComponent(last) : ""));
    source.onopen = alive;
    source.onmessage = onEvent;
    source.addEventListener("heartbeat", function (message) {
      skew = new Date(message.data).getTime() - Date.now();
      alive();
    });
    source.onerror = function () {
      lose();
      if (source.readyState === EventSource.CLOSED) { close(); ended(); }
    };
  }

  /* A browser keeps few connections to one server: pages in the background give theirs back, the desk never does. */
  document.addEventListener("visibilitychange", function () {
    if (onDesk) { return; }
    if (document.hidden) { close(); } else if (!source) { open(); }
  });
  window.addEventListener("pagehide", close);

  function two(value) { return (value < 10 ? "0" : "") + value; }

  function tick() {
    var now = serverNow();
    var clock = document.getElementById("wall-clock");
    if (clock) {
      var shanghai = new Date(now + 8 * 3600 * 1000);
      clock.textContent = two(shanghai.getUTCHours()) + ":" + two(shanghai.getUTCMinutes()) + ":" + two(shanghai.getUTCSeconds());
    }
    Array.prototype.forEach.call(document.querySelectorAll("[data-since]"), function (element) {
      var seconds = Math.max(0, Math.floor((now - new Date(element.dataset.since).getTime()) / 1000));
      var hours = Math.floor(seconds / 3600);
      element.textContent = (hours ? hours + ":" : "") + two(Math.floor(seconds / 60) % 60) + ":" + two(seconds % 60);
    });
  }

  function caption(event) {
    var spoken = event.detail.data;
    if (spoken.withheld) { return; }
    Array.prototype.forEach.call(document.querySelectorAll('[data-captions="' + event.detail.call + '"]'), function (box) {
      if (spoken.final && box.querySelector('[data-event="' + event.detail.id + '"]')) { return; }
      var open_ = box.querySelector(".partial.caption-" + spoken.speaker);
      var line = open_ || document.createElement("p");
      if (!open_) {
        line.appendChild(document.createElement("b")).textContent = spoken.speaker === "officer" ? box.dataset.labelOfficer : box.dataset.labelCaller;
        line.appendChild(document.createElement("span"));
        box.appendChild(line);
      }
      line.className = "caption caption-" + (spoken.speaker === "officer" ? "officer" : "caller") + (spoken.final ? "" : " partial");
      line.lastChild.textContent = spoken.text;
      if (spoken.final) { line.dataset.event = event.detail.id; }
      while (box.children.length > Number(box.dataset.keep || 6)) { box.removeChild(box.firstElementChild); }
      box.scrollTop = box.scrollHeight;
    });
  }

  body.addEventListener("duty-call-caption", caption);

  body.addEventListener("duty-call-changed", function (event) {
    var banner = document.getElementById("incoming");
    var data = event.detail.data;
    if (onDesk || data.direction !== "inbound" || !data.state) { return; }
    if (data.state === "arrived" || data.state === "ringing" || data.state === "queued") {
      banner.hidden = false;
      banner.dataset.call = event.detail.call;
    } else if (banner.dataset.call === event.detail.call) {
      banner.hidden = true;
    }
  });

  document.addEventListener("htmx:afterSwap", tick);
  window.setInterval(tick, 1000);
  tick();
  open();
})();
