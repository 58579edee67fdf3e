"use strict";

// Layers of the contact sheets: one round's detections at a time, truth and labels on or off.
for (const group of document.querySelectorAll("fieldset.layers")) {
  const sheet = document.getElementById(group.dataset.sheet);
  const apply = () => {
    for (const input of group.querySelectorAll("input")) {
      for (const layer of sheet.querySelectorAll("g." + input.value)) {
        layer.style.display = input.checked ? "" : "none";
      }
    }
  };
  group.addEventListener("change", apply);
  apply();
}

// The skeleton that one can turn. World mm, z up; the camera goes around the middle of the poses.
const canvas = document.getElementById("scene");
if (canvas) {
  const scene = JSON.parse(document.getElementById("scene-data").textContent);
  const slider = document.getElementById("scene-frame");
  const said = document.getElementById("scene-said");
  const method = document.getElementById("scene-method");
  const boxes = [...document.querySelectorAll("input[data-scene]")];
  const start = { yaw: 0.6, pitch: 0.3, zoom: 1 };
  const view = { ...start };

  const project = (point, width, height) => {
    const [x, y, z] = [point[0] - scene.middle[0], point[1] - scene.middle[1], point[2] - scene.middle[2]];
    const across = x * Math.cos(view.yaw) + y * Math.sin(view.yaw);
    const deep = -x * Math.sin(view.yaw) + y * Math.cos(view.yaw);
    const up = z * Math.cos(view.pitch) + deep * Math.sin(view.pitch);
    const away = deep * Math.cos(view.pitch) - z * Math.sin(view.pitch);
    const distance = 3.2 * scene.radius;
    const scale = (0.46 * Math.min(width, height) * view.zoom * distance) / scene.radius / Math.max(distance + away, 1);
    return [width / 2 + across * scale, height / 2 - up * scale];
  };

  const draw = () => {
    const ratio = window.devicePixelRatio || 1;
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
      canvas.width = Math.round(width * ratio);
      canvas.height = Math.round(height * ratio);
    }
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const pen = canvas.getContext("2d");
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    pen.lineCap = pen.lineJoin = "round";

    const line = (a, b, stroke, thick) => {
      const [x1, y1] = project(a, width, height), [x2, y2] = project(b, width, height);
      pen.strokeStyle = stroke;
      pen.lineWidth = thick;
      pen.beginPath();
      pen.moveTo(x1, y1);
      pen.lineTo(x2, y2);
      pen.stroke();
    };
    const [x, y] = scene.middle.map((value) => Math.round(value / 500) * 500);
    for (let step = -2000; step <= 2000; step += 500) {
      line([x + step, y - 2000, 0], [x + step, y + 2000, 0], colour("--rule"), 1);
      line([x - 2000, y + step, 0], [x + 2000, y + step, 0], colour("--rule"), 1);
    }

    const frame = Number(slider.value);
    const figure = (points, stroke, thick) => {
      for (const [parent, child, side] of scene.limbs) {
        if (points[parent] && points[child]) {
          pen.setLineDash(side === 1 ? [1, thick * 2] : []);
          line(points[parent], points[child], stroke, thick);
        }
      }
      pen.setLineDash([]);
      pen.fillStyle = stroke;
      for (const point of points) {
        if (point) {
          const [px, py] = project(point, width, height);
          pen.beginPath();
          pen.arc(px, py, thick * 0.95, 0, 7);
          pen.fill();
        }
      }
    };
    const truth = scene.truth ? scene.truth[frame] : null;
    const told = [];
    for (const box of boxes) {
      const name = box.dataset.scene;
      if (name === "truth") {
        if (box.checked && truth) figure(truth, colour("--truth"), 5);
        continue;
      }
      const points = scene.poses[method.value][name][frame];
      if (box.checked) figure(points, scene.colours[name], 2.6);
      const off = [];
      points.forEach((point, joint) => {
        if (point && truth && truth[joint]) off.push(Math.hypot(...point.map((value, k) => value - truth[joint][k])));
      });
      if (box.checked && off.length) {
        told.push(`${name} ${Math.round(off.reduce((a, b) => a + b) / off.length)} mm (${off.length} joints)`);
      }
    }
    said.textContent = scene.frames[frame] + (told.length ? ` · ${scene.against}: ` + told.join(", ") : "");
    slider.setAttribute("aria-valuetext", scene.frames[frame]);
  };

  // One finger or the mouse turns, two fingers or the wheel with Ctrl zoom; a finger up or down still scrolls the page.
  const fingers = new Map();
  const spread = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a.x - b.x, a.y - b.y);
  };
  const zoom = (factor) => { view.zoom = Math.min(8, Math.max(0.4, view.zoom * factor)); };
  canvas.addEventListener("pointerdown", (event) => {
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = fingers.get(event.pointerId);
    if (!before) return;
    const apart = fingers.size === 2 ? spread() : 0;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2) {
      if (apart > 0) zoom(spread() / apart);
    } else {
      view.yaw -= (event.clientX - before.x) * 0.01;
      view.pitch = Math.min(1.5, Math.max(-0.3, view.pitch + (event.clientY - before.y) * 0.01));
    }
    draw();
  });
  for (const name of ["pointerup", "pointercancel"]) {
    canvas.addEventListener(name, (event) => fingers.delete(event.pointerId));
  }
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    zoom(Math.exp(-event.deltaY * 0.01));
    draw();
  }, { passive: false });
  canvas.addEventListener("dblclick", () => { Object.assign(view, start); draw(); });
  canvas.addEventListener("keydown", (event) => {
    const turn = { ArrowLeft: [0.1, 0], ArrowRight: [-0.1, 0], ArrowUp: [0, 0.1], ArrowDown: [0, -0.1] }[event.key];
    if (turn) {
      view.yaw += turn[0];
      view.pitch = Math.min(1.5, Math.max(-0.3, view.pitch + turn[1]));
    } else if (event.key === "+" || event.key === "=") zoom(1.15);
    else if (event.key === "-") zoom(1 / 1.15);
    else return;
    event.preventDefault();
    draw();
  });
  for (const input of [slider, method, ...boxes]) input.addEventListener("input", draw);
  new ResizeObserver(draw).observe(canvas);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  draw();
}
