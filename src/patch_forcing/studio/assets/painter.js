// A change map is painted over an image, at the image's own pixels. It leaves as a grey PNG: white
// may change, black is kept. Lines mark patches, each of which has one clock.
const named = (name) => element.querySelector(`[data-name=${name}]`);
const canvas = named("canvas"), shown = canvas.getContext("2d");
const TINT = [255, 45, 120], OPAQUE = 0.75, LONGEST = 60, ROOM = 512;
let picture = null, mask = null, past = [], tool = "brush", last = null;

const loaded = (url) => new Promise((resolve, reject) => {
  const image = new Image();
  image.onload = () => resolve(image);
  image.onerror = () => reject(new Error("an image cannot be shown"));
  image.src = url;
});

function sheet(width, height) {
  const made = document.createElement("canvas");
  made.width = width;
  made.height = height;
  return made;
}

function greys(image) {
  const page = sheet(picture.naturalWidth, picture.naturalHeight), context = page.getContext("2d");
  context.imageSmoothingEnabled = false;
  context.drawImage(image, 0, 0, page.width, page.height);
  const pixels = context.getImageData(0, 0, page.width, page.height).data;
  return Uint8Array.from({ length: page.width * page.height }, (_, i) => pixels[4 * i]);
}

function draw() {
  if (!picture) return;
  const width = picture.naturalWidth, height = picture.naturalHeight;
  const scale = Math.max(1, Math.round(ROOM / Math.max(width, height)));
  canvas.width = width * scale;
  canvas.height = height * scale;
  canvas.dataset.size = `${width}x${height}`;
  shown.imageSmoothingEnabled = false;
  shown.drawImage(picture, 0, 0, canvas.width, canvas.height);
  const over = sheet(width, height), pixels = new ImageData(width, height);
  mask.forEach((m, i) => pixels.data.set([...TINT, m * OPAQUE], 4 * i));
  over.getContext("2d").putImageData(pixels, 0, 0);
  shown.drawImage(over, 0, 0, canvas.width, canvas.height);
  shown.strokeStyle = "rgba(90, 90, 100, 0.25)";
  shown.beginPath();
  for (let x = props.patch; x < width; x += props.patch) {
    shown.moveTo(x * scale, 0);
    shown.lineTo(x * scale, canvas.height);
  }
  for (let y = props.patch; y < height; y += props.patch) {
    shown.moveTo(0, y * scale);
    shown.lineTo(canvas.width, y * scale);
  }
  shown.stroke();
  const across = Math.ceil(width / props.patch), all = across * Math.ceil(height / props.patch);
  const touched = new Set();
  mask.forEach((m, i) => {
    const row = Math.floor(i / width), col = i % width;
    if (m) touched.add(Math.floor(row / props.patch) * across + Math.floor(col / props.patch));
  });
  named("hint").textContent = `${touched.size} of ${all} patches may change; each has its own clock.`;
}

function keep() {
  past.push(mask.slice());
  if (past.length > LONGEST) past.shift();
}

function send() {
  const width = picture.naturalWidth, page = sheet(width, picture.naturalHeight);
  const pixels = new ImageData(width, page.height);
  mask.forEach((m, i) => pixels.data.set([m, m, m, 255], 4 * i));
  page.getContext("2d").putImageData(pixels, 0, 0);
  props.value = page.toDataURL("image/png");
}

function strength() {
  return tool === "eraser" ? 0 : Math.round((255 * Number(named("strength").value)) / 100);
}

function stamp(x, y) {
  const width = picture.naturalWidth, height = picture.naturalHeight, level = strength();
  const radius = Math.max(0.5, (Number(named("size").value) / 200) * Math.max(width, height));
  for (let row = Math.max(0, Math.floor(y - radius)); row < Math.min(height, y + radius); row++) {
    for (let col = Math.max(0, Math.floor(x - radius)); col < Math.min(width, x + radius); col++) {
      const inside = (col + 0.5 - x) ** 2 + (row + 0.5 - y) ** 2 <= radius ** 2;
      const under = col === Math.floor(x) && row === Math.floor(y);
      if (inside || under) mask[row * width + col] = level;
    }
  }
}

function place(event) {
  const box = canvas.getBoundingClientRect();
  return [
    ((event.clientX - box.left) / box.width) * picture.naturalWidth,
    ((event.clientY - box.top) / box.height) * picture.naturalHeight,
  ];
}

function stroke(to) {
  const [x, y] = last ?? to, steps = Math.ceil(2 * Math.hypot(to[0] - x, to[1] - y)) || 1;
  for (let k = 1; k <= steps; k++) {
    stamp(x + ((to[0] - x) * k) / steps, y + ((to[1] - y) * k) / steps);
  }
  last = to;
  draw();
}

canvas.addEventListener("pointerdown", (event) => {
  if (!picture) return;
  event.preventDefault();
  canvas.setPointerCapture(event.pointerId);
  keep();
  last = null;
  stroke(place(event));
});
canvas.addEventListener("pointermove", (event) => {
  if (last) stroke(place(event));
});
for (const end of ["pointerup", "pointercancel"]) {
  canvas.addEventListener(end, () => {
    if (last) send();
    last = null;
  });
}
element.addEventListener("click", (event) => {
  const chosen = event.target.dataset.tool, act = event.target.dataset.act;
  if (chosen) {
    tool = chosen;
    for (const button of element.querySelectorAll("[data-tool]")) {
      button.setAttribute("aria-pressed", String(button.dataset.tool === tool));
    }
  }
  if (!act || !picture) return;
  if (act === "undo") {
    mask = past.pop() ?? mask;
  } else {
    keep();
    mask.fill(act === "fill" ? Math.round((255 * Number(named("strength").value)) / 100) : 0);
  }
  draw();
  send();
});
named("strength").addEventListener("input", (event) => {
  named("shown").textContent = `${event.target.value} %`;
});

async function show() {
  if (!props.image) return;
  const fresh = await loaded(props.image);
  const size = fresh.naturalWidth * fresh.naturalHeight;
  const map = props.value ? await loaded(props.value) : null;
  if (mask && mask.length === size) keep();
  else past = [];
  picture = fresh;
  mask = map ? greys(map) : new Uint8Array(size);
  draw();
}
watch(["image", "value"], show);
show();
