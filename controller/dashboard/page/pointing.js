// How a map is moved, zoomed and asked, by pointer and by keys.

export function listen(map) {
  const { canvas } = map;
  let held = null;
  canvas.addEventListener("pointerdown", (event) => {
    held = { x: event.clientX, y: event.clientY, view: { ...map.view }, moved: false };
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!held) return;
    const [dx, dy] = [event.clientX - held.x, event.clientY - held.y];
    held.moved ||= Math.hypot(dx, dy) > 4;
    if (held.moved && map.view.zoom > 1) {
      map.view = { ...map.view, x: held.view.x + dx, y: held.view.y + dy };
      map.refresh();
    }
  });
  canvas.addEventListener("pointerup", (event) => {
    if (held && !held.moved && map.points) {
      const box = canvas.getBoundingClientRect();
      const [, kind, index] = map.nearest(event.clientX - box.left, event.clientY - box.top);
      map.pick(kind, index);
    }
    held = null;
  });
  canvas.addEventListener("wheel", (event) => {
    if (!event.ctrlKey && document.activeElement !== canvas) return;
    event.preventDefault();
    map.zoomBy(Math.exp(-event.deltaY / 400), event.offsetX, event.offsetY);
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    const act = {
      "+": () => map.zoomBy(1.5), "=": () => map.zoomBy(1.5), "-": () => map.zoomBy(1 / 1.5),
      0: () => map.showAll(), Escape: () => map.pick("node", null),
      ArrowRight: () => map.step("link", 1), ArrowLeft: () => map.step("link", -1),
      ArrowDown: () => map.step("node", 1), ArrowUp: () => map.step("node", -1),
    }[event.key];
    if (!act || !map.network || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    act();
  });
}
