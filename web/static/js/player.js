/* Both voices as waveforms, the transcript that follows them, and words that can be heard by a click. */
(function () {
  "use strict";

  var wave = null;
  var sounding = null;
  var hold = null;

  function clock(seconds) {
    var whole = Math.floor(seconds);
    var minutes = Math.floor(whole / 60);
    return (minutes < 10 ? "0" : "") + minutes + ":" + (whole % 60 < 10 ? "0" : "") + (whole % 60);
  }

  function spans() {
    return Array.prototype.slice.call(document.querySelectorAll("#transcript [data-start]"));
  }

  function follow(at) {
    var box = document.getElementById("transcript");
    var current = null;
    spans().forEach(function (span) {
      var now = at >= Number(span.dataset.start) && at < Number(span.dataset.end);
      span.classList.toggle("now", now);
      if (now) { current = span; }
    });
    var wanted = document.querySelector("[data-follow]");
    if (!box || !current || !wave.isPlaying() || !wanted.checked) { return; }
    var top = current.offsetTop - box.offsetTop;
    if (top < box.scrollTop || top > box.scrollTop + box.clientHeight - 40) { box.scrollTop = top - box.clientHeight / 3; }
  }

  function hear(from, to) {
    if (!wave) { return; }
    hold = to > from ? to : null;
    wave.setTime(from);
    wave.play();
    spans().forEach(function (span) {
      span.classList.toggle("cited", hold !== null && Number(span.dataset.end) > from && Number(span.dataset.start) < to);
    });
  }

  function failed(box) {
    var button = box.querySelector("[data-play]");
    button.disabled = true;
    button.textContent = box.dataset.failed;
  }

  function build(box, peaks) {
    var options = {
      container: box.querySelector(".wave"),
      url: box.dataset.audio,
      height: 54,
      normalize: true,
      cursorColor: "#b02a37",
      cspNonce: document.body.dataset.nonce,
      splitChannels: [
        { waveColor: "#8fb0d6", progressColor: "#1c5fa8" },
        { waveColor: "#a9c8a5", progressColor: "#3b7a35" }
      ]
    };
    if (peaks) { options.peaks = [peaks.caller, peaks.officer]; options.duration = Number(box.dataset.seconds); }
    wave = window.WaveSurfer.create(options);
    var button = box.querySelector("[data-play]");
    wave.on("ready", function () { button.disabled = false; button.textContent = box.dataset.labelPlay; });
    wave.on("play", function () { button.textContent = box.dataset.labelPause; });
    wave.on("pause", function () { button.textContent = box.dataset.labelPlay; });
    wave.on("error", function () { failed(box); });
    wave.on("interaction", function () { hold = null; });
    wave.on("timeupdate", function (at) {
      box.querySelector("[data-at]").textContent = clock(at);
      if (hold !== null && at >= hold) { hold = null; wave.pause(); }
      follow(at);
    });
  }

  function start() {
    var box = document.getElementById("player");
    if (!box || box === sounding) { return; }
    sounding = box;
    fetch(box.dataset.peaks, { credentials: "same-origin" }).then(function (answer) {
      return answer.status === 200 ? answer.json() : null;
    }).then(function (peaks) { build(box, peaks); }, function () { failed(box); });
    box.querySelector("[data-rate]").addEventListener("change", function (event) {
      if (wave) { wave.setPlaybackRate(Number(event.target.value), true); }
    });
  }

  document.addEventListener("click", function (event) {
    var target = event.target;
    if (target.closest("[data-play]") && wave) { hold = null; wave.playPause(); return; }
    var skip = target.closest("[data-skip]");
    if (skip && wave) { hold = null; wave.setTime(Math.max(0, wave.getCurrentTime() + Number(skip.dataset.skip))); return; }
    var stretch = target.closest("[data-from]");
    if (stretch) { hear(Number(stretch.dataset.from), Number(stretch.dataset.to)); return; }
    var word = target.closest("#transcript [data-start]");
    if (word) { hear(Number(word.dataset.start), 0); }
  });

  document.addEventListener("htmx:afterSwap", start);
  start();
})();
