// Keys press the page's own buttons; without a script these are pressed by hand.
document.addEventListener("keydown", event => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const field = document.activeElement;
  if (field && field.tagName === "INPUT" && field.type === "text") {
    if (event.key === "Escape") field.blur();
    return;
  }
  const wanted = document.querySelector(`[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!wanted) return;
  event.preventDefault();
  if (wanted.tagName === "INPUT") wanted.focus(); else wanted.click();
});
