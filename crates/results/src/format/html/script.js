// Shows the value of a point under the pointer or with the focus; arrows move along a curve.
const value = document.getElementById("value");
const show = (point) => {
  const box = point.getBoundingClientRect();
  value.textContent = point.getAttribute("aria-label");
  value.style.display = "block";
  const left = Math.min(box.left + 12, window.innerWidth - value.offsetWidth - 4);
  value.style.left = Math.max(left, 4) + "px";
  value.style.top = Math.max(box.top - 34, 4) + "px";
};
const hide = () => { value.style.display = "none"; };
for (const curve of document.querySelectorAll("g.points")) {
  const points = [...curve.querySelectorAll(".point")];
  points.forEach((point, at) => {
    point.setAttribute("tabindex", at === 0 ? "0" : "-1");
    point.addEventListener("pointerenter", () => show(point));
    point.addEventListener("pointerleave", hide);
    point.addEventListener("focus", () => show(point));
    point.addEventListener("blur", hide);
    point.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1, Home: -points.length, End: points.length }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      points[Math.max(0, Math.min(points.length - 1, at + step))].focus();
    });
  });
}
