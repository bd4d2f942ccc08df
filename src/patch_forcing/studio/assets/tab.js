// A tab keeps its name when the page is loaded again.
() => {
  let tab = sessionStorage.getItem("patch-forcing-tab");
  if (!tab) {
    tab = Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
    sessionStorage.setItem("patch-forcing-tab", tab);
  }
  return [tab];
}
