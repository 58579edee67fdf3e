"use strict";

// Layers of the contact sheets: one round's detections at a time, ground truth and labels on or off.
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

// The 3D view. World mm, z up; the camera orbits the middle of the poses.
const canvas = document.getElementById("scene");
if (canvas) {
  const scene = JSON.parse(document.getElementById("scene-data").textContent);
  const slider = document.getElementById("scene-frame");
  const status = document.getElementById("scene-status");
  const method = document.getElementById("scene-method");
  const boxes = [...document.querySelectorAll("input[data-scene]")];
  const start = { yaw: 0.6, pitch: 0.3, zoom: 1 };
  const view = { ...start };

  const project = (joint, width, height) => {
    const [x, y, z] = [joint[0] - scene.middle[0], joint[1] - scene.middle[1], joint[2] - scene.middle[2]];
    const across = x * Math.cos(view.yaw) + y * Math.sin(view.yaw);
    const depth = -x * Math.sin(view.yaw) + y * Math.cos(view.yaw);
    const up = z * Math.cos(view.pitch) + depth * Math.sin(view.pitch);
    const ahead = depth * Math.cos(view.pitch) - z * Math.sin(view.pitch);
    const distance = 3.2 * scene.radius;
    const scale = (0.46 * Math.min(width, height) * view.zoom * distance) / scene.radius / Math.max(distance + ahead, 1);
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
    const figure = (joints, stroke, thick) => {
      for (const [parent, child, side] of scene.limbs) {
        if (joints[parent] && joints[child]) {
          pen.setLineDash(side === 1 ? [1, thick * 2] : []);
          line(joints[parent], joints[child], stroke, thick);
        }
      }
      pen.setLineDash([]);
      pen.fillStyle = stroke;
      for (const joint of joints) {
        if (joint) {
          const [px, py] = project(joint, width, height);
          pen.beginPath();
          pen.arc(px, py, thick * 0.95, 0, 7);
          pen.fill();
        }
      }
    };
    const truth = scene.truth ? scene.truth[frame] : null;
    const errors = [];
    for (const box of boxes) {
      const name = box.dataset.scene;
      if (name === "truth") {
        if (box.checked && truth) figure(truth, colour("--truth"), 5);
        continue;
      }
      const joints = scene.poses[method.value][name][frame];
      if (box.checked) figure(joints, scene.colours[name], 2.6);
      const distances = [];
      joints.forEach((joint, index) => {
        const other = truth && truth[index];
        if (joint && other) distances.push(Math.hypot(...joint.map((value, axis) => value - other[axis])));
      });
      if (box.checked && distances.length) {
        errors.push(`${name} ${Math.round(distances.reduce((a, b) => a + b) / distances.length)} mm (${distances.length} joints)`);
      }
    }
    status.textContent = scene.frames[frame] + (errors.length ? ` · ${scene.against}: ` + errors.join(", ") : "");
    slider.setAttribute("aria-valuetext", scene.frames[frame]);
  };

  // One finger or the mouse turns, two fingers or the wheel with Ctrl zoom; a vertical swipe still scrolls the page.
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
    const spreadBefore = fingers.size === 2 ? spread() : 0;
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (fingers.size === 2) {
      if (spreadBefore > 0) zoom(spread() / spreadBefore);
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
