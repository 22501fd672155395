// Heat on the sheaf of a small network, live. sheaflib.explore writes the network as JSON, and the
// controls, into an element of the class "sheaf-explorer"; this script starts every such element
// that has not been started. All numbers are computed here, and they are those of sheaflib: names
// in brackets say which function computes the same. Each started element has a property `explorer`:
// its `state` is all that is shown, and `advance(n)` takes n steps.
(() => {
  "use strict";

  // Arithmetic ===================================================================================
  // A state is one array v = (x, w): the inputs, then the free coordinates; `at` are places in it.

  // On which piece of an elementwise selection z is: how many of its breaks it has reached.
  const pieceOf = (breaks, z) => breaks.filter((point) => z >= point).length;

  // A row of F_s a + b_s at the pattern of v: Σ by[k] v[at[k]] + plus, and its part of the pattern.
  function frozen(rule, v) {
    if (rule.breaks) {
      const piece = pieceOf(rule.breaks, v[rule.at[0]]);
      return { at: rule.at, by: [rule.slopes[piece]], plus: rule.offsets[piece], piece };
    }
    if (!rule.window) return rule;
    const read = rule.window.map((c) => v[c]), piece = read.indexOf(Math.max(...read));
    return { at: [rule.window[piece]], by: [1], plus: 0, piece };
  }
  const applied = (row, v) => row.at.reduce((sum, c, k) => sum + row.by[k] * v[c], row.plus);

  // The forward pass, one coordinate after another (NeuralSheaf.forward).
  function forward(net, x) {
    const v = [...x];
    for (const rule of net.rules) v.push(applied(frozen(rule, v), v));
    return v;
  }

  // δw − c, and the rows of F at the pattern of v (NeuralSheaf.discrepancy).
  function discrepancy(net, v) {
    const rows = net.rules.map((rule) => frozen(rule, v));
    return { rows, e: rows.map((row, i) => v[net.n + i] - applied(row, v)) };
  }

  const squares = (e) => e.reduce((sum, r) => sum + r * r, 0);

  // The stiffness γ of the pin: that of its spring where it is soft.
  const stiffnessOf = (pin) => (pin.mode === "soft" ? pin.gamma : 0);

  // −δᵀ diag(w_e)(δw − c) − γ(w − v*) (forces.force); with `implicit` without what elementwise
  // selections do to the coordinates that they read (Corners.without).
  function force(net, v, pin, implicit) {
    const { rows, e } = discrepancy(net, v), f = v.map(() => 0);
    rows.forEach((row, i) => {
      const stress = net.weights[i] * e[i];
      f[net.n + i] -= stress;
      if (implicit && net.rules[i].breaks) return;
      row.at.forEach((c, k) => { f[c] += row.by[k] * stress; });
    });
    f[pin.at] -= stiffnessOf(pin) * (v[pin.at] - pin.value);
    return f;
  }

  // argmin over ζ of (ζ − free)²/(2h) + ½ Σ_r w_r (φ_r(ζ) − a_r)², sought from z's own piece on
  // (corners.prox).
  function prox(net, v, c, free, h) {
    const rules = net.readers[c].map((i) => net.rules[i]);
    const breaks = [...new Set(rules.flatMap((rule) => rule.breaks))].sort((p, q) => p - q);
    const ends = [-Infinity, ...breaks, Infinity];
    const least = (q) => {
      let pull = 0, stiffness = 0;
      net.readers[c].forEach((i, k) => {
        const side = pieceOf(rules[k].breaks, ends[q]), slope = rules[k].slopes[side];
        pull += net.weights[i] * slope * (v[net.n + i] - rules[k].offsets[side]);
        stiffness += net.weights[i] * slope * slope;
      });
      return Math.min(Math.max((free + h * pull) / (1 + h * stiffness), ends[q]), ends[q + 1]);
    };
    const seek = (q, way) => { // on piece q, and beyond an end of it that is the minimum on it
      const found = least(q);
      if (way <= 0 && found === ends[q]) return seek(q - 1, -1);
      return way >= 0 && found === ends[q + 1] ? seek(q + 1, 1) : found;
    };
    return seek(pieceOf(breaks, v[c]), 0);
  }

  // One step of dt: Euler's, or with a pin prox-Euler's (EulerStepper, ProxEulerStepper).
  function step(net, v, dt, pin) {
    const implicit = pin.mode !== "off", f = force(net, v, pin, implicit);
    return v.map((z, c) => {
      if (c < net.n || (pin.mode === "hard" && c === pin.at)) return z;
      const free = z + dt * f[c];
      return implicit && net.readers[c].length ? z + (prox(net, v, c, free, dt) - z) : free;
    });
  }

  // L = δᵀ diag(w_e) δ + γ on the coordinates that are not clamped (NeuralSheaf.laplacian, Frozen).
  function laplacian({ net, v, pin }) {
    const L = net.rules.map(() => net.rules.map(() => 0));
    discrepancy(net, v).rows.forEach((row, i) => {
      const delta = [[net.n + i, 1], ...row.at.map((c, k) => [c, -row.by[k]])];
      const free = delta.filter(([c]) => c >= net.n).map(([c, entry]) => [c - net.n, entry]);
      for (const [p, a] of free) for (const [q, b] of free) L[p][q] += net.weights[i] * a * b;
    });
    const at = pin.at - net.n, kept = (_, c) => pin.mode !== "hard" || c !== at;
    L[at][at] += stiffnessOf(pin);
    return L.filter(kept).map((row) => row.filter(kept));
  }

  // The eigenvalues of a symmetric matrix in rising order, by Jacobi's rotations.
  function eigenvalues(matrix) {
    const a = matrix.map((row) => [...row]), n = a.length;
    for (let left = 1, sweep = 0; left > 1e-16 && sweep < 20; sweep++) {
      left = 0;
      for (let p = 0; p < n; p++) for (let q = p + 1; q < n; q++) {
        if (a[p][q] === 0) continue;
        left = Math.max(left, Math.abs(a[p][q]) / (Math.abs(a[p][p]) + Math.abs(a[q][q])));
        const theta = (a[q][q] - a[p][p]) / (2 * a[p][q]);
        const tan = (theta < 0 ? -1 : 1) / (Math.abs(theta) + Math.hypot(theta, 1));
        const cos = 1 / Math.hypot(tan, 1), sin = tan * cos;
        const turned = (y, z) => [cos * y - sin * z, sin * y + cos * z];
        for (const row of a) [row[p], row[q]] = turned(row[p], row[q]);
        for (let k = 0; k < n; k++) [a[p][k], a[q][k]] = turned(a[p][k], a[q][k]);
      }
    }
    return a.map((row, i) => row[i]).sort((p, q) => p - q);
  }

  // A number with so many digits, without zeros at its end.
  const digits = (value, n) => String(Number(value.toPrecision(n)));

  // Why a step of dt is refused, in the words of sheaflib and, as advice, in plain ones; nothing
  // where it is not (heat.check_step; the bound is spectrum.bound), but advice if the energy grows.
  // A step that only a stiff pin makes too large is safe for every pattern without one.
  function refusal({ net, v, dt, pin }) {
    const safe = 2 / (net.bound + stiffnessOf(pin)), pinned = pin.mode !== "off";
    const at = pinned ? v : forward(net, v.slice(0, net.n));
    const largest = dt < safe ? 0 : Math.max(0, ...eigenvalues(laplacian({ net, v: at, pin })));
    if (dt < 2 / largest) return { refused: "", advice: "This dt is too large: lower it." };
    const limit = digits(2 / largest, 3), next = digits(0.95 * (2 / largest), 2);
    const advice = `This step is too large: dt must be below ${limit} here. Try ${next}` +
      `${dt < 2 / net.bound ? ", or a softer pin" : ""}.`;
    const refused = `dt=${digits(dt, 6)} is unstable: Euler needs dt < 2/(α·λ_max) = ${limit} ` +
      `here (α = 1, λ_max = ${digits(largest, 4)} at the ${pinned ? "start" : "forward pass"}); ` +
      `use dt=${next}, or dt < ${digits(safe, 3)}, safe for every pattern`;
    return { refused, advice };
  }

  // A flow: a state, how it moves, and the total discord on its way.
  class Flow {
    constructor(net, pin) {
      Object.assign(this, { net, pin, dt: net.dt, known: {} });
      this.restart([...net.x, ...net.start]);
    }
    restart(v) {
      Object.assign(this, { v, step: 0, history: new Map(), scale: 0 }); // of the bars
      this.begin();
    }
    // As a call of `heat` from here: the pin is imposed, dt is checked, and the energy has a limit,
    // twice its value, more where that is rounding (energy_limit has a closer one).
    begin() {
      if (this.pin.mode === "hard") this.v[this.pin.at] = this.pin.value;
      Object.assign(this, { change: Infinity, ...refusal(this) });
      this.measure();
      this.limit = 2 * this.energy + 1e-18 * (1 + squares(this.v));
    }
    measure() {
      const { net, v, pin } = this, { rows, e } = discrepancy(net, v);
      this.pieces = rows.map((row) => row.piece); // the pattern, undefined where a row has none
      // ‖(δw − c)_e‖² of every edge, without weights and without ½ (discord.per_edge).
      const own = net.edges.map((edge) => [edge.name, squares(e.slice(edge.start, edge.stop))]);
      Object.assign(this, { discord: Object.fromEntries(own), total: squares(e) });
      // V = ½ Σ w_e ‖(δw − c)_e‖² and ½ γ (w − v*)² of a soft pin (euler.flow_energy).
      const spring = stiffnessOf(pin) * (v[pin.at] - pin.value) ** 2;
      this.energy = 0.5 * e.reduce((sum, r, i) => sum + net.weights[i] * r * r, spring);
      const every = 10 ** Math.max(0, Math.floor(Math.log10(this.step || 1)) - 2);
      if (this.step % every === 0) this.history.set(this.step, this.total);
    }
    get pattern() { return this.pieces.filter((piece) => piece !== undefined); }
    advance(n) {
      for (let k = 0; k < n && !this.refused; k++) {
        const before = this.v;
        this.v = step(this.net, before, this.dt, this.pin);
        this.change = Math.max(...this.v.map((z, c) => Math.abs(z - before[c])));
        this.step++;
        this.measure();
        if (!(this.energy <= this.limit)) this.refused = "the energy grew beyond twice its value";
      }
    }
    // λ₁ at the present pattern (spectrum.extremes), found once for each pattern and pin.
    get slowest() {
      const key = JSON.stringify([this.pattern, { ...this.pin, value: 0 }]);
      return this.known[key] ??= eigenvalues(laplacian(this))[0] ?? Infinity;
    }
    get state() {
      const { net, v, step, dt, change, pattern, energy, total, discord, refused } = this;
      const x = v.slice(0, net.n), pin = { ...this.pin, at: this.pin.at - net.n };
      return { step, dt, change, pattern, energy, total, discord, refused, x, w: v.slice(net.n),
        forward: forward(net, x).slice(net.n), lambda_1: this.slowest, pin };
    }
  }

  // Interface ====================================================================================

  function start(root) {
    const find = (selector) => root.querySelector(selector);
    const read = (name) => find(`[name="${name}"]`).value;
    const write = (place, text) => { if (place.textContent !== text) place.textContent = text; };
    const power = (text) => Number((10 ** text).toPrecision(3));
    const net = JSON.parse(find(".sheaf-data").textContent);
    root.insertAdjacentHTML("beforeend", net.live); // explore.css then takes the picture away
    const pin = () => ({ mode: read("pin"), at: net.n + Number(read("at")),
      value: Number(read("value")), gamma: power(read("gamma")) });
    const flow = new Flow(net, pin()), inputs = () => flow.v.slice(0, net.n);
    let frame = 0, said = 0; // frame: the next one while the explorer plays, else 0
    const show = () => {
      const { mode, value, gamma } = flow.pin, shown = { ...inputs(), value, gamma, dt: flow.dt };
      for (const slider of root.querySelectorAll("[type=range]"))
        slider.nextSibling.textContent = slider.ariaValueText = digits(shown[slider.name], 4);
      for (const part of root.querySelectorAll("[data-for]"))
        part.disabled = !part.dataset.for.includes(mode); // what does nothing now
      write(find(".sheaf-alert b"), flow.refused && flow.advice);
      write(find(".sheaf-alert small"), flow.refused);
      write(find("[name=play]"), frame ? "Pause" : "Play");
      drawSheaf(root, flow);
      drawCurve(find(".sheaf-plot"), flow);
      if (frame && Date.now() - said < 1000) return; // what is read aloud changes once a second
      said = Date.now();
      write(find(".sheaf-status"), `${flow.change < 1e-13 * flow.scale ? "At rest. " : ""}` +
        `Step ${flow.step}, total discord ${digits(flow.total, 3)}, ` +
        `λ₁ = ${digits(flow.slowest, 4)}. Pattern: ${flow.pattern.join(" ") || "none"}.`);
    };
    const play = (on) => {
      cancelAnimationFrame(frame);
      frame = on ? requestAnimationFrame(tick) : 0;
    };
    const tick = () => { // playing ends by itself at rest, and at a refusal
      flow.advance(Number(read("speed")));
      play(root.isConnected && flow.change >= 1e-13 * flow.scale && !flow.refused);
      show();
    };
    const noise = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(7 * Math.random());
    const does = { // by the name of a button
      play: () => play(!frame),
      steps: (n) => { play(false); flow.advance(n); },
      again: () => flow.restart([...inputs(), ...net.start]),
      noise: () => flow.restart([...inputs(), ...net.start.map(noise)]),
      pass: () => flow.restart(forward(net, inputs())),
    };
    root.addEventListener("input", ({ target: { name, value } }) => {
      flow.pin = pin();
      if (name === "dt") flow.dt = power(value);
      if (name < net.n) flow.v[name] = Number(value); // the slider of x1 has the name 0
      flow.begin();
      // Another input or pin is followed at once, unless the reader wishes for less motion.
      if (!/dt|speed/.test(name) && !matchMedia("(prefers-reduced-motion)").matches) play(true);
      show();
    });
    root.addEventListener("click", ({ target: { name, value } }) => {
      does[name]?.(Number(value));
      show();
    });
    root.explorer = { get state() { return flow.state; }, advance(n) { flow.advance(n); show(); } };
    show();
  }

  // Drawing ======================================================================================
  // The sheaf is made of the page's own elements: here they get their numbers, explore.css draws.
  // The level of an edge is the power of ten of its discord, from 0 for 1e-6 to 7 for 10.

  function drawSheaf(root, flow) {
    const { net, v, pin, pieces } = flow, pass = forward(net, v.slice(0, net.n));
    const top = Math.max(...[...v, ...pass].map(Math.abs)), discord = Object.values(flow.discord);
    flow.scale = Math.max(flow.scale, 2 ** Math.ceil(Math.log2(top || 1))); // a new start lowers it
    root.querySelectorAll(".sheaf-bar").forEach((bar, c) => {
      const shown = { value: v[c], pass: pass[c], pin: pin.value };
      for (const name in shown) bar.style.setProperty(`--${name}`, shown[name] / flow.scale);
      bar.dataset.pin = c === pin.at ? pin.mode : "off";
      bar.dataset.piece = pieces[c - net.n] ?? "";
    });
    root.querySelectorAll(".sheaf-edge").forEach((edge, k) => {
      edge.dataset.level = Math.min(Math.max(Math.round(Math.log10(discord[k])) + 6, 0), 7);
      edge.querySelector(".sheaf-number").textContent = digits(discord[k], 2);
    });
    root.querySelector(".sheaf-scale").textContent = `±${flow.scale}`;
  }

  // Total discord on a log axis against steps; dashed, the slope 2 ln|1 − dt λ₁| that λ₁ predicts
  // for the end of a run without a pin, laid through the last point. The axis has the decades in
  // use, in eight or fewer parts; what is below 1e-20 is rounding, and is drawn at its foot.
  function drawCurve(plot, { history, step, total, dt, pin, slowest }) {
    const points = [...history, [step, total]].map(([s, d]) => [s, Math.log10(d)]);
    const used = points.map(([, log]) => log).filter((log) => log > -20);
    const high = Math.max(-18, ...used.map(Math.ceil)), most = Math.max(step, 100);
    const decades = high - Math.min(high - 2, ...used.map(Math.floor));
    const part = Math.ceil(decades / 8), parts = Math.ceil(decades / part), whole = part * parts;
    const set = (name, all) => plot.querySelector(name).setAttribute("points",
      all.map(([s, log]) => `${s / most},${(high - log) / whole}`).join(" "));
    set(".sheaf-total", points.map(([s, log]) => [s, Math.max(log, high - whole)]));
    const slope = 2 * Math.log10(Math.abs(1 - dt * slowest) || 1e-9), [s0, last] = points.at(-1);
    const predicted = [0, most].map((s) => [s, last + slope * (s - s0)]);
    set(".sheaf-predicted", pin.mode === "off" && last > -20 ? predicted : []);
    plot.style.setProperty("--parts", parts);
    const marks = Array.from({ length: parts + 1 }, (_, k) => `1e${high - part * k}`);
    plot.querySelector(".sheaf-marks").textContent = marks.join("\n");
    plot.querySelector(".sheaf-last").textContent = most;
  }

  // Start =========================================================================================

  const startAll = () =>
    document.querySelectorAll(".sheaf-explorer:not(:has(.sheaf-live))").forEach(start);
  startAll();
  document.addEventListener("DOMContentLoaded", startAll); // where the script stands above them
})();
