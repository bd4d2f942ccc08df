// "edit" below a picture tells which seed was pressed.
element.addEventListener("click", (event) => {
  const seed = event.target.dataset?.edit;
  if (seed !== undefined) trigger("select", { seed: Number(seed) });
});
