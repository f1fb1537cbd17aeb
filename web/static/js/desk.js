/* The desk's bell: a tone made here and a flashing title while an incoming call waits for its answer. */
(function () {
  "use strict";

  var button = document.getElementById("sound");
  var title = document.title;
  var sound = null;
  var muted = false;
  var flashing = false;
  try { muted = window.localStorage.getItem("dutyline-muted") === "1"; } catch (error) { muted = false; }

  function context() {
    if (!sound && window.AudioContext) { sound = new AudioContext(); }
    return sound;
  }

  function show() {
    var ready = context() && sound.state === "running";
    button.textContent = muted ? button.dataset.off : ready ? button.dataset.on : button.dataset.blocked;
    button.classList.toggle("sound-blocked", !muted && !ready);
  }

  function unlock() {
    if (context() && sound.state === "suspended") { sound.resume().then(show, show); } else { show(); }
  }

  function tone(at, pitch) {
    var oscillator = sound.createOscillator();
    var gain = sound.createGain();
    oscillator.frequency.value = pitch;
    gain.gain.setValueAtTime(0, at);
    gain.gain.linearRampToValueAtTime(0.25, at + 0.02);
    gain.gain.setValueAtTime(0.25, at + 0.3);
    gain.gain.linearRampToValueAtTime(0, at + 0.36);
    oscillator.connect(gain);
    gain.connect(sound.destination);
    oscillator.start(at);
    oscillator.stop(at + 0.4);
  }

  function waiting() {
    return Array.prototype.some.call(document.querySelectorAll('[data-live-direction="inbound"]'), function (call) {
      return /^(arrived|queued|ringing)$/.test(call.dataset.liveState);
    });
  }

  function ring() {
    if (!waiting()) { document.title = title; flashing = false; return; }
    flashing = !flashing;
    document.title = flashing ? document.body.dataset.textIncoming + title : title;
    if (!muted && context() && sound.state === "running" && flashing) {
      tone(sound.currentTime, 880);
      tone(sound.currentTime + 0.4, 660);
    }
  }

  button.addEventListener("click", function () {
    if (!muted && context() && sound.state === "suspended") { unlock(); return; }
    muted = !muted;
    try { window.localStorage.setItem("dutyline-muted", muted ? "1" : "0"); } catch (error) { /* private window: for this page only */ }
    unlock();
  });
  ["pointerdown", "keydown"].forEach(function (name) { document.addEventListener(name, unlock, { once: true }); });
  document.addEventListener("htmx:afterSwap", function (event) {
    if (event.target.id === "desk-calls" && waiting() && !flashing) { ring(); }
  });
  window.setInterval(ring, 1000);
  show();
  ring();
})();
