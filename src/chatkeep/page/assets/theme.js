// Before anything is drawn: the theme that was chosen here, or else the system's.
try {
  const chosen = localStorage.getItem('chatkeep.theme');
  if (chosen === 'light' || chosen === 'dark') document.documentElement.dataset.theme = chosen;
} catch {
  // Storage is switched off.
}
