// Runs before the page is drawn, so that nobody sees the wrong colours first.
{
  const kept = (() => {
    try {
      return localStorage.getItem("tensorhost.theme");
    } catch {
      return null;
    }
  })();
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
}
